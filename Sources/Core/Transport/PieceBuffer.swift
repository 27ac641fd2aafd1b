// A payload that arrives in pieces. In: pieces in any order. Out: the whole and its hash, whose parts are computed as pieces arrive.
import Base

/// Collects the pieces of one payload, each one block of its hash. One thread uses it.
package final class PieceBuffer {
    private let buffer: MessageBuffer
    private let byteCount: Int
    private var digests: [UInt64]

    /// - Parameter buffer: has room for `byteCount` bytes; its contents are overwritten.
    package init(_ buffer: MessageBuffer, byteCount: Int) {
        precondition(byteCount <= buffer.bytes.count, "no room for the pieces")
        (self.buffer, self.byteCount) = (buffer, byteCount)
        digests = [UInt64](repeating: 0, count: Digest64.blockCount(byteCount))
    }

    private var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.bytes)[..<byteCount]) }

    /// Stores a piece. Bytes at any other place than a piece's are ignored; the hash then shows that a piece is missing.
    package func store(_ piece: UnsafeRawBufferPointer, at offset: UInt64) {
        guard let start = Int(exactly: offset), start % Digest64.block == 0, start < byteCount,
            piece.count == min(Digest64.block, byteCount - start)
        else { return }
        UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[start..<start + piece.count]).copyMemory(from: piece)
        digests[start / Digest64.block] = Digest64.hash(block: start / Digest64.block, of: bytes)
    }

    /// `Digest64.hash(blocks:)` of what has arrived.
    package var hash: UInt64 { Digest64.combine(digests) }

    /// The whole payload. No piece may be stored while the message is in use.
    package var message: ZMQMessage { ZMQMessage(sharing: bytes, ownedBy: buffer) }
}
