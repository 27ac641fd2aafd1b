// Half of a float's bytes, for the wire. In: float32. Out: the nearest bfloat16, as 16 bits or as the float32 of the same value.
import Model

/// bfloat16: the upper half of a float32, so the same range and 8 significant bits. Rounding is to nearest, ties to even, as in IEEE 754; a
/// NaN stays a NaN.
enum BFloat16 {
    /// The rounded float's bits; the lower 16 are 0. Plain integers, so that the compiler vectorizes these loops.
    @inline(__always)
    private static func rounded(_ value: Float) -> UInt32 {
        let bits = value.bitPattern
        let nearest = bits &+ 0x7FFF &+ ((bits &>> 16) & 1)
        return (bits & 0x7FFF_FFFF > 0x7F80_0000 ? bits | 0x0040_0000 : nearest) & 0xFFFF_0000
    }

    /// Rounds in place. Values that are rounded already do not change.
    static func round(_ floats: MutableFloats, count: Int) {
        for i in 0..<count { floats[i] = Float(bitPattern: rounded(floats[i])) }
    }

    /// Writes the upper halves of the rounded floats, each little-endian.
    static func narrow(_ floats: Floats, to target: UnsafeMutablePointer<UInt16>, count: Int) {
        for i in 0..<count { target[i] = UInt16(truncatingIfNeeded: rounded(floats[i]) &>> 16) }
    }

    /// The floats that the halves stand for.
    static func widen(_ halves: UnsafePointer<UInt16>, to target: MutableFloats, count: Int) {
        for i in 0..<count { target[i] = Float(bitPattern: UInt32(halves[i]) &<< 16) }
    }
}

/// Parameters as a frame's body.
package struct ParameterCoding: Sendable {
    /// Floats of the layout.
    package let count: Int
    package let precision: WirePrecision

    package init(count: Int, precision: WirePrecision) { (self.count, self.precision) = (count, precision) }

    package var byteCount: Int { count * precision.bytesPerFloat }

    /// Writes floats `range` of `parameters` to their place in `body`.
    package func encode(_ parameters: UnsafePointer<Float>, _ range: Range<Int>, to body: UnsafeMutableRawPointer) {
        switch precision {
        case .float32:
            (body.assumingMemoryBound(to: Float.self) + range.lowerBound).update(
                from: parameters + range.lowerBound, count: range.count)
        case .bf16:
            BFloat16.narrow(
                parameters + range.lowerBound, to: body.assumingMemoryBound(to: UInt16.self) + range.lowerBound, count: range.count)
        }
    }

    /// Writes the floats that `body` (`byteCount` bytes) stands for.
    package func decode(_ body: UnsafeRawPointer, to parameters: UnsafeMutablePointer<Float>) {
        switch precision {
        case .float32: UnsafeMutableRawPointer(parameters).copyMemory(from: body, byteCount: byteCount)
        case .bf16: BFloat16.widen(body.assumingMemoryBound(to: UInt16.self), to: parameters, count: count)
        }
    }
}
