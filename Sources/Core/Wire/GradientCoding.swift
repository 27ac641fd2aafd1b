// A gradient as the payload of a contribution. In: a flat gradient in the parameter layout. Out: bytes without its zero table rows, and
// back.

/// Payload: a bitmap of the embedding tables' rows in layout order (bit i of byte i / 8, padded with zero bits to a multiple of 8 bytes),
/// the rows
/// whose bit is set (width float32 each), then every other float of the layout. Rows that are all +0.0 are left out: a small
/// micro-batch touches few. A row left out decodes to +0.0, so that sparse and dense are the same bits.
public struct GradientCoding: Sendable, Equatable {
    /// Rows of all tables together, and floats of one.
    public let rows: Int
    public let width: Int
    /// Floats of the layout.
    public let count: Int

    public init(layout: ParameterLayout) {
        let tables = layout.tables
        width = tables.first?.shape[1] ?? 1
        rows = tables.reduce(0) { $0 + $1.shape[0] }
        count = layout.count
        precondition(tables.first?.offset == 0 && tables.allSatisfy { $0.shape[1] == width }, "tables stand first and are equally wide")
        precondition(tables.reduce(0) { $0 + $1.count } == rows * width)
    }

    var bitmapBytes: Int { (rows + 63) / 64 * 8 }
    var restCount: Int { count - rows * width }
    /// Bytes of the longest payload.
    public var maximumBytes: Int { bitmapBytes + 4 * count }

    /// Writes the payload of `gradient` (`count` floats) to `out`, which has room for `maximumBytes` and is aligned to 8 bytes.
    /// - Returns: the payload's length in bytes.
    public func encode(_ gradient: UnsafePointer<Float>, into out: UnsafeMutableRawBufferPointer) -> Int {
        precondition(out.count >= maximumBytes)
        guard let base = out.baseAddress else { return 0 }
        let bitmap = base.assumingMemoryBound(to: UInt8.self)
        bitmap.update(repeating: 0, count: bitmapBytes)
        var target = (base + bitmapBytes).assumingMemoryBound(to: Float.self)
        for row in 0..<rows {
            let source = gradient + row * width
            guard !isZero(source) else { continue }
            bitmap[row >> 3] |= 1 << UInt8(row & 7)
            target.update(from: source, count: width)
            target += width
        }
        target.update(from: gradient + rows * width, count: restCount)
        return UnsafeRawPointer(target + restCount) - UnsafeRawPointer(base)
    }

    /// Whether every bit of the row is 0; -0.0 is not: it must arrive as it left.
    private func isZero(_ row: UnsafePointer<Float>) -> Bool {
        var bits: UInt32 = 0
        for i in 0..<width { bits |= row[i].bitPattern }
        return bits == 0
    }

    /// Writes the gradient that `payload` encodes to `gradient` (`count` floats).
    /// - Throws: `WireError` when the length does not fit the bitmap or a padding bit is set; `gradient` is then undefined.
    public func decode(_ payload: UnsafeRawBufferPointer, into gradient: UnsafeMutablePointer<Float>) throws(WireError) {
        guard payload.count >= bitmapBytes, let base = payload.baseAddress else {
            throw WireError(what: "gradient ends inside its bitmap", offset: payload.count)
        }
        var present = 0
        for byte in 0..<bitmapBytes { present += payload[byte].nonzeroBitCount }
        for row in rows..<bitmapBytes * 8 where payload[row >> 3] & (1 << UInt8(row & 7)) != 0 {
            throw WireError(what: "gradient bitmap has a bit for row \(row) of \(rows)", offset: row >> 3)
        }
        let expected = bitmapBytes + 4 * (present * width + restCount)
        guard payload.count == expected else {
            throw WireError(what: "gradient has \(payload.count) bytes, its bitmap says \(expected)", offset: bitmapBytes)
        }
        var source = base + bitmapBytes
        let bytesPerRow = 4 * width
        for row in 0..<rows {
            let target = gradient + row * width
            if payload[row >> 3] & (1 << UInt8(row & 7)) != 0 {
                UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: bytesPerRow)
                source += bytesPerRow
            } else {
                target.update(repeating: 0, count: width)
            }
        }
        UnsafeMutableRawPointer(gradient + rows * width).copyMemory(from: source, byteCount: 4 * restCount)
    }
}
