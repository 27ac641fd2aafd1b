// Msgpack as a tree, for small files. In: foreign bytes. Out: `MsgpackValue`. Large maps are better read with `MsgpackReader`.

/// One msgpack item. str and bin stay apart: thinc 7's files depend on the difference.
package indirect enum MsgpackValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// Every integer of 0 or more, whatever its width in the file.
    case unsigned(UInt64)
    /// Every integer below 0.
    case negative(Int64)
    case float(Float)
    case double(Double)
    case string(String)
    case binary([UInt8])
    case array([MsgpackValue])
    /// Pairs in the order of the file; keys can be any value and may repeat.
    case map([MsgpackPair])
    case extended(type: Int8, bytes: [UInt8])
}

/// One entry of a msgpack map.
package struct MsgpackPair: Hashable, Sendable {
    /// Any value: model files have str, bin and integer keys.
    package var key: MsgpackValue
    /// The key's value.
    package var value: MsgpackValue

    /// A pair.
    package init(_ key: MsgpackValue, _ value: MsgpackValue) {
        self.key = key
        self.value = value
    }
}

extension MsgpackValue {
    /// Decodes exactly one item that fills `bytes`.
    /// - Parameter place: file or message that the bytes come from, for errors.
    /// - Throws: `InputError` that names the offset: truncated, nested deeper than `MsgpackReader.depthLimit`, a string that is not UTF-8,
    ///   or bytes left over.
    package init(decoding bytes: UnsafeRawBufferPointer, place: String) throws(InputError) {
        var reader = MsgpackReader(bytes, place: place)
        self = try reader.readValue()
        guard reader.isAtEnd else { throw reader.refuse("\(bytes.count - reader.offset) bytes follow the end", at: reader.offset) }
    }

    /// The value of the first pair whose key equals `key`; nil if this is not a map.
    package subscript(key: MsgpackValue) -> MsgpackValue? {
        guard case .map(let pairs) = self else { return nil }
        return pairs.first { $0.key == key }?.value
    }

    /// The value under a str key.
    package subscript(key: String) -> MsgpackValue? { self[.string(key)] }

    /// An integer that fits Int.
    package var integer: Int? {
        switch self {
        case .unsigned(let value): Int(exactly: value)
        case .negative(let value): Int(value)
        default: nil
        }
    }

    /// The text of a str item.
    package var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The bytes of a bin item.
    package var binary: [UInt8]? {
        if case .binary(let value) = self { value } else { nil }
    }

    /// The items of an array.
    package var array: [MsgpackValue]? {
        if case .array(let value) = self { value } else { nil }
    }

    /// The pairs of a map.
    package var map: [MsgpackPair]? {
        if case .map(let value) = self { value } else { nil }
    }
}

extension MsgpackReader {
    /// The next item with everything in it.
    package mutating func readValue(depth: Int = 0) throws(InputError) -> MsgpackValue {
        guard depth < Self.depthLimit else { throw refuse("nested deeper than \(Self.depthLimit)", at: offset) }
        switch try peek() {
        case .null:
            try readNil()
            return .null
        case .bool: return .bool(try readBool())
        case .integer:
            let integer = try readInteger()
            return integer.negative ? .negative(Int64(bitPattern: integer.bits)) : .unsigned(integer.bits)
        case .float:
            let float = try readFloat()
            return float.isSingle ? .float(Float(float.value)) : .double(float.value)
        case .string: return .string(try readString())
        case .binary: return .binary([UInt8](try readBinary()))
        case .extended:
            let item = try readExtended()
            return .extended(type: item.type, bytes: [UInt8](item.bytes))
        case .array:
            let count = try readArrayCount()
            var items: [MsgpackValue] = []
            for _ in 0..<count { items.append(try readValue(depth: depth + 1)) }
            return .array(items)
        case .map:
            let count = try readMapCount()
            var pairs: [MsgpackPair] = []
            for _ in 0..<count {
                let key = try readValue(depth: depth + 1)
                pairs.append(MsgpackPair(key, try readValue(depth: depth + 1)))
            }
            return .map(pairs)
        }
    }
}
