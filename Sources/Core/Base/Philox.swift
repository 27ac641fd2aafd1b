// Counter-based random numbers. In: a key and a counter that name WHAT is drawn. Out: the same bits on every worker, in any order.

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
public struct Philox: Sendable {
    /// What a draw is for; part of the key, so that no two uses share numbers.
    public enum Purpose: UInt32, Sendable {
        case initialValues = 1, shuffleShards, shuffleDocuments, select, replacement, randomWord
        case embeddingMask, mixerMask, convolutionMask, headMask, evaluate
    }

    /// The key's two words.
    public let key0: UInt32, key1: UInt32

    /// A stream for one seed, purpose, layer and moment (`update` or epoch).
    public init(seed: UInt64, purpose: Purpose, layer: Int = 0, update: UInt64 = 0) {
        var mixed = Philox.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
        mixed = Philox.mix(mixed ^ (UInt64(purpose.rawValue) << 32 | UInt64(UInt32(truncatingIfNeeded: layer))))
        mixed = Philox.mix(mixed ^ update)
        key0 = UInt32(truncatingIfNeeded: mixed)
        key1 = UInt32(truncatingIfNeeded: mixed >> 32)
    }

    /// A raw key, for known-answer tests.
    init(key0: UInt32, key1: UInt32) {
        self.key0 = key0
        self.key1 = key1
    }

    /// The finalizer of SplitMix64 (Steele et al., OOPSLA'14): a bijection that spreads every input bit.
    public static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Four words for counter (c0, c1, c2, c3).
    @inline(__always)
    public func block(_ c0: UInt32, _ c1: UInt32, _ c2: UInt32, _ c3: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        var (x0, x1, x2, x3) = (c0, c1, c2, c3)
        var (k0, k1) = (key0, key1)
        for _ in 0..<10 {
            let p0 = UInt64(x0) &* 0xD251_1F53
            let p1 = UInt64(x2) &* 0xCD9E_8D57
            (x0, x1, x2, x3) = (
                UInt32(truncatingIfNeeded: p1 >> 32) ^ x1 ^ k0, UInt32(truncatingIfNeeded: p1),
                UInt32(truncatingIfNeeded: p0 >> 32) ^ x3 ^ k1, UInt32(truncatingIfNeeded: p0)
            )
            k0 = k0 &+ 0x9E37_79B9
            k1 = k1 &+ 0xBB67_AE85
        }
        return (x0, x1, x2, x3)
    }

    /// 64 bits for (item, index): item names a document or word, index a place in it.
    @inline(__always)
    public func bits(_ item: UInt64, _ index: UInt32 = 0) -> UInt64 {
        let words = block(UInt32(truncatingIfNeeded: item), UInt32(truncatingIfNeeded: item >> 32), index, 0)
        return UInt64(words.0) | UInt64(words.1) << 32
    }

    /// Uniform in 0..<bound (Lemire's multiply-shift; the bias is below bound / 2^64).
    @inline(__always)
    public func integer(below bound: UInt64, _ item: UInt64, _ index: UInt32 = 0) -> UInt64 {
        bits(item, index).multipliedFullWidth(by: bound).high
    }
}
