// When the held-out documents are scored. In: the number of updates done. Out: yes or no.

/// Scores at the end of every epoch, and within an epoch at a fixed number of updates.
package struct EvaluationSchedule: Sendable, Equatable {
    /// By default, an epoch with more words is scored `timesPerLongEpoch` times.
    package static let longEpoch: UInt64 = 50_000_000
    package static let timesPerLongEpoch: UInt64 = 20

    private let every: UInt64
    private let updatesPerEpoch: UInt64

    /// - Parameters:
    ///   - every: updates between two evaluations, counted in each epoch; nil: once an epoch, more often in long ones.
    ///   - words: of an epoch.
    package init(every: Int?, updatesPerEpoch: UInt64, words: UInt64) {
        self.updatesPerEpoch = max(1, updatesPerEpoch)
        let times = words > Self.longEpoch ? Self.timesPerLongEpoch : 1
        self.every = every.map { UInt64(max(1, $0)) } ?? max(1, (updatesPerEpoch + times - 1) / times)
    }

    /// - Parameter updates: done since the run began; never 0.
    package func isDue(after updates: UInt64) -> Bool {
        let inEpoch = updates % updatesPerEpoch
        return inEpoch == 0 || inEpoch % every == 0
    }
}
