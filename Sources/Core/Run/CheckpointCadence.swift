// When a checkpoint is due. In: the time. Out: yes or no.
import Base

/// Checkpoints within an epoch: at a fixed interval, while nothing else waits to be written.
package struct CheckpointCadence: Sendable, Equatable {
    private let interval: Milliseconds
    /// When the last one was taken; nil: the run has not begun, and none is due.
    private var last: Milliseconds?

    package init(everySeconds: Int) { interval = Milliseconds(everySeconds) * 1000 }

    /// A checkpoint was taken, or the run has begun from one.
    package mutating func taken(at now: Milliseconds) { last = now }

    /// - Parameter filesWaiting: files that are still to be written. A slow disk delays the next checkpoint instead of collecting copies.
    package func isDue(at now: Milliseconds, filesWaiting: Int) -> Bool {
        guard let last else { return false }
        return filesWaiting == 0 && now >= last + interval
    }
}
