// Python's view of characters, pinned. In: code points. Out: the answers of Python 3.11's str methods (Unicode 14), on any host.

/// Properties of a code point as Python 3.11 sees them. Swift's and the C library's own tables follow other Unicode versions.
struct CharacterFlags: OptionSet {
    let rawValue: UInt8
    /// `str.isalpha`: category L*.
    static let alphabetic = CharacterFlags(rawValue: 1)
    /// `str.isupper` of the single character: the property Uppercase.
    static let upper = CharacterFlags(rawValue: 2)
    /// `str.isdigit`: decimal or digit value, superscripts too.
    static let digit = CharacterFlags(rawValue: 4)
    /// `str.isspace`.
    static let space = CharacterFlags(rawValue: 8)
    /// Category N*; `\w` of Python's `re` is alphabetic, number or underscore.
    static let number = CharacterFlags(rawValue: 16)
    /// A cased letter as the final-sigma rule of `str.lower` sees it.
    static let cased = CharacterFlags(rawValue: 32)
    /// A character that the final-sigma rule looks past.
    static let caseIgnorable = CharacterFlags(rawValue: 64)
}

/// The tables of `UnicodeTables`, unpacked once per process.
enum CharacterTables {
    static let codePointCount = 0x110000

    /// One byte of flags for every code point; never freed.
    nonisolated(unsafe) static let flags: UnsafePointer<UInt8> = unpacked(UnicodeTables.flagRuns)

    /// One byte for every code point from runs `length:value`.
    static func unpacked(_ runs: String) -> UnsafePointer<UInt8> {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: codePointCount)
        table.initialize(repeating: 0, count: codePointCount)
        var place = 0
        for run in runs.split(separator: " ") {
            let fields = hexadecimals(run, separator: ":")
            let length = min(Int(fields[0]), codePointCount - place)
            (table + place).update(repeating: UInt8(truncatingIfNeeded: fields[1]), count: length)
            place += length
        }
        return UnsafePointer(table)
    }

    /// Every code point that `str.lower` changes, with its simple lower case (U+0130 leads to "i"), in order.
    static let lowerPairs: [(code: UInt32, lower: UInt32)] = {
        var pairs: [(UInt32, UInt32)] = []
        for run in UnicodeTables.lowerRuns.split(separator: " ") {
            let fields = hexadecimals(run, separator: ":")
            for index in 0..<fields[1] {
                let code = fields[0] + index * fields[2]
                pairs.append((UInt32(code), UInt32(code + fields[3])))
            }
        }
        return pairs
    }()

    static let lowerOf: [UInt32: UInt32] = Dictionary(lowerPairs, uniquingKeysWith: { first, _ in first })

    /// Letters that Python's `re` takes as equal to a lower case letter when it ignores case, beyond `lower`.
    static let equivalentCases: [UInt32: [UInt32]] = {
        var result: [UInt32: [UInt32]] = [:]
        for entry in UnicodeTables.equivalentCases.split(separator: " ") {
            let parts = entry.split(separator: ":")
            result[UInt32(hexadecimals(parts[0], separator: ":")[0])] = hexadecimals(parts[1], separator: ",").map { UInt32($0) }
        }
        return result
    }()

    /// The constants are ours, so a malformed field is a bug of the generator; it reads as 0 and the table tests go red.
    private static func hexadecimals(_ text: Substring, separator: Character) -> [Int] {
        text.split(separator: separator).map { Int($0, radix: 16) ?? 0 }
    }

    @inline(__always)
    static func has(_ flag: CharacterFlags, _ code: UInt32) -> Bool {
        flags[Int(code)] & flag.rawValue != 0
    }
}

/// Walks over valid UTF-8. The callers' bytes come from Swift strings, which guarantee it.
enum UTF8Walk {
    /// The number of bytes of the character that starts with `lead`.
    @inline(__always)
    static func length(_ lead: UInt8) -> Int {
        lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    }

    /// The code point at `start`.
    @inline(__always)
    static func decode(_ start: UnsafePointer<UInt8>) -> UInt32 {
        let lead = UInt32(start[0])
        if lead < 0x80 { return lead }
        if lead < 0xe0 { return (lead & 0x1f) << 6 | UInt32(start[1] & 0x3f) }
        let middle = UInt32(start[1] & 0x3f) << 6 | UInt32(start[2] & 0x3f)
        if lead < 0xf0 { return (lead & 0x0f) << 12 | middle }
        return (lead & 0x07) << 18 | middle << 6 | UInt32(start[3] & 0x3f)
    }

    static func append(_ code: UInt32, to bytes: inout [UInt8]) {
        switch code {
        case 0..<0x80: bytes.append(UInt8(code))
        case 0x80..<0x800: bytes += [UInt8(0xc0 | code >> 6), UInt8(0x80 | code & 0x3f)]
        case 0x800..<0x10000: bytes += [UInt8(0xe0 | code >> 12), UInt8(0x80 | code >> 6 & 0x3f), UInt8(0x80 | code & 0x3f)]
        default:
            bytes += [
                UInt8(0xf0 | code >> 18 & 7), UInt8(0x80 | code >> 12 & 0x3f), UInt8(0x80 | code >> 6 & 0x3f), UInt8(0x80 | code & 0x3f),
            ]
        }
    }

    /// The number of code points.
    @inline(__always)
    static func count(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        var count = 0
        for byte in bytes where byte & 0xc0 != 0x80 { count += 1 }
        return count
    }
}
