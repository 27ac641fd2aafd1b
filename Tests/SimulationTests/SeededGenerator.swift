// Numbers for the simulated world. In: a seed. Out: the same numbers on every machine.
import Base
import TestSupport

/// Draws for the simulated world.
struct SeededGenerator {
    private var stream: SplitMix64

    init(seed: UInt64) { stream = SplitMix64(state: Self.mix(seed &+ 0x5851_F42D_4C95_7F2D)) }

    mutating func next() -> UInt64 { stream.next() }

    /// A bijection that spreads every bit: also used as the world's hash of small values.
    static func mix(_ value: UInt64) -> UInt64 { Philox.mix(value) }

    mutating func chance(_ probability: Double) -> Bool { Double(next() >> 11) * 0x1p-53 < probability }

    mutating func pick(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next().multipliedFullWidth(by: UInt64(range.count)).high)
    }

    mutating func pick<T>(_ values: [T]) -> T? { values.isEmpty ? nil : values[pick(0...values.count - 1)] }
}
