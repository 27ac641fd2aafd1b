// The times of both state machines, in milliseconds of a monotonic clock.
import Base

/// Names a peer of the coordinator: each connection gets a new one, and none is used twice.
package typealias PeerID = UInt64

/// Names a buffer of the shell that holds a payload; the state machine says when it is released.
package typealias BufferID = UInt64

/// Timeouts and intervals. A test may shorten them.
package struct ProtocolTimes: Sendable, Equatable {
    /// An unanswered message is repeated after this time.
    package var reminder: Milliseconds = 2_000
    /// A worker that has sent nothing for this long sends `alive`.
    package var alive: Milliseconds = 1_000
    /// A peer from which nothing has arrived for this long is lost: its lanes move.
    package var silence: Milliseconds = 8_000
    /// The lease deadline: a lane that takes longer than this, and than `lateFactor` times the usual time, is leased a second time.
    package var late: Milliseconds = 2_000
    package var lateFactor: Milliseconds = 4
    /// A shard that takes longer to prepare is also given to another worker.
    package var prepare: Milliseconds = 60_000
    /// A holder that neither opens its lane nor requests anything for this long loses it to another.
    package var opening: Milliseconds = 120_000
    /// A worker that lost a lane to a second holder gets no lanes for this long, doubled each time, up to 64 times this.
    package var suspension: Milliseconds = 5_000
    /// After a request to stop, the open update may take this long to complete.
    package var stop: Milliseconds = 2_000
    /// A run that has waited for this long says what it is waiting for.
    package var waiting: Milliseconds = 10_000
    /// A chunk that has not arrived is requested again after this time.
    package var chunk: Milliseconds = 10_000

    /// A peer that is being sent parameters must take a window of pieces in this time, otherwise others are served as well.
    package var taking: Milliseconds = 500

    package init() {}

    /// Times for hosts and links that are slower by this factor.
    package func slowed(by factor: Int) -> ProtocolTimes {
        var times = self
        for path in [
            \ProtocolTimes.reminder, \.alive, \.silence, \.late, \.prepare, \.opening, \.suspension, \.stop, \.waiting, \.chunk, \.taking,
        ] {
            times[keyPath: path] *= Milliseconds(factor)
        }
        return times
    }
}
