// How many lanes a thread computes at once. In: lanes, threads, words. Out: a level of the tree.

import Model

/// Lanes with few words are computed together, as far as all threads have enough to do.
package enum LaneGroups {
    /// The most words: products do not gain by more rows, and sorted rows would leave the second-level cache.
    private static let words = 2048
    /// The most words of an update that one group computes. Only one gradient goes through memory then, which is worth more.
    private static let wordsOfUpdate = 4096
    /// The most lanes are 16: each takes some memory.
    private static let highest: UInt8 = 4
    /// Groups for each thread, so that all of them finish at about the same time. Two threads do so anyway: the first to finish computes
    /// half of each product of the other.
    private static func perThread(_ threads: Int) -> Int { threads == 2 ? 1 : 4 }

    /// The level of the nodes that are computed at once; 0: lanes are computed one by one.
    /// - Parameters:
    ///   - lanes: that this worker computes in an update.
    ///   - wordsPerLane: on average.
    ///   - precision: of the gradients that are added.
    package static func level(lanes: Int, threads: Int, wordsPerLane: Int, spec: ModelSpec, precision: WirePrecision) -> UInt8 {
        guard GradientEngine.joinsLanes(spec), precision == .float32 else { return 0 }
        let whole = UInt8(truncatingIfNeeded: Int.bitWidth - max(0, lanes - 1).leadingZeroBitCount)
        if threads == 1, whole <= highest, lanes * wordsPerLane <= wordsOfUpdate { return whole }
        let fewest = perThread(threads) * threads
        var level: UInt8 = 0
        while level < highest, wordsPerLane << Int(level + 1) <= words, lanes >> Int(level + 1) >= fewest { level += 1 }
        return level
    }
}
