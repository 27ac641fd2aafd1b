// One lane's gradient. In: what the engine adds. Out: a view that knows which table rows were touched.
import Base
import Model

/// A gradient of `layout.count` floats at their places, which knows the table rows that a micro-batch touched: the others are zeros, and
/// neither written nor read.
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

    /// Notes which rows of the tables are written; all others are zeros.
    func hold(rows: [UInt64]) { for (word, bits) in rows.enumerated() { bitmap[word] = bits } }

    /// Rounds the gradient to the precision in which gradients travel: a lane's gradient is rounded wherever it is added.
    package func round() {
        guard coding.precision == .bf16 else { return }
        for word in 0..<coding.bitmapWords {
            var bits = bitmap[word]
            while bits != 0 {
                BFloat16.round(floats + (word << 6 + bits.trailingZeroBitCount) * coding.width, count: coding.width)
                bits &= bits - 1
            }
        }
        BFloat16.round(floats + coding.rows * coding.width, count: coding.restCount)
    }
}
