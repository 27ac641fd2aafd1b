// Rows of a hash embedding. In: a 64-bit attribute id and a table's seed. Out: four 32-bit keys.

/// MurmurHash3 x64 128 (Austin Appleby, public domain) of the eight bytes of `id`, little-endian, as thinc 7 `ops.hash` uses it.
/// - Returns: h1 low, h1 high, h2 low, h2 high.
@inlinable
public func murmurHash3(_ id: UInt64, seed: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
    func rotate(_ x: UInt64, _ bits: UInt64) -> UInt64 { x &<< bits | x &>> (64 &- bits) }
    func finish(_ value: UInt64) -> UInt64 {
        var k = value
        k = (k ^ k >> 33) &* 0xFF51_AFD7_ED55_8CCD
        k = (k ^ k >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return k ^ k >> 33
    }
    // Eight bytes are all tail: only the first half of a block is mixed in.
    var h1 = UInt64(seed) ^ (rotate(id &* 0x87C3_7B91_1142_53D5, 31) &* 0x4CF5_AD43_2745_937F)
    var h2 = UInt64(seed)
    h1 ^= 8
    h2 ^= 8
    h1 = h1 &+ h2
    h2 = h2 &+ h1
    h1 = finish(h1)
    h2 = finish(h2)
    h1 = h1 &+ h2
    h2 = h2 &+ h1
    return (UInt32(truncatingIfNeeded: h1), UInt32(h1 >> 32), UInt32(truncatingIfNeeded: h2), UInt32(h2 >> 32))
}
