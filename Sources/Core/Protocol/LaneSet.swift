// Lanes as bits. In: ranges of lanes. Out: whether a lane is among them, without a search.

/// A set of lanes below a fixed number.
struct LaneSet: Sendable, Equatable {
    private var words: [UInt64]

    init(lanes: Int) { words = [UInt64](repeating: 0, count: (lanes + 63) / 64) }

    mutating func insert(_ lanes: Range<Int>) { for lane in lanes { words[lane >> 6] |= 1 << UInt64(lane & 63) } }

    /// - Parameter lane: below the set's number of lanes.
    func contains(_ lane: Int) -> Bool { words[lane >> 6] & (1 << UInt64(lane & 63)) != 0 }
}
