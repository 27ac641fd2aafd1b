// A safetensors file, read. In: a path or foreign bytes. Out: its metadata and arrays by name; the bytes stay mapped.
import FoundationEssentials

/// A safetensors file of any writer. The header is checked on opening: no later access can leave the file.
package final class SafetensorsFile {
    /// One array of the file.
    package struct Entry: Equatable, Sendable {
        /// Name in the header.
        package var name: String
        /// Type of the elements.
        package var type: Safetensors.ElementType
        /// Sizes, row-major.
        package var shape: [Int]
        /// Bytes of the array, counted from the file's start.
        package var range: Range<Int>
        /// Number of elements.
        package var count: Int { range.count / type.size }
    }

    /// The file, for errors.
    package let place: String
    /// "__metadata__" without the digest.
    package let metadata: [String: String]
    /// In the order of the data.
    package let entries: [Entry]
    private let bytes: UnsafeRawBufferPointer
    /// Keeps the mapping or the array alive.
    private let owner: AnyObject
    private let headerEnd: Int
    private let digest: String?

    static let remedy = "give a whole .safetensors file"

    /// Maps the file at `path`.
    /// - Throws: `InputError` when it is missing or not a safetensors file.
    package convenience init(path: String) throws(InputError) {
        let file = try MappedFile(path)
        try self.init(bytes: file.bytes, owner: file, place: path)
    }

    /// - Parameter owner: keeps `bytes` alive.
    /// - Throws: `InputError` that says what in the header is wrong.
    package init(bytes: UnsafeRawBufferPointer, owner: AnyObject, place: String) throws(InputError) {
        func refuse(_ what: String) -> InputError { InputError(what, at: place, remedy: Self.remedy) }
        guard bytes.count >= 8 else { throw refuse("not a safetensors file: \(bytes.count) bytes, a header takes 8 or more") }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length >= 2, length <= UInt64(min(Safetensors.headerLimit, bytes.count - 8)) else {
            throw refuse(
                "not a whole safetensors file: it announces a header of \(length) bytes and has \(bytes.count - 8) bytes after the length")
        }
        let end = 8 + Int(length)
        let json = Data(bytes[8..<end])
        let header: Header
        do {
            header = try JSONDecoder().decode(Header.self, from: json)
        } catch {
            throw refuse("the safetensors header does not follow the format (names -> dtype, shape, data_offsets): \(Self.reason(error))")
        }
        var entries: [Entry] = []
        for (name, item) in header.items {
            do {
                entries.append(try Self.entry(name, item, dataStart: end, fileSize: bytes.count))
            } catch {
                throw refuse("tensor \(name): \(error.text)")
            }
        }
        entries.sort { ($0.range.lowerBound, $0.range.upperBound, $0.name) < ($1.range.lowerBound, $1.range.upperBound, $1.name) }
        var offset = end
        for entry in entries {
            guard entry.range.lowerBound == offset else {
                throw refuse(
                    "tensor \(entry.name) begins at byte \(entry.range.lowerBound), expected \(offset): data overlap or have a gap")
            }
            offset = entry.range.upperBound
        }
        guard offset == bytes.count else { throw refuse("the tensors end at byte \(offset), the file at \(bytes.count)") }
        self.entries = entries
        var metadata = header.metadata
        digest = metadata.removeValue(forKey: Safetensors.digestKey)
        self.metadata = metadata
        self.place = place
        self.bytes = bytes
        self.owner = owner
        headerEnd = end
    }

    /// Compares the file with its own digest (see `Safetensors.write`), reading all of it.
    /// - Returns: false if it has none, like the files of other writers.
    /// - Throws: `InputError` when any bit differs from what was written.
    package func verifyDigest() throws(InputError) -> Bool {
        guard let digest else { return false }
        let header = UnsafeRawBufferPointer(rebasing: bytes[..<headerEnd])
        guard digest.utf8.count == 64, let offset = Safetensors.digestOffset(inHeader: header) else {
            throw InputError("its digest is damaged", at: place, remedy: "use another copy or an older checkpoint")
        }
        var hash = SHA256()
        hash.update(UnsafeRawBufferPointer(rebasing: bytes[..<offset]))
        Array(Safetensors.emptyDigest.utf8).withUnsafeBytes { hash.update($0) }
        hash.update(UnsafeRawBufferPointer(rebasing: bytes[(offset + 64)...]))
        let found = hash.finalize().hex
        guard bytes[offset..<offset + 64].elementsEqual(found.utf8) else {
            throw InputError(
                "it was altered after it was written: SHA-256 \(found.prefix(16))..., its header says \(digest.prefix(16))...", at: place,
                remedy: "use another copy or an older checkpoint")
        }
        return true
    }

    /// The array of that entry as floats.
    /// - Throws: `InputError` when it is of another type.
    package func floats(_ entry: Entry) throws(InputError) -> NamedTensor {
        guard entry.type == .float32 else {
            throw InputError(
                "tensor \(entry.name) is of type \(entry.type.rawValue), expected F32", at: place, remedy: "store it as float32")
        }
        return NamedTensor(name: entry.name, shape: entry.shape, values: copy(entry))
    }

    /// The array of that entry as 64-bit words.
    /// - Throws: `InputError` when it is of another type.
    package func words(_ entry: Entry) throws(InputError) -> NamedWords {
        guard entry.type == .uint64 else {
            throw InputError("tensor \(entry.name) is of type \(entry.type.rawValue), expected U64", at: place, remedy: Self.remedy)
        }
        return NamedWords(name: entry.name, shape: entry.shape, values: copy(entry))
    }

    private func copy<T>(_ entry: Entry) -> [T] {
        [T](unsafeUninitializedCapacity: entry.count) { buffer, filled in
            UnsafeMutableRawBufferPointer(buffer).copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[entry.range]))
            filled = entry.count
        }
    }

    private struct Fault: Error { var text: String }

    private static func entry(_ name: String, _ item: Header.Item, dataStart: Int, fileSize: Int) throws(Fault) -> Entry {
        guard let type = Safetensors.ElementType(rawValue: item.dtype) else { throw Fault(text: "type \(item.dtype) is not known") }
        guard item.data_offsets.count == 2 else { throw Fault(text: "data_offsets has \(item.data_offsets.count) numbers, expected 2") }
        let (begin, end) = (item.data_offsets[0], item.data_offsets[1])
        guard begin >= 0, end >= begin, end <= fileSize - dataStart else {
            throw Fault(text: "bytes \(begin) to \(end) are not in the file, which has \(fileSize - dataStart) bytes of data")
        }
        var size = type.size
        for dimension in item.shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: dimension)
            guard dimension >= 0, !overflow else { throw Fault(text: "shape \(item.shape) is impossible") }
            size = product
        }
        guard size == end - begin else {
            throw Fault(text: "shape \(item.shape) of \(item.dtype) needs \(size) bytes, it has \(end - begin)")
        }
        return Entry(name: name, type: type, shape: item.shape, range: dataStart + begin..<dataStart + end)
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case DecodingError.dataCorrupted(let context): context.debugDescription
        case DecodingError.keyNotFound(let key, let context): "\(context.codingPath.first?.stringValue ?? "it") has no \(key.stringValue)"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            "\(context.codingPath.map(\.stringValue).joined(separator: ".")): \(context.debugDescription)"
        default: "\(error)"
        }
    }
}

/// The JSON of the header.
private struct Header: Decodable {
    struct Item: Decodable {
        var dtype: String
        var shape: [Int]
        var data_offsets: [Int]
    }

    struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    var metadata: [String: String] = [:]
    var items: [(String, Item)] = []

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Name.self)
        for key in container.allKeys {
            if key.stringValue == "__metadata__" {
                metadata = try container.decode([String: String].self, forKey: key)
            } else {
                items.append((key.stringValue, try container.decode(Item.self, forKey: key)))
            }
        }
    }
}
