// Writes files while training continues, one after another. In: closures. Out: files, and reports of failures.
import Base
import FoundationEssentials
import Glibc
import Transport

/// One helper thread that writes models, log lines and checkpoints in the order in which they were given.
package final class OutputWriter: @unchecked Sendable {
    /// Gives the log's new length in bytes.
    package typealias Task = (_ logByteCount: Int) throws(InputError) -> Int

    /// What happens when a task fails.
    package enum Importance: Sendable {
        /// It is dropped with a warning; a later one takes its place.
        case optional
        /// It is retried until `patience` is over; then the run stops, with everything before it intact.
        case required
    }

    private struct Entry {
        var name: String
        var importance: Importance
        var task: Task
    }

    private let condition = ThreadLock()
    private var queue: [Entry] = []
    private var working = false
    private var ended = false
    private var warnings: [String] = []
    private var failure: InputError?
    private var logByteCount: Int
    private let patienceSeconds: Double
    private let wake: EventFD

    /// - Parameters:
    ///   - wake: signalled when there is something to report.
    ///   - patienceSeconds: how long a required file is retried.
    /// - Throws: `InputError` when the system has no more threads to give.
    package init(logByteCount: Int, wake: EventFD, patienceSeconds: Double = 60) throws(InputError) {
        self.logByteCount = logByteCount
        self.wake = wake
        self.patienceSeconds = patienceSeconds
        try startThread("output", stackBytes: 8 << 20) { [self] in work() }
    }

    /// The most tasks that may wait, since each holds a copy of the weights.
    private static let mostWaiting = 8

    /// Blocks while too many wait: a full disk stops the training before it fills the memory.
    package func add(_ name: String, _ importance: Importance, _ task: @escaping Task) {
        condition.lock()
        while queue.count >= Self.mostWaiting && failure == nil && !ended { condition.wait() }
        queue.append(Entry(name: name, importance: importance, task: task))
        condition.broadcast()
        condition.unlock()
    }

    /// Tasks that wait or run.
    package var pending: Int {
        condition.lock()
        defer { condition.unlock() }
        return queue.count + (working ? 1 : 0)
    }

    /// Warnings since the last call, and why the run must stop, if it must.
    package func news() -> (warnings: [String], failure: InputError?) {
        condition.lock()
        defer {
            warnings = []
            condition.unlock()
        }
        return (warnings, failure)
    }

    /// Blocks until everything is written or writing has failed for good.
    package func drain() {
        condition.lock()
        while (!queue.isEmpty || working) && failure == nil { condition.wait() }
        condition.unlock()
    }

    /// Ends the thread after the current task.
    package func end() {
        condition.lock()
        ended = true
        condition.broadcast()
        condition.unlock()
    }

    private func work() {
        condition.lock()
        while true {
            while queue.isEmpty && !ended { condition.wait() }
            if ended { break }
            let entry = queue.removeFirst()
            working = true
            perform(entry)
            working = false
            condition.broadcast()
            if failure != nil { break }
        }
        condition.unlock()
    }

    /// Called with the lock held; releases it while the task runs.
    private func perform(_ entry: Entry) {
        let deadline = Date.timeIntervalSinceReferenceDate + patienceSeconds
        var said = false
        while true {
            let count = logByteCount
            condition.unlock()
            var error: InputError?
            var length = count
            do throws(InputError) { length = try entry.task(count) } catch let thrown { error = thrown }
            condition.lock()
            guard let error else {
                logByteCount = length
                if said { warnings.append("\(entry.name) was written in the end") }
                return
            }
            let late = Date.timeIntervalSinceReferenceDate > deadline || ended
            if entry.importance == .optional {
                warnings.append("\(entry.name) could not be written, and is tried again later: \(error)")
            } else if late {
                failure = error
            } else if !said {
                said = true
                warnings.append("\(entry.name) could not be written; trying again: \(error)")
            }
            wake.signal()
            if entry.importance == .optional || late { return }
            condition.wait(milliseconds: 1000)
        }
    }
}
