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

    /// Notes which rows of the tables a micro-batch will write. Zeroes those that only the last one has written.
    func begin(rows: [UInt64]) {
        forRows({ bitmap[$0] & ~rows[$0] }) { $0.update(repeating: 0, count: coding.width) }
        for (word, bits) in rows.enumerated() { bitmap[word] = bits }
    }

    /// Rounds the gradient to the precision in which gradients travel: a lane's gradient is rounded wherever it is added.
    package func round() {
        guard coding.precision == .bf16 else { return }
        forRows({ bitmap[$0] }) { BFloat16.round($0, count: coding.width) }
        BFloat16.round(floats + coding.rows * coding.width, count: coding.restCount)
    }

    /// - Parameter bits: of a word of a bitmap.
    @inline(__always)
    private func forRows(_ bits: (Int) -> UInt64, _ body: (MutableFloats) -> Void) {
        for word in 0..<coding.bitmapWords {
            var bits = bits(word)
            while bits != 0 {
                body(floats + (word << 6 + bits.trailingZeroBitCount) * coding.width)
                bits &= bits - 1
            }
        }
    }

    /// Notes that something was added to these rows of the tables.
    func touch(rows: [UInt64]) { for (word, bits) in rows.enumerated() { bitmap[word] |= bits } }
}
