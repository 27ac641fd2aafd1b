// Numbers for the simulated world. In: a seed. Out: the same numbers on every machine.
import Base

/// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA'14).
struct SeededGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = Self.mix(seed &+ 0x5851_F42D_4C95_7F2D) }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

    /// A bijection that spreads every bit: also the world's hash of small things.
    static func mix(_ value: UInt64) -> UInt64 { Philox.mix(value) }

    mutating func chance(_ probability: Double) -> Bool { Double(next() >> 11) * 0x1p-53 < probability }

    mutating func pick(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next().multipliedFullWidth(by: UInt64(range.count)).high)
    }

    mutating func pick<T>(_ values: [T]) -> T? { values.isEmpty ? nil : values[pick(0...values.count - 1)] }
}
