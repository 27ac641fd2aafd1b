// How long a worker continues when jobs fail on this host. In: results of jobs. Out: whether it should end.
import Base
import Protocol

/// Watches a worker's jobs: a worker on which nothing succeeds any more, because its cache's disk is full, say, is of no use.
package struct JobPatience {
    /// As long as a coordinator retries when its own disk is full.
    static let limit: Milliseconds = 60_000
    /// The same, for people.
    package static let seconds = Int(limit / 1000)

    /// When the current run of failures began.
    private var since: Milliseconds?

    /// Records the result of a job.
    /// - Returns: the reason to end: jobs have failed for `limit`, and none succeeded in between.
    mutating func note(_ event: WorkerStateMachine.Event, now: Milliseconds) -> String? {
        if let what = event.failure {
            let first = since ?? now
            since = first
            return now >= first + Self.limit ? what : nil
        }
        switch event {
        case .prepared, .planOpened, .laneOpened, .computed: since = nil
        default: break
        }
        return nil
    }
}

extension WorkerStateMachine.Event {
    /// What failed on this host.
    var failure: String? {
        switch self {
        case .failed(_, let what), .notStored(_, let what): what
        default: nil
        }
    }
}
