// A payload that stays where it is. In: a place in memory that both sides map. Out: 32 bytes that refer to it.

/// Between a coordinator and the workers it started, a payload frame of 32 bytes with these fields refers to bytes in shared memory: to
/// parameters in the coordinator's, to a gradient in the worker's. Parameters and gradients themselves are never that short.
package struct SharedReference: Equatable, Sendable {
    /// First bytes of the frame: "T2Vmem" and the version of this layout.
    static let magic: UInt64 = 0x0001_6D65_6D56_3254
    /// Bytes of the frame.
    package static let byteCount = 32
    /// First byte, from the start of the memory; a multiple of 64.
    package var offset: UInt64
    package var length: UInt64
    /// Tells versions in the same place apart.
    package var stamp: UInt64

    package init(offset: UInt64, length: UInt64, stamp: UInt64) { (self.offset, self.length, self.stamp) = (offset, length, stamp) }

    /// - Returns: nil when the frame is not a reference.
    package init?(_ frame: UnsafeRawBufferPointer) {
        guard frame.count == Self.byteCount else { return nil }
        func field(_ index: Int) -> UInt64 { UInt64(littleEndian: frame.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)) }
        guard field(0) == Self.magic else { return nil }
        self.init(offset: field(1), length: field(2), stamp: field(3))
    }

    package func encoded() -> [UInt8] {
        [Self.magic, offset, length, stamp].flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) } }
    }
}
