import Testing

@testable import Base
@testable import Model
@testable import Numerics

@Suite struct BFloat16Tests {
    private static func rounded(_ value: Float) -> Float {
        var floats = [value]
        BFloat16.round(&floats, count: 1)
        return floats[0]
    }

    private static let values: [Float] = {
        let random = Philox(seed: 1, purpose: .select)
        return (0..<100_003).map { Float(bitPattern: UInt32(truncatingIfNeeded: random.bits(UInt64($0)))) }
    }()

    @Test func roundsToTheNearestTiesToEven() {
        // 1 + 2^-8 lies in the middle of 1 and 1 + 2^-7; 1 + 3 * 2^-8 in the middle of 1 + 2^-7 and 1 + 2^-6.
        #expect(Self.rounded(1.00390625) == 1)
        #expect(Self.rounded(1.01171875) == 1.015625)
        #expect(Self.rounded(Float(1.00390625).nextUp) == 1.0078125)
        #expect(Self.rounded(Float(1.00390625).nextDown) == 1)
        #expect(Self.rounded(-0.0).bitPattern == Float(-0.0).bitPattern)
        #expect(Self.rounded(.greatestFiniteMagnitude) == .infinity)
        #expect(Self.rounded(-.infinity) == -.infinity)
        // The smallest NaN has its only bit in the half that is cut off.
        #expect(Self.rounded(Float(bitPattern: 0x7F80_0001)).isNaN && Self.rounded(Float(bitPattern: 0xFFFF_FFFF)).isNaN)
    }

    @Test func whatTravelsIsWhatWasRounded() {
        var (rounded, halves) = (Self.values, [UInt16](repeating: 0, count: Self.values.count))
        BFloat16.round(&rounded, count: rounded.count)
        BFloat16.narrow(Self.values, to: &halves, count: halves.count)
        var back = [Float](repeating: 1, count: halves.count)
        BFloat16.widen(halves, to: &back, count: back.count)
        #expect(back.map(\.bitPattern) == rounded.map(\.bitPattern))
        var again = rounded
        BFloat16.round(&again, count: again.count)
        #expect(again.map(\.bitPattern) == rounded.map(\.bitPattern))
        #expect(zip(Self.values, rounded).allSatisfy { $0.isNaN ? $1.isNaN : !$1.isFinite || abs($1 - $0) <= abs($0) / 256 + 1e-40 })
    }

    /// Parts that threads write one by one give the same body as a single write.
    @Test(arguments: [WirePrecision.float32, .bf16]) func parametersTravelInParts(precision: WirePrecision) {
        let values = Self.values.map { $0.isNaN ? 0 : $0 }
        let coding = ParameterCoding(count: values.count, precision: precision)
        #expect(coding.byteCount == values.count * (precision == .bf16 ? 2 : 4))
        var body = [UInt16](repeating: 0, count: coding.byteCount / 2)
        for start in stride(from: 0, to: values.count, by: 1000) {
            coding.encode(values, start..<min(values.count, start + 1000), to: &body)
        }
        var (found, expected) = ([Float](repeating: 1, count: values.count), values)
        coding.decode(body, to: &found)
        if precision == .bf16 { BFloat16.round(&expected, count: expected.count) }
        #expect(found.map(\.bitPattern) == expected.map(\.bitPattern))
    }
}
