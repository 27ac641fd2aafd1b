// Msgpack, read item by item. In: foreign bytes. Out: numbers, byte ranges and counts, or an error that names the offset.

/// Reads msgpack (github.com/msgpack/msgpack/blob/master/spec.md) from untrusted bytes. Nothing is copied: strings come as ranges of
/// `bytes`, so a map of a million entries costs no allocation. After an error the reader's position has no meaning.
package struct MsgpackReader {
    /// The family of the next item.
    package enum Kind: Sendable { case null, bool, integer, float, string, binary, array, map, extended }

    /// Deepest nesting that `skip` and `readValue` follow: the model files need 5.
    package static let depthLimit = 64

    let bytes: UnsafeRawBufferPointer
    /// Offset of the next item.
    package private(set) var offset = 0
    /// File or message that the bytes come from, for errors.
    package let place: String

    /// - Parameter place: file or message that the bytes come from, for errors.
    package init(_ bytes: UnsafeRawBufferPointer, place: String) {
        self.bytes = bytes
        self.place = place
    }

    /// Whether everything was read.
    package var isAtEnd: Bool { offset >= bytes.count }

    package func refuse(_ what: String, at where: Int) -> InputError {
        InputError("damaged msgpack at byte \(`where`): \(what)", at: place, remedy: "write the file again, or copy it again")
    }

    /// The family of the next item, which stays unread.
    package func peek() throws(InputError) -> Kind {
        guard offset < bytes.count else { throw refuse("the data ends where an item was expected", at: offset) }
        switch bytes[offset] {
        case 0x00...0x7f, 0xe0...0xff, 0xcc...0xd3: return .integer
        case 0x80...0x8f, 0xde, 0xdf: return .map
        case 0x90...0x9f, 0xdc, 0xdd: return .array
        case 0xa0...0xbf, 0xd9...0xdb: return .string
        case 0xc0: return .null
        case 0xc2, 0xc3: return .bool
        case 0xc4...0xc6: return .binary
        case 0xca, 0xcb: return .float
        case 0xc7...0xc9, 0xd4...0xd8: return .extended
        default: throw refuse("byte 0xc1 is not a msgpack type", at: offset)
        }
    }

    private mutating func expect(_ kind: Kind) throws(InputError) -> UInt8 {
        let found = try peek()
        guard found == kind else { throw refuse("expected \(kind), found \(found)", at: offset) }
        offset += 1
        return bytes[offset - 1]
    }

    /// A big-endian unsigned number of `width` bytes.
    private mutating func number(_ width: Int) throws(InputError) -> UInt64 {
        guard bytes.count - offset >= width else { throw refuse("the data ends within a number", at: offset) }
        var value: UInt64 = 0
        for index in offset..<offset + width { value = value << 8 | UInt64(bytes[index]) }
        offset += width
        return value
    }

    private mutating func range(_ count: UInt64) throws(InputError) -> UnsafeRawBufferPointer {
        guard count <= UInt64(bytes.count - offset) else {
            throw refuse("\(count) bytes announced, \(bytes.count - offset) left", at: offset)
        }
        let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Int(count)])
        offset += Int(count)
        return part
    }

    /// A nil item.
    package mutating func readNil() throws(InputError) {
        _ = try expect(.null)
    }

    /// A bool item.
    package mutating func readBool() throws(InputError) -> Bool {
        try expect(.bool) == 0xc3
    }

    /// Any integer as sign and bits: `negative` says that `bits` is a two's complement Int64.
    package mutating func readInteger() throws(InputError) -> (bits: UInt64, negative: Bool) {
        let tag = try expect(.integer)
        switch tag {
        case 0x00...0x7f: return (UInt64(tag), false)
        case 0xe0...0xff: return (UInt64(bitPattern: Int64(Int8(bitPattern: tag))), true)
        case 0xcc...0xcf: return (try number(1 << Int(tag - 0xcc)), false)
        default:
            let width = 1 << Int(tag - 0xd0)
            let shift = UInt64(64 - 8 * width)
            let value = Int64(bitPattern: try number(width) << shift) >> Int64(shift)
            return (UInt64(bitPattern: value), value < 0)
        }
    }

    /// A number from 0 to 2^64 - 1.
    package mutating func readUnsigned() throws(InputError) -> UInt64 {
        let start = offset
        let integer = try readInteger()
        guard !integer.negative else { throw refuse("expected a number of 0 or more, found \(Int64(bitPattern: integer.bits))", at: start) }
        return integer.bits
    }

    /// A float of either width; `isSingle` tells which.
    package mutating func readFloat() throws(InputError) -> (value: Double, isSingle: Bool) {
        if try expect(.float) == 0xca { return (Double(Float(bitPattern: UInt32(truncatingIfNeeded: try number(4)))), true) }
        return (Double(bitPattern: try number(8)), false)
    }

    /// The bytes of a str item; they need not be UTF-8.
    package mutating func readStringBytes() throws(InputError) -> UnsafeRawBufferPointer {
        let tag = try expect(.string)
        return try range(tag <= 0xbf ? UInt64(tag & 0x1f) : try number(1 << Int(tag - 0xd9)))
    }

    /// A str item. - Throws: `InputError` also when it is not UTF-8.
    package mutating func readString() throws(InputError) -> String {
        let start = offset
        let part = try readStringBytes()
        guard let string = String(validating: part, as: UTF8.self) else { throw refuse("a string is not UTF-8", at: start) }
        return string
    }

    /// The bytes of a bin item.
    package mutating func readBinary() throws(InputError) -> UnsafeRawBufferPointer {
        let tag = try expect(.binary)
        return try range(try number(1 << Int(tag - 0xc4)))
    }

    /// The number of items that follow. Each takes at least a byte, so a false count cannot make the caller reserve more memory than the
    /// file has bytes.
    package mutating func readArrayCount() throws(InputError) -> Int {
        let start = offset
        let tag = try expect(.array)
        return try plausible(tag <= 0x9f ? UInt64(tag & 0x0f) : try number(tag == 0xdc ? 2 : 4), each: 1, at: start)
    }

    /// The number of pairs that follow.
    package mutating func readMapCount() throws(InputError) -> Int {
        let start = offset
        let tag = try expect(.map)
        return try plausible(tag <= 0x8f ? UInt64(tag & 0x0f) : try number(tag == 0xde ? 2 : 4), each: 2, at: start)
    }

    private func plausible(_ count: UInt64, each: UInt64, at start: Int) throws(InputError) -> Int {
        guard count * each <= UInt64(bytes.count - offset) else { throw refuse("\(count) items announced, too few bytes left", at: start) }
        return Int(count)
    }

    /// An extension item: its type and its bytes.
    package mutating func readExtended() throws(InputError) -> (type: Int8, bytes: UnsafeRawBufferPointer) {
        let tag = try expect(.extended)
        let count = tag >= 0xd4 ? UInt64(1) << UInt64(tag - 0xd4) : try number(1 << Int(tag - 0xc7))
        let type = Int8(truncatingIfNeeded: Int64(bitPattern: try number(1)))
        return (type, try range(count))
    }

    /// Skips the next item, whatever it is.
    package mutating func skip(depth: Int = 0) throws(InputError) {
        guard depth < Self.depthLimit else { throw refuse("nested deeper than \(Self.depthLimit)", at: offset) }
        switch try peek() {
        case .null: try readNil()
        case .bool: _ = try readBool()
        case .integer: _ = try readInteger()
        case .float: _ = try readFloat()
        case .string: _ = try readStringBytes()
        case .binary: _ = try readBinary()
        case .extended: _ = try readExtended()
        case .array:
            for _ in 0..<(try readArrayCount()) { try skip(depth: depth + 1) }
        case .map:
            for _ in 0..<(2 * (try readMapCount())) { try skip(depth: depth + 1) }
        }
    }
}
