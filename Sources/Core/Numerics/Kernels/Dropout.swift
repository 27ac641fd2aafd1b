// Dropout masks as bit planes. In: rate and what is masked. Out: one bit a unit, the same on every worker.
import Base

/// Inverted dropout: a unit is kept with probability 1 - rate and then scaled by 1 / (1 - rate).
///
/// A decision compares 16 random bits with `threshold`, so the rate is rounded to a multiple of 2^-16; one Philox block decides eight
/// units. Random bits of unit j: chunk q = j / 8, lane l = j % 8, group g = q / 4; the word is 8 * ((q / 2) % 2) + l of group g as
/// `Philox.fill` lays them out, its low half for even q, its high half for odd q.
struct Dropout: Sendable, Equatable {
    /// A unit is dropped when its 16 bits are below this.
    let threshold: UInt32
    /// The factor of a kept unit.
    let scale: Float

    /// - Parameter rate: 0 ..< 1; 0 switches dropout off.
    init(rate: Float) {
        precondition(rate >= 0 && rate < 1, "dropout rate \(rate)")
        threshold = UInt32((rate * 65536).rounded())
        scale = 1 / (1 - rate)
    }

    var isOn: Bool { threshold > 0 }

    /// Philox groups that `width` units need.
    static func groups(width: Int) -> Int { (width + 31) / 32 }

    /// Writes the plane of kept units (see `planeWords`).
    /// - Parameters:
    ///   - scratch: room for `16 * groups(width)` words.
    ///   - plane: `planeWords(width)` words.
    func keep(
        _ philox: Philox, item: UInt64, index: UInt32, width: Int, scratch: UnsafeMutablePointer<UInt32>,
        plane: UnsafeMutablePointer<UInt32>
    ) {
        let groups = Dropout.groups(width: width)
        philox.fill(scratch, groups: groups, item: item, index: index)
        // v >= threshold, without an integer comparison: threshold - 1 - v is negative.
        let limit = UInt8Lanes(repeating: threshold &- 1)
        for part in 0..<planeWords(width: width) / 8 {
            var kept = UInt8Lanes.zero
            for group in 8 * part..<min(8 * part + 8, groups) {
                let words = UnsafePointer(scratch) + 16 &* group
                let (first, second) = (loadBits(words), loadBits(words + 8))
                let bit = UInt32(truncatingIfNeeded: 4 &* (group & 7))
                kept |= ((limit &- (first & 0xFFFF)) &>> 31) &<< UInt8Lanes(repeating: bit)
                kept |= ((limit &- (first &>> 16)) &>> 31) &<< UInt8Lanes(repeating: bit &+ 1)
                kept |= ((limit &- (second & 0xFFFF)) &>> 31) &<< UInt8Lanes(repeating: bit &+ 2)
                kept |= ((limit &- (second &>> 16)) &>> 31) &<< UInt8Lanes(repeating: bit &+ 3)
            }
            storeBits(kept, plane + 8 &* part)
        }
    }
}
