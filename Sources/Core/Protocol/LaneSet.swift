// A bit set of lanes. In: ranges of lanes. Out: whether a lane is among them, in constant time.
import Base

/// A set of lanes below a fixed number.
struct LaneSet: Sendable, Equatable {
    private var words: [UInt64]

    init(lanes: Int) { words = [UInt64](repeating: 0, count: (lanes + 63) / 64) }

    mutating func insert(_ lanes: Range<LaneID>) {
        for lane in lanes.lowerBound.rawValue..<lanes.upperBound.rawValue { words[lane >> 6] |= 1 << UInt64(lane & 63) }
    }

    /// - Parameter lane: below the set's number of lanes.
    func contains(_ lane: LaneID) -> Bool { words[lane.rawValue >> 6] & (1 << UInt64(lane.rawValue & 63)) != 0 }
}
