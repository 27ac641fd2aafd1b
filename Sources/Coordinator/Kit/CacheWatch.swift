// The cache's disk while texts are prepared. In: the time. Out: an error when it has been full for too long.
import Base
import Run
import Text

/// Workers that cannot store prepared shards retry forever, so that the coordinator must watch the disk.
struct CacheWatch {
    private let cache: PreparedCache
    private var patience = Patience(seconds: 60)
    private var nextLook: Milliseconds = 0

    init(_ cache: PreparedCache) { self.cache = cache }

    /// Called while shards are missing.
    /// - Throws: `StoppedEarly` when nothing could be written for a minute.
    mutating func check(at now: Milliseconds, goOn: String) throws(StoppedEarly) {
        guard now >= nextLook else { return }
        nextLook = now + 5_000
        let failure = cache.failureOfWriting()
        guard patience.note(failed: failure != nil, at: now), let failure else { return }
        throw StoppedEarly(
            InputError("prepared texts cannot be stored: \(failure.what)", at: failure.place, remedy: "\(failure.remedy), then \(goOn)"))
    }
}
