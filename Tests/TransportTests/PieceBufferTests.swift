import Testing

@testable import Base
@testable import Transport

@Suite struct PieceBufferTests {
    private static let bytes = (0..<2 * Digest64.block + 100).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 9) }

    private func store(_ offset: Int, _ count: Int, _ pieces: PieceBuffer, at place: UInt64? = nil) {
        Self.bytes.withUnsafeBytes {
            pieces.store(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]), at: place ?? UInt64(offset))
        }
    }

    @Test func takesPiecesInAnyOrder() {
        // Memory that was used before, and is larger than needed.
        let buffer = MessageBuffer(byteCount: Self.bytes.count + 50)
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xEE)
        let pieces = PieceBuffer(buffer, byteCount: Self.bytes.count)
        store(2 * Digest64.block, 100, pieces)
        store(0, Digest64.block, pieces)
        let whole = Self.bytes.withUnsafeBytes { Digest64.hash(blocks: $0) }
        #expect(pieces.hash != whole)
        store(Digest64.block, Digest64.block, pieces)
        #expect(pieces.hash == whole)
        #expect(Array(pieces.message.data) == Self.bytes)
    }

    @Test func leavesOutWhatDoesNotLieWhereAPieceLies() {
        let pieces = PieceBuffer(MessageBuffer(byteCount: Self.bytes.count), byteCount: Self.bytes.count)
        for offset in [0, Digest64.block] { store(offset, Digest64.block, pieces) }
        store(2 * Digest64.block, 100, pieces)
        let hash = pieces.hash
        store(5, Digest64.block, pieces, at: 1)
        store(5, Digest64.block, pieces, at: UInt64(2 * Digest64.block))
        store(5, 99, pieces, at: UInt64(2 * Digest64.block))
        for place in [UInt64(3 * Digest64.block), .max, 1 << 63] { store(5, 100, pieces, at: place) }
        #expect(pieces.hash == hash && Array(pieces.message.data) == Self.bytes)
    }
}
