// A fast hash of big buffers. In: bytes. Out: 64 bits that change when any bit changes; no defence against forgers.
import CLinux

/// Four independent lanes of multiply and fold over 32 bytes a step: the memory's speed, so that every parameter broadcast and
/// every contribution can carry its hash.
public enum Digest64 {
    /// The hash of all bytes and of their number.
    public static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let prime: UInt64 = 0x9E37_79B9_7F4A_7C15
        var states = (prime, prime &* 3, prime &* 5, prime &* 7)
        let steps = bytes.count / 32
        if let start = bytes.baseAddress {
            withUnsafeMutableBytes(of: &states) { t2v_digest_words(start, steps, $0.assumingMemoryBound(to: UInt64.self).baseAddress) }
        }
        for byte in bytes.dropFirst(32 * steps) { states.0 = step(states.0, UInt64(byte)) }
        // Each lane is mixed once more before they meet: otherwise the highest bits of two lanes' last words cancel each other.
        var hash = step(step(states.0, 1), step(states.1, 2))
        hash = step(hash, step(states.2, 3))
        hash = step(hash, step(states.3, 4))
        return step(hash, UInt64(bytes.count))
    }

    private static func step(_ state: UInt64, _ word: UInt64) -> UInt64 {
        let mixed = (state ^ word) &* 0xD6E8_FEB8_6659_FD93
        return mixed ^ (mixed >> 32)
    }

    /// Bytes of a block of `hash(blocks:)`.
    public static let block = 1 << 18

    /// Digest of the digests of all blocks, little-endian: blocks can be hashed by several threads at the same time.
    public static func hash(blocks bytes: UnsafeRawBufferPointer) -> UInt64 {
        combine((0..<blockCount(bytes.count)).map { hash(block: $0, of: bytes) })
    }

    /// Blocks of a buffer of that many bytes.
    public static func blockCount(_ byteCount: Int) -> Int { (byteCount + block - 1) / block }

    /// The hash of one block, for a thread of its own.
    public static func hash(block index: Int, of bytes: UnsafeRawBufferPointer) -> UInt64 {
        hash(UnsafeRawBufferPointer(rebasing: bytes[index * block..<min(bytes.count, (index + 1) * block)]))
    }

    /// What `hash(blocks:)` makes of the blocks' digests, in their order.
    public static func combine(_ digests: [UInt64]) -> UInt64 { digests.map(\.littleEndian).withUnsafeBytes { hash($0) } }
}
