// Little-endian fields in and out of one frame. Decoding trusts nothing: every read is checked and fails with the offset.

/// Why a frame was refused.
public struct WireError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong with the frame.
    public var what: String
    /// Byte offset in the header frame.
    public var offset: Int

    /// - Parameter offset: in bytes from the frame's start.
    public init(what: String, offset: Int) { (self.what, self.offset) = (what, offset) }

    /// One line for a log.
    public var description: String { "\(what) at byte \(offset) of the frame" }
}

/// Appends fields to a frame.
public struct ByteWriter: Sendable {
    /// What has been written.
    public private(set) var bytes: [UInt8] = []

    /// - Parameter reserve: bytes that will probably be written.
    public init(reserve: Int = 64) { bytes.reserveCapacity(reserve) }

    /// Writes an integer, little-endian.
    public mutating func put<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Writes a number as its 64 bits.
    public mutating func put(_ value: Double) { put(value.bitPattern) }

    /// Bytes whose count both sides know.
    public mutating func put(raw value: [UInt8]) { bytes.append(contentsOf: value) }

    /// UTF-8: a UInt32 count, then the bytes.
    public mutating func put(_ value: String) {
        put(UInt32(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    /// A UInt32 count, then the elements.
    public mutating func put<T: FixedWidthInteger>(list: [T]) {
        put(UInt32(list.count))
        for element in list { put(element) }
    }
}

/// Takes fields from a frame.
public struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    /// Bytes that have been read.
    public private(set) var offset = 0

    /// - Parameter bytes: a whole frame; it must outlive the reader.
    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Reads an integer, little-endian.
    /// - Throws: `WireError` when the frame ends before it does.
    public mutating func take<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(WireError) -> T {
        let size = MemoryLayout<T>.size
        guard bytes.count - offset >= size else { throw WireError(what: "frame ends inside a field", offset: offset) }
        defer { offset += size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    private mutating func takeCount(elementSize: Int, limit: Int) throws(WireError) -> Int {
        let count = Int(try take(UInt32.self))
        guard count <= limit, count * elementSize <= bytes.count - offset else {
            throw WireError(what: "a count of \(count) is larger than its limit \(limit) or than the frame", offset: offset - 4)
        }
        return count
    }

    /// Bytes whose count both sides know.
    public mutating func take(raw count: Int) throws(WireError) -> [UInt8] {
        guard bytes.count - offset >= count else { throw WireError(what: "frame ends inside a field", offset: offset) }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    /// Reads a text that follows its length in bytes.
    /// - Throws: `WireError` when it is longer than `limit`, cut off or not UTF-8.
    public mutating func takeString(limit: Int) throws(WireError) -> String {
        let start = offset
        guard let text = String(validating: try take(raw: try takeCount(elementSize: 1, limit: limit)), as: UTF8.self) else {
            throw WireError(what: "text is not UTF-8", offset: start)
        }
        return text
    }

    /// Reads integers that follow their count.
    /// - Throws: `WireError` when there are more than `limit`, or the frame ends before they do.
    public mutating func takeList<T: FixedWidthInteger>(_ type: T.Type = T.self, limit: Int) throws(WireError) -> [T] {
        let count = try takeCount(elementSize: MemoryLayout<T>.size, limit: limit)
        var list: [T] = []
        list.reserveCapacity(count)
        for _ in 0..<count { list.append(try take()) }
        return list
    }

    /// Skips the rest: fields that another version wrote.
    package mutating func skipRest() { offset = bytes.count }

    /// Every message ends here: bytes left over are an error, not padding.
    public func end() throws(WireError) {
        guard offset == bytes.count else { throw WireError(what: "\(bytes.count - offset) bytes too many", offset: offset) }
    }
}
