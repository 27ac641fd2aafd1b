// A fast hash of big buffers. In: bytes. Out: 64 bits that change when any bit changes; no defence against forgers.
import CLinux

/// 32 states, each of which takes a word of every 256 bytes: what a state becomes tells what it was and what it took, so no single change
/// is lost. As fast as memory, so that every parameter broadcast and every contribution can carry its hash.
public enum Digest64 {
    private static let prime: UInt64 = 0x9E37_79B9_7F4A_7C15

    /// The hash of all bytes and of their number.
    public static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let blocks = bytes.count / 256
        var hash = prime
        if blocks > 0, let start = bytes.baseAddress {
            withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 32) { states in
                for index in states.indices { states[index] = prime &* UInt64(2 * index + 1) }
                if let states = states.baseAddress { t2v_digest_blocks(start, blocks, states) }
                hash = states.reduce(hash, step)
            }
        }
        for byte in bytes.dropFirst(256 * blocks) { hash = step(hash, UInt64(byte)) }
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
