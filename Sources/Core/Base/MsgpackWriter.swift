// Msgpack, written item by item. In: numbers, strings, bytes. Out: bytes as msgpack-python 0.5 (srsly 1.0) writes them.

/// Writes msgpack (github.com/msgpack/msgpack/blob/master/spec.md). Every number and length takes its shortest form, as msgpack-python's
/// do.
package struct MsgpackWriter {
    /// What has been written.
    package private(set) var bytes: [UInt8] = []

    /// - Parameter capacity: bytes to reserve.
    package init(capacity: Int = 0) {
        bytes.reserveCapacity(capacity)
    }

    private mutating func put<T: FixedWidthInteger>(_ tag: UInt8, _ value: T) {
        bytes.append(tag)
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    /// A truth value.
    package mutating func write(_ value: Bool) {
        bytes.append(value ? 0xc3 : 0xc2)
    }

    /// A number of 0 or more.
    package mutating func write(unsigned value: UInt64) {
        switch value {
        case 0...0x7f: bytes.append(UInt8(value))
        case 0...0xff: put(0xcc, UInt8(value))
        case 0...0xffff: put(0xcd, UInt16(value))
        case 0...0xffff_ffff: put(0xce, UInt32(value))
        default: put(0xcf, value)
        }
    }

    /// A text (str).
    package mutating func write(string: String) {
        let text = Array(string.utf8)
        switch text.count {
        case 0...31: bytes.append(0xa0 | UInt8(text.count))
        case 0...0xff: put(0xd9, UInt8(text.count))
        case 0...0xffff: put(0xda, UInt16(text.count))
        default: put(0xdb, UInt32(text.count))
        }
        bytes.append(contentsOf: text)
    }

    /// Raw bytes (bin), below 4 GiB.
    package mutating func write(binary data: UnsafeRawBufferPointer) {
        switch data.count {
        case 0...0xff: put(0xc4, UInt8(data.count))
        case 0...0xffff: put(0xc5, UInt16(data.count))
        default: put(0xc6, UInt32(data.count))
        }
        bytes.append(contentsOf: data)
    }

    /// ASCII text as raw bytes (bin): what Python writes for b"...".
    package mutating func write(binaryText text: String) {
        let data = Array(text.utf8)
        data.withUnsafeBytes { write(binary: $0) }
    }

    /// Announces an array of `count` items, which the caller then writes.
    package mutating func beginArray(_ count: Int) {
        switch count {
        case 0...15: bytes.append(0x90 | UInt8(count))
        case 0...0xffff: put(0xdc, UInt16(count))
        default: put(0xdd, UInt32(count))
        }
    }

    /// Announces a map of `count` pairs, which the caller then writes, key before value.
    package mutating func beginMap(_ count: Int) {
        switch count {
        case 0...15: bytes.append(0x80 | UInt8(count))
        case 0...0xffff: put(0xde, UInt16(count))
        default: put(0xdf, UInt32(count))
        }
    }
}
