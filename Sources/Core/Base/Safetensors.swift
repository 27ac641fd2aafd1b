// The safetensors format. In: named arrays and text metadata, or a foreign file. Out: a file for any safetensors reader, or mapped arrays.
import Glibc

/// Names and types of the format (github.com/huggingface/safetensors, README, "Format"): 8 bytes of header length N, little-endian; N bytes
/// of JSON, name -> {dtype, shape, data_offsets [begin, end)} and "__metadata__" of strings; then the arrays, little-endian, row-major,
/// without gaps.
package enum Safetensors {
    /// Types of elements, by their names in the header.
    package enum ElementType: String, Codable, Sendable, CaseIterable {
        case float64 = "F64", float32 = "F32", float16 = "F16", bfloat16 = "BF16"
        case int64 = "I64", int32 = "I32", int16 = "I16", int8 = "I8"
        case uint64 = "U64", uint32 = "U32", uint16 = "U16", uint8 = "U8"
        case bool = "BOOL"

        /// Bytes of one element.
        package var size: Int {
            switch self {
            case .float64, .int64, .uint64: 8
            case .float32, .int32, .uint32: 4
            case .float16, .bfloat16, .int16, .uint16: 2
            case .int8, .uint8, .bool: 1
            }
        }
    }

    /// An array to be written.
    package struct Part {
        /// Name in the file.
        package var name: String
        /// Type of the elements.
        package var type: ElementType
        /// Sizes, row-major.
        package var shape: [Int]
        /// Hands the array's bytes to the argument, in order, in any number of pieces.
        let stream: ((UnsafeRawBufferPointer) throws(InputError) -> Void) throws(InputError) -> Void
        var byteCount: Int { shape.reduce(type.size, *) }

        /// An array of floats that the part keeps alive.
        package init(_ tensor: NamedTensor, name: String? = nil) {
            self.name = name ?? tensor.name
            type = .float32
            shape = tensor.shape
            stream = { (take) throws(InputError) in try Part.hand(tensor.values, to: take) }
        }

        /// Words of 64 bits.
        package init(_ table: NamedWords) {
            name = table.name
            type = .uint64
            shape = table.shape
            stream = { (take) throws(InputError) in try Part.hand(table.values, to: take) }
        }

        /// Floats that live in a buffer of the caller's, which must stay as it is until the file is written.
        package init(name: String, shape: [Int], floats: UnsafeBufferPointer<Float>) {
            precondition(floats.count == shape.reduce(1, *), "\(name): \(floats.count) values for shape \(shape)")
            self.name = name
            type = .float32
            self.shape = shape
            stream = { (take) throws(InputError) in try take(UnsafeRawBufferPointer(floats)) }
        }

        private static func hand<T>(
            _ values: [T], to take: (UnsafeRawBufferPointer) throws(InputError) -> Void
        ) throws(InputError) {
            let result = values.withUnsafeBytes { bytes in Result { () throws(InputError) in try take(bytes) } }
            try result.get()
        }
    }

    /// The arrays begin at a multiple of this, so that a mapped file can be used in place.
    static let alignment = 64
    /// Readers refuse longer headers (safetensors 0.4, `tensor.rs`).
    static let headerLimit = 100_000_000
    /// Key of the digest in the metadata.
    static let digestKey = "sha256"
    static let emptyDigest = String(repeating: "0", count: 64)

    /// Writes `parts` in their order, with `metadata` and, under "sha256", the digest of the whole file with the digest's own 64 digits as
    /// zeros: no bit of the file, header included, can change unnoticed.
    /// - Throws: `InputError` from the disk.
    package static func write(_ parts: [Part], metadata: [String: String], to sink: inout FileSink) throws(InputError) {
        var header = self.header(parts, metadata: metadata.merging([digestKey: emptyDigest]) { $1 })
        var hash = SHA256()
        header.withUnsafeBytes { hash.update($0) }
        for part in parts {
            try part.stream { (bytes) throws(InputError) in hash.update(bytes) }
        }
        let digest = hash.finalize().hex
        let place = header.withUnsafeBytes { digestOffset(inHeader: $0) }
        guard let place else { preconditionFailure("the header has no place for its digest") }
        header.replaceSubrange(place..<place + 64, with: digest.utf8)
        try sink.write(header)
        for part in parts {
            var count = 0
            try part.stream { (bytes) throws(InputError) in
                count += bytes.count
                try sink.write(bytes)
            }
            precondition(count == part.byteCount, "\(part.name): \(count) bytes for shape \(part.shape)")
        }
    }

    /// Length and JSON, padded with spaces to `alignment`. Keys are sorted, so that equal content gives equal bytes.
    private static func header(_ parts: [Part], metadata: [String: String]) -> [UInt8] {
        var json = "{\"__metadata__\":{"
        json += metadata.ascending(\.key).map { "\(quoted($0.key)):\(quoted($0.value))" }.joined(separator: ",")
        json += "}"
        var offset = 0
        for part in parts {
            let end = offset + part.byteCount
            let shape = part.shape.map(String.init).joined(separator: ",")
            json += ",\(quoted(part.name)):{\"dtype\":\"\(part.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}"
            offset = end
        }
        json += "}"
        var text = Array(json.utf8)
        while (8 + text.count) % alignment != 0 { text.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
    }

    /// A JSON string.
    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\u{0}"..."\u{1f}": out += "\\u00" + [UInt8(scalar.value)].hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    /// Offset of the digest's 64 digits; nil where the header has none. `header` begins with the length.
    static func digestOffset(inHeader header: UnsafeRawBufferPointer) -> Int? {
        let pattern = Array("\"\(digestKey)\":\"".utf8)
        guard header.count >= 8 + pattern.count + 65 else { return nil }
        for start in 8...(header.count - pattern.count - 65) where header[start] == pattern[0] {
            let end = start + pattern.count
            if header[start..<end].elementsEqual(pattern), header[end + 64] == UInt8(ascii: "\"") { return end }
        }
        return nil
    }
}

/// A named table of 64-bit words, for data that are not the model's parameters (the random replacement words, say).
package struct NamedWords: Equatable, Sendable {
    /// Name in the file.
    package var name: String
    /// Sizes, row-major.
    package var shape: [Int]
    /// Row-major; `shape.reduce(1, *)` of them.
    package var values: [UInt64]

    /// - Parameter values: `shape.reduce(1, *)` of them.
    package init(name: String, shape: [Int], values: [UInt64]) {
        precondition(values.count == shape.reduce(1, *), "\(name): \(values.count) values for shape \(shape)")
        self.name = name
        self.shape = shape
        self.values = values
    }
}
