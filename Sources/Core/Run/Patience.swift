// How long to tolerate a fault that may pass. In: what happened, and when. Out: whether it has lasted too long.
import Base

/// A fault that recurs without a success in between.
package struct Patience: Sendable, Equatable {
    private let limit: Milliseconds
    private var since: Milliseconds?

    package init(seconds: Int) { limit = Milliseconds(seconds) * 1000 }

    /// - Returns: whether the fault has lasted for the limit.
    package mutating func note(failed: Bool, at now: Milliseconds) -> Bool {
        guard failed else {
            since = nil
            return false
        }
        guard let since else {
            since = now
            return false
        }
        return now >= since + limit
    }
}
