// Eight floats at a time. In and out: plain pointers; the other kernels are written in these few operations.
//
// Swift's SIMD types compile to single AVX instructions for arithmetic, comparisons of floats and shifts, but go lane by lane for
// comparisons of integers, conversions between widths and `sum()`; this file and its users keep to the former.
import CKernels

typealias Floats = UnsafePointer<Float>
typealias MutableFloats = UnsafeMutablePointer<Float>
typealias Float8 = SIMD8<Float>
typealias UInt8Lanes = SIMD8<UInt32>

/// Asks for the cache line of an element that is needed soon; any address will do.
@inline(__always)
func prefetch(_ pointer: Floats, _ index: Int) { t2v_prefetch(pointer + index, 1) }

/// Calls `body(i, n)` for the chunks [i, i + n) of `0..<count`: n is 8 for all but the last, which may be shorter.
@inline(__always)
func forChunks(_ count: Int, _ body: (_ start: Int, _ length: Int) -> Void) {
    var start = 0
    while start &+ 8 <= count {
        body(start, 8)
        start &+= 8
    }
    if start < count { body(start, count &- start) }
}

/// Elements start..<start + length; lanes beyond `length` are 0.
@inline(__always)
func load(_ pointer: Floats, _ start: Int, _ length: Int) -> Float8 {
    if length == 8 { return UnsafeRawPointer(pointer + start).loadUnaligned(as: Float8.self) }
    // The rest of spaCy's 300: lane by lane it costs as much as ten whole chunks.
    if length == 4 { return Float8(lowHalf: UnsafeRawPointer(pointer + start).loadUnaligned(as: SIMD4<Float>.self), highHalf: .zero) }
    return loadPart(pointer + start, length)
}

/// Not inlined: every chunk of every kernel ends in it, few rows need it, and compiling it each time took a tenth of the build.
@inline(never)
private func loadPart(_ pointer: Floats, _ length: Int) -> Float8 {
    var value = Float8.zero
    for lane in 0..<length { value[lane] = pointer[lane] }
    return value
}

@inline(__always)
func load(_ pointer: MutableFloats, _ start: Int, _ length: Int) -> Float8 { load(Floats(pointer), start, length) }

/// Writes the first `length` lanes.
@inline(__always)
func store(_ value: Float8, _ pointer: MutableFloats, _ start: Int, _ length: Int) {
    if length == 8 {
        UnsafeMutableRawPointer(pointer + start).storeBytes(of: value, as: Float8.self)
    } else if length == 4 {
        UnsafeMutableRawPointer(pointer + start).storeBytes(of: value.lowHalf, as: SIMD4<Float>.self)
    } else {
        storePart(value, pointer + start, length)
    }
}

/// Not inlined, like `loadPart`.
@inline(never)
private func storePart(_ value: Float8, _ pointer: MutableFloats, _ length: Int) {
    for lane in 0..<length { pointer[lane] = value[lane] }
}

/// `value` with 0 in the lanes from `length` on.
@inline(__always)
func first(_ length: Int, of value: Float8) -> Float8 {
    if length == 8 { return value }
    if length == 4 { return Float8(lowHalf: value.lowHalf, highHalf: .zero) }
    return firstPart(length, of: value)
}

/// Not inlined, like `loadPart`.
@inline(never)
private func firstPart(_ length: Int, of value: Float8) -> Float8 {
    var value = value
    for lane in length..<8 { value[lane] = 0 }
    return value
}

@inline(__always)
func loadBits(_ pointer: UnsafePointer<UInt32>) -> UInt8Lanes { UnsafeRawPointer(pointer).loadUnaligned(as: UInt8Lanes.self) }

@inline(__always)
func storeBits(_ value: UInt8Lanes, _ pointer: UnsafeMutablePointer<UInt32>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: UInt8Lanes.self)
}

/// Sum of the lanes, always in the same tree: the bits do not depend on the compiler.
@inline(__always)
func laneSum(_ value: Float8) -> Float {
    let four = value.lowHalf + value.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
}

/// `value` where `mask` is all ones, 0 where it is all zeros.
@inline(__always)
func masked(_ value: Float8, _ mask: UInt8Lanes) -> Float8 {
    unsafeBitCast(unsafeBitCast(value, to: UInt8Lanes.self) & mask, to: Float8.self)
}

/// Bit `bit` of every lane, spread over the lane: all ones or all zeros.
@inline(__always)
func spread(_ plane: UInt8Lanes, bit: Int) -> UInt8Lanes {
    let shifted = plane &<< UInt8Lanes(repeating: UInt32(truncatingIfNeeded: 31 &- bit))
    return unsafeBitCast(unsafeBitCast(shifted, to: SIMD8<Int32>.self) &>> SIMD8<Int32>(repeating: 31), to: UInt8Lanes.self)
}

/// Number of 32-bit words of one bit plane over `width` units. Unit j is bit (j / 8) % 32 of word 8 * (j / 256) + j % 8, so that the eight
/// units of a chunk are one bit of eight lanes, and packing or reading a chunk is two vector operations.
func planeWords(width: Int) -> Int { 8 * ((width + 255) / 256) }

/// The chunk of a bit plane that begins at unit `start`, a multiple of 8: all ones where a unit's bit is set, else all zeros.
@inline(__always)
func chunkMask(_ plane: UnsafePointer<UInt32>, _ start: Int) -> UInt8Lanes {
    spread(loadBits(plane + 8 &* (start >> 8)), bit: (start >> 3) & 31)
}

/// The bit of one unit, 0 or 1.
func planeBit(_ plane: [UInt32], _ unit: Int) -> UInt32 { plane[8 * (unit / 256) + unit % 8] >> UInt32((unit / 8) % 32) & 1 }

/// Whether all floats are +0.0.
@inline(__always)
func areZeroBits(_ floats: Floats, count: Int) -> Bool {
    var bits = UInt8Lanes.zero
    forChunks(count) { start, length in bits |= unsafeBitCast(load(floats, start, length), to: UInt8Lanes.self) }
    return bits == .zero
}

/// target += source, `count` floats.
@inline(__always)
func add(_ source: Floats, to target: MutableFloats, count: Int) {
    forChunks(count) { start, length in
        store(load(target, start, length) + load(source, start, length), target, start, length)
    }
}

/// target *= factor, element by element.
@inline(__always)
func multiply(_ target: MutableFloats, by factor: Floats, count: Int) {
    forChunks(count) { start, length in
        store(load(target, start, length) * load(factor, start, length), target, start, length)
    }
}
