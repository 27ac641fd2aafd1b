// Keys that a record has twice. In: a line of JSON. Out: the same with only the last of each, as Python reads it.

enum RepeatedKeys {
    /// - Parameter keys: the names that matter, in ASCII; one written with escapes does not count.
    /// - Returns: an object with the last member of each key; nil if no key occurs twice, or the line is not an object.
    static func lastMembers(of line: UnsafeRawBufferPointer, keys: [StaticString]) -> [UInt8]? {
        // Nearly all lines end here: no key can occur twice in them.
        guard keys.contains(where: { occurrences(of: $0, in: line) > 1 }) else { return nil }
        var last: [Int: Range<Int>] = [:]
        var isRepeated = false
        var (index, depth, start) = (0, 0, 0)
        var name: Range<Int>?
        func close(at end: Int) {
            guard let found = name, let key = keys.firstIndex(where: { equals($0, line, found) }) else { return }
            isRepeated = last.updateValue(start..<end, forKey: key) != nil || isRepeated
        }
        while index < line.count {
            switch line[index] {
            case UInt8(ascii: "\""):
                let end = stringEnd(line, from: index + 1)
                if depth == 1, name == nil { (name, start) = (index + 1..<end, 0) }
                index = end
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 1 { close(at: index) }
                depth -= 1
            case UInt8(ascii: ":") where depth == 1: start = index + 1
            case UInt8(ascii: ",") where depth == 1:
                close(at: index)
                name = nil
            default: break
            }
            index += 1
        }
        guard isRepeated else { return nil }
        var object: [UInt8] = []
        for (key, value) in last.ascending(\.key) {
            object.append(object.isEmpty ? UInt8(ascii: "{") : UInt8(ascii: ","))
            object += Array("\"\(keys[key])\":".utf8) + line[value]
        }
        return object + [UInt8(ascii: "}")]
    }

    /// The place of the quote that ends a string.
    private static func stringEnd(_ line: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index < line.count, line[index] != UInt8(ascii: "\"") { index += line[index] == UInt8(ascii: "\\") ? 2 : 1 }
        return min(index, line.count)
    }

    private static func equals(_ key: StaticString, _ line: UnsafeRawBufferPointer, _ range: Range<Int>) -> Bool {
        key.withUTF8Buffer { $0.elementsEqual(line[range]) }
    }

    /// How often a key occurs in quotes anywhere in the line, at most 2.
    private static func occurrences(of key: StaticString, in line: UnsafeRawBufferPointer) -> Int {
        let length = key.utf8CodeUnitCount
        var (index, found) = (0, 0)
        while index + length + 2 <= line.count, found < 2 {
            if line[index] == UInt8(ascii: "\""), line[index + length + 1] == UInt8(ascii: "\""),
                equals(key, line, index + 1..<index + 1 + length)
            {
                found += 1
                index += length
            }
            index += 1
        }
        return found
    }
}
