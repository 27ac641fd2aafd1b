// Dropout masks as bit planes. In: rate and what is masked. Out: one bit a unit, the same on every worker.
import Base
import CKernels

/// Inverted dropout: a unit is kept with probability 1 - rate and then scaled by 1 / (1 - rate).
///
/// A decision compares 16 random bits with `threshold`, so the rate is rounded to a multiple of 2^-16; one Philox block decides eight
/// units. `t2v_keep` says which bits are whose.
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

    /// Writes the plane of kept units (see `planeWords`).
    /// - Parameter plane: `planeWords(width)` words.
    func keep(_ philox: Philox, item: UInt64, index: UInt32, width: Int, plane: UnsafeMutablePointer<UInt32>) {
        var mask = t2v_mask(key0: philox.key0, key1: philox.key1, item: item, index: index, threshold: threshold)
        t2v_keep(0, &mask, width, plane)
    }

    /// Appends the plane of kept units.
    func keep(_ philox: Philox, item: UInt64, index: UInt32, width: Int, into planes: inout [UInt32]) {
        let (start, count) = (planes.count, planeWords(width: width))
        for _ in 0..<count { planes.append(0) }
        planes.withUnsafeMutableBufferPointer { planes in
            guard let planes = planes.baseAddress else { return }
            keep(philox, item: item, index: index, width: width, plane: planes + start)
        }
    }
}
