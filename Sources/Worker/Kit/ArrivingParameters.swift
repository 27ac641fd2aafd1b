// Parameters that arrive in pieces. In: pieces in any order. Out: the whole and its hash, computed as the pieces arrive.
import Base
import Protocol
import Transport

/// Collects the pieces of one round at a time. Computations from an earlier round keep that round's memory.
final class ArrivingParameters {
    private var pool: MessageBufferPool
    private let byteCount: Int
    private var blob: BlobID?
    private var buffer: MessageBuffer?
    private var digests: [UInt64] = []

    init(byteCount: Int) {
        self.byteCount = byteCount
        pool = MessageBufferPool(byteCount: byteCount)
    }

    /// A piece of a new round starts over. A piece that is not at a piece's place is left out: the hash will differ.
    func store(_ piece: Chunk, _ bytes: UnsafeRawBufferPointer) {
        if blob != piece.blob || buffer == nil {
            (buffer, blob) = (nil, piece.blob)
            buffer = pool.next()
            digests = [UInt64](repeating: 0, count: Digest64.blockCount(byteCount))
        }
        guard let buffer, let start = Int(exactly: piece.offset), start % Digest64.block == 0, start < byteCount,
            bytes.count == min(Digest64.block, byteCount - start)
        else { return }
        UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[start..<start + bytes.count]).copyMemory(from: bytes)
        digests[start / Digest64.block] = Digest64.hash(block: start / Digest64.block, of: UnsafeRawBufferPointer(buffer.bytes))
    }

    /// `Digest64.hash(blocks:)` of what has arrived.
    var hash: UInt64 { Digest64.combine(digests) }

    /// The whole, for use as it is; the next piece goes to other memory.
    var message: ZMQMessage? {
        defer { buffer = nil }
        return buffer.map { ZMQMessage(sharing: $0) }
    }
}
