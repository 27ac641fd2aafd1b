// One lane's gradient. In: what the engine adds. Out: a view that knows which table rows were touched.
import Base
import Model

/// A dense gradient of `layout.count` floats that remembers the table rows a micro-batch touched, so that the others need not be zeroed or
/// read.
package final class GradientBuffer: @unchecked Sendable {
    let floats: MutableFloats
    private let bitmap: UnsafeMutablePointer<UInt64>
    private let coding: GradientCoding

    /// A gradient of zeros.
    package init(coding: GradientCoding) {
        self.coding = coding
        floats = LargeMemory.allocate(byteCount: coding.count * 4).assumingMemoryBound(to: Float.self)
        floats.initialize(repeating: 0, count: coding.count)
        bitmap = .allocate(capacity: coding.bitmapWords)
        bitmap.initialize(repeating: 0, count: coding.bitmapWords)
    }

    deinit {
        UnsafeMutableRawPointer(floats).deallocate()
        bitmap.deallocate()
    }

    /// Valid until this buffer is written again.
    package var view: GradientView { coding.view(dense: floats, bitmap: bitmap) }

    /// Zeroes the rows of the last micro-batch.
    func clearRows() {
        forTouchedRows { $0.update(repeating: 0, count: coding.width) }
        bitmap.update(repeating: 0, count: coding.bitmapWords)
    }

    /// Rounds the gradient to the precision in which gradients travel: a lane's gradient is rounded wherever it is added.
    package func round() {
        guard coding.precision == .bf16 else { return }
        forTouchedRows { BFloat16.round($0, count: coding.width) }
        BFloat16.round(floats + coding.rows * coding.width, count: coding.restCount)
    }

    @inline(__always)
    private func forTouchedRows(_ body: (MutableFloats) -> Void) {
        for word in 0..<coding.bitmapWords {
            var bits = bitmap[word]
            while bits != 0 {
                body(floats + (word << 6 + bits.trailingZeroBitCount) * coding.width)
                bits &= bits - 1
            }
        }
    }

    /// Notes that something was added to these rows of the tables.
    func touch(rows: [UInt64]) { for (word, bits) in rows.enumerated() { bitmap[word] |= bits } }

    /// Notes that something is added to a row of the tables.
    @inline(__always)
    func touch(row: Int) { bitmap[row >> 6] |= 1 << UInt64(row & 63) }
}

/// What a lane has of its own where lanes are computed together: rows of tables, one after another, and gradients of vectors. Weights have
/// room that is never used, and so takes no memory.
final class LaneGradient {
    private let coding: GradientCoding
    private let rest: MutableFloats
    private let bitmap: UnsafeMutablePointer<UInt64>
    private var rows = MutableFloats.allocate(capacity: 1)
    private var capacity = 1
    /// Where each table's rows begin among these.
    private var starts: [Int] = []

    init(coding: GradientCoding) {
        self.coding = coding
        rest = .allocate(capacity: max(1, coding.restCount))
        bitmap = .allocate(capacity: coding.bitmapWords)
    }

    deinit {
        rest.deallocate()
        bitmap.deallocate()
        rows.deallocate()
    }

    /// Addressed like the whole layout, but without tables.
    var floats: MutableFloats { rest - coding.rows * coding.width }

    /// Rows of a table: one for each that the lane touches.
    func rows(table: Int) -> MutableFloats { rows + starts[table] * coding.width }

    /// Zeroes what is added: the rows that a micro-batch touches.
    /// - Parameter first: the first row of each table.
    func clear(for batch: MicroBatchContent, first: [Int]) {
        var count = 0
        starts.removeAll(keepingCapacity: true)
        bitmap.update(repeating: 0, count: coding.bitmapWords)
        for (part, first) in zip(batch.parts, first) {
            starts.append(count)
            count += part.touched.count
            for row in part.touched { bitmap[(first + Int(row)) >> 6] |= 1 << UInt64((first + Int(row)) & 63) }
        }
        if count * coding.width > capacity {
            rows.deallocate()
            capacity = count * coding.width * 5 / 4
            rows = .allocate(capacity: capacity)
        }
        rows.update(repeating: 0, count: count * coding.width)
    }

    var view: GradientView { GradientView(bitmap: bitmap, rows: rows, rest: rest, packing: .float32) }
}
