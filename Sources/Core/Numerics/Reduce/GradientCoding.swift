// A gradient as the payload of a contribution: its shape and its check. `GradientSum` writes and reads the floats.
// In: a flat gradient or a payload. Out: a view of its rows.
import Base
import Model

/// Payload: a bitmap of the embedding tables' rows in layout order (bit i of byte i / 8, padded with zero bits to a multiple of 8 bytes),
/// the rows whose bit is set (width float32 each), then every other float of the layout. Rows that are all +0.0 are left out: a small
/// micro-batch touches few. A row that is left out decodes to +0.0, so that sparse and dense have the same bits.
/// With `bf16` the floats are upper halves.
package struct GradientCoding: Sendable, Equatable {
    /// Rows of all tables together, and floats of one.
    package let rows: Int
    package let width: Int
    /// Floats of the layout.
    package let count: Int
    package let precision: WirePrecision

    package init(layout: ParameterLayout, precision: WirePrecision = .float32) {
        self.precision = precision
        let tables = layout.tables
        width = tables.first?.shape[1] ?? 1
        rows = tables.reduce(0) { $0 + $1.shape[0] }
        count = layout.count
        precondition(
            (tables.first?.offset ?? 0) == 0 && tables.allSatisfy { $0.shape[1] == width }, "tables come first and are equally wide")
        precondition(tables.reduce(0) { $0 + $1.count } == rows * width)
    }

    var bitmapWords: Int { (rows + 63) / 64 }
    var bitmapBytes: Int { bitmapWords * 8 }
    var restCount: Int { count - rows * width }
    /// Bytes of the longest payload.
    package var maximumBytes: Int { bitmapBytes + precision.bytesPerFloat * count }

    /// The range with the rest of those table rows of which it has a part.
    package func wholeRows(_ range: Range<Int>) -> Range<Int> {
        let end = rows * width
        let first = range.lowerBound < end ? range.lowerBound / width * width : range.lowerBound
        let last = range.upperBound < end ? (range.upperBound + width - 1) / width * width : range.upperBound
        return first..<last
    }

    /// Whether every bit of the row is 0; -0.0 is not: it must arrive unchanged.
    func isZero(_ row: UnsafePointer<Float>) -> Bool { areZeroBits(row, count: width) }

    /// The number of rows below `row` in the bitmap.
    func rank(of row: Int, in bitmap: UnsafePointer<UInt64>) -> Int {
        var count = 0
        for word in 0..<row >> 6 { count += bitmap[word].nonzeroBitCount }
        if row & 63 != 0 { count += (bitmap[row >> 6] & (1 << UInt64(row & 63) - 1)).nonzeroBitCount }
        return count
    }

    /// A dense gradient (`count` floats) of which the rows that are not in `bitmap` (`bitmapWords` words) are +0.0,
    /// whatever is in their places.
    package func view(dense gradient: UnsafePointer<Float>, bitmap: UnsafePointer<UInt64>) -> GradientView {
        GradientView(bitmap: bitmap, rows: gradient, rest: gradient + rows * width, packing: nil)
    }

    /// Reads the bitmap of a payload, of any alignment. - Returns: how many rows are present.
    /// - Throws: `WireError` when the length does not fit the bitmap or a padding bit is set.
    @discardableResult
    package func check(payload: UnsafeRawBufferPointer) throws(WireError) -> Int {
        guard payload.count >= bitmapBytes else { throw WireError(what: "gradient ends inside its bitmap", offset: payload.count) }
        var (present, last) = (0, UInt64(0))
        for word in 0..<bitmapWords {
            last = UInt64(littleEndian: payload.loadUnaligned(fromByteOffset: 8 * word, as: UInt64.self))
            present += last.nonzeroBitCount
        }
        if rows % 64 != 0, last >> UInt64(rows % 64) != 0 {
            throw WireError(what: "gradient bitmap has a bit beyond row \(rows - 1)", offset: bitmapBytes - 8)
        }
        let expected = bitmapBytes + precision.bytesPerFloat * (present * width + restCount)
        guard payload.count == expected else {
            throw WireError(what: "gradient has \(payload.count) bytes, its bitmap says \(expected)", offset: bitmapBytes)
        }
        return present
    }

    /// Whether every float of a payload that was checked is a finite number.
    package func isFinite(payload: UnsafeRawBufferPointer) -> Bool {
        // The exponent's bits, all of them: infinity or NaN.
        switch precision {
        case .float32:
            return stride(from: bitmapBytes, to: payload.count - 3, by: 4).allSatisfy {
                payload.loadUnaligned(fromByteOffset: $0, as: UInt32.self) & 0x7F80_0000 != 0x7F80_0000
            }
        case .bf16:
            return stride(from: bitmapBytes, to: payload.count - 1, by: 2).allSatisfy {
                payload.loadUnaligned(fromByteOffset: $0, as: UInt16.self) & 0x7F80 != 0x7F80
            }
        }
    }

    /// The gradient that `payload` encodes; it must be aligned to 8 bytes and outlive the view.
    /// - Throws: as `check(payload:)`.
    package func view(payload: UnsafeRawBufferPointer) throws(WireError) -> GradientView {
        let present = try check(payload: payload)
        guard let base = payload.baseAddress else { throw WireError(what: "gradient is empty", offset: 0) }
        precondition(Int(bitPattern: base) % 8 == 0)
        let bitmap = base.assumingMemoryBound(to: UInt64.self)
        let first = base + bitmapBytes
        return GradientView(
            bitmap: bitmap, rows: first, rest: first + precision.bytesPerFloat * present * width, packing: precision)
    }
}
