// Philox, four counters at a time. In: what is drawn. Out: many 32-bit words, the same words as block by block.

extension Philox {
    /// Words that one group of four counters gives.
    public static let wordsPerGroup = 16

    /// Words of the counters (item low, item high, index, c) for c in 0..<4 * groups. Group g holds, for its four counters in turn, words 0
    /// and 1 of each (8 words), then words 2 and 3 of each (8 words).
    /// - Parameter words: room for `16 * groups`.
    public func fill(_ words: UnsafeMutablePointer<UInt32>, groups: Int, item: UInt64, index: UInt32) {
        typealias Four = SIMD4<UInt64>
        let low = Four(repeating: 0xFFFF_FFFF)
        // 32-bit values in 64-bit lanes: the compiler sees that the upper halves are 0 and uses one multiplication for each product.
        for group in 0..<groups {
            var x0 = Four(repeating: item & 0xFFFF_FFFF)
            var x1 = Four(repeating: item >> 32)
            var x2 = Four(repeating: UInt64(index))
            var x3 = Four(0, 1, 2, 3) &+ Four(repeating: UInt64(4 &* group))
            var (k0, k1) = (key0, key1)
            for _ in 0..<10 {
                let p0 = (x0 & low) &* Four(repeating: 0xD251_1F53)
                let p1 = (x2 & low) &* Four(repeating: 0xCD9E_8D57)
                x0 = (p1 &>> 32) ^ x1 ^ Four(repeating: UInt64(k0))
                x1 = p1 & low
                x2 = (p0 &>> 32) ^ x3 ^ Four(repeating: UInt64(k1))
                x3 = p0 & low
                k0 = k0 &+ 0x9E37_79B9
                k1 = k1 &+ 0xBB67_AE85
            }
            let out = UnsafeMutableRawPointer(words + 16 &* group)
            out.storeBytes(of: x0 | (x1 &<< 32), as: Four.self)
            out.storeBytes(of: x2 | (x3 &<< 32), toByteOffset: 32, as: Four.self)
        }
    }
}
