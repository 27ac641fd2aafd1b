// How long a worker goes on when this host fails it. In: what became of jobs. Out: whether it should end.
import Base
import Protocol

/// Watches the jobs of a worker: one on which nothing succeeds any more, as when its cache's disk is full, is of no use to anybody.
package struct JobPatience {
    /// As long as a coordinator tries with a full disk of its own.
    static let limit: Milliseconds = 60_000
    /// The same, for people.
    package static let seconds = Int(limit / 1000)

    /// When the first of the failures in a row was.
    private var since: Milliseconds?

    /// Takes note of what a job came to.
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
