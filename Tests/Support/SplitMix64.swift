// Random numbers for tests. In: a seed. Out: the same numbers on every machine, so that a failure can be reproduced.
import Base

/// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA'14).
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// - Parameter state: the seed.
    public init(state: UInt64) { self.state = state }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Philox.mix(state)
    }
}
