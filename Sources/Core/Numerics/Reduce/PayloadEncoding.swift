// A sum as a payload, on several threads. In: the sum of a node. Out: the bytes that one thread would write.
import Base

/// Writes the payload of a sum (see `GradientCoding`) in parts that threads may take in any order.
package final class PayloadEncoding: @unchecked Sendable {
    package let parts: Int
    private let sum: GradientSum
    private let coding: GradientCoding
    private let bitmap: UnsafeMutablePointer<UInt64>
    /// The first row's place.
    private let target: UnsafeMutableRawPointer
    /// The number of rows that may be present before each part, and in all parts.
    private let before: [Int]
    /// The number of rows in each part that are not zero.
    private let written: UnsafeMutablePointer<Int>

    /// - Parameters:
    ///   - out: room for `coding.maximumBytes`, aligned to 8 bytes; it must outlive the encoding, as the sum's operands must.
    ///   - parts: 1 or more.
    package init(_ sum: GradientSum, into out: UnsafeMutableRawBufferPointer, parts: Int) {
        let coding = sum.coding
        guard let base = out.baseAddress, out.count >= coding.maximumBytes else { preconditionFailure("no room for the payload") }
        (self.sum, self.coding, self.parts) = (sum, coding, parts)
        bitmap = base.assumingMemoryBound(to: UInt64.self)
        target = base + coding.bitmapBytes
        var (before, count) = ([Int](), 0)
        for part in 0..<parts {
            before.append(count)
            for word in Self.share(part, of: coding.bitmapWords, parts) { count += sum.union[word].nonzeroBitCount }
        }
        self.before = before + [count]
        written = .allocate(capacity: parts)
        written.initialize(repeating: 0, count: parts)
    }

    deinit { written.deallocate() }

    private static func share(_ part: Int, of count: Int, _ parts: Int) -> Range<Int> { count * part / parts..<count * (part + 1) / parts }

    private var bytesPerRow: Int { coding.width * coding.precision.bytesPerFloat }

    /// Encodes one part; each must be encoded once.
    package func encode(part: Int) {
        // Whole words of the bitmap, so that no two threads write to one.
        let words = Self.share(part, of: coding.bitmapWords, parts)
        (bitmap + words.lowerBound).update(repeating: 0, count: words.count)
        let rows = words.lowerBound << 6..<min(coding.rows, words.upperBound << 6)
        written[part] = sum.encodeRows(rows, to: target + before[part] * bytesPerRow, bitmap: bitmap)
        sum.encodeRest(Self.share(part, of: coding.restCount, parts), to: target + before[parts] * bytesPerRow)
    }

    /// Closes the gaps that zero rows left, after every part.
    /// - Returns: the payload's length in bytes.
    package func finish() -> Int {
        let restBytes = coding.restCount * coding.precision.bytesPerFloat
        var count = written[0]
        for part in 1..<parts {
            move(from: before[part], to: count, byteCount: written[part] * bytesPerRow)
            count += written[part]
        }
        move(from: before[parts], to: count, byteCount: restBytes)
        return coding.bitmapBytes + count * bytesPerRow + restBytes
    }

    private func move(from source: Int, to row: Int, byteCount: Int) {
        guard source != row else { return }
        (target + row * bytesPerRow).copyMemory(from: target + source * bytesPerRow, byteCount: byteCount)
    }
}
