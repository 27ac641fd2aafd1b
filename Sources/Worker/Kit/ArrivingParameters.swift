// Parameters that arrive in pieces. In: pieces in any order. Out: the whole and its hash.
import Base
import Protocol
import Transport

/// Collects the pieces of one round at a time. Computations from an earlier round keep that round's memory.
final class ArrivingParameters {
    private var pool: MessageBufferPool
    private let byteCount: Int
    private var blob: BlobID?
    private var pieces: PieceBuffer?

    init(byteCount: Int) {
        self.byteCount = byteCount
        pool = MessageBufferPool(byteCount: byteCount)
    }

    /// A piece of a new round starts over.
    func store(_ piece: Chunk, _ bytes: UnsafeRawBufferPointer) {
        if blob != piece.blob || pieces == nil {
            // The buffer of the other round can be reused for this one.
            pieces = nil
            (pieces, blob) = (PieceBuffer(pool.next(), byteCount: byteCount), piece.blob)
        }
        pieces?.store(bytes, at: piece.offset)
    }

    /// `Digest64.hash(blocks:)` of what has arrived.
    var hash: UInt64 { pieces?.hash ?? 0 }

    /// The whole, for use as it is; the next piece goes to other memory.
    var message: ZMQMessage? {
        defer { pieces = nil }
        return pieces?.message
    }
}
