// Work for the compute threads. In: jobs from the thread that owns the socket. Out: events back to it, and a nudge.
import Core
import Foundation

/// Jobs by rank: gradients before preparation, preparation before work ahead of time.
final class JobQueue: @unchecked Sendable {
    enum Rank: Int, CaseIterable { case gradient, prepare, ahead }

    typealias Work = (ComputeThread) -> Void

    private let condition = NSCondition()
    private var queues = [[Work]](repeating: [], count: Rank.allCases.count)
    private var ended = false

    func add(_ rank: Rank, _ work: @escaping Work) {
        condition.lock()
        queues[rank.rawValue].append(work)
        condition.signal()
        condition.unlock()
    }

    /// Drops queued work of a rank: it belongs to an update that is over.
    func drop(_ rank: Rank) {
        condition.lock()
        queues[rank.rawValue] = []
        condition.unlock()
    }

    /// Blocks until there is work; nil at the end.
    func next() -> Work? {
        condition.lock()
        defer { condition.unlock() }
        while !ended {
            if let rank = queues.firstIndex(where: { !$0.isEmpty }) { return queues[rank].removeFirst() }
            condition.wait()
        }
        return nil
    }

    func end() {
        condition.lock()
        ended = true
        condition.broadcast()
        condition.unlock()
    }
}

/// One compute thread with everything that only it may use.
final class ComputeThread: @unchecked Sendable {
    let queue: JobQueue
    var engine: GradientEngine?
    var builder: MicroBatchBuilder?
    var preparer: ShardPreparer?
    /// Raised when a run is joined: what belongs to an earlier one is made anew.
    var generation = 0

    init(queue: JobQueue, name: String) {
        self.queue = queue
        let thread = Thread { [self] in
            while let work = self.queue.next() { work(self) }
        }
        thread.name = name
        thread.stackSize = 16 << 20
        thread.start()
    }
}

/// Events from compute threads to the thread that owns the socket.
final class EventInbox: @unchecked Sendable {
    /// What a thread found, and the membership (the times a run was joined) in which it was asked.
    struct Report {
        var membership: Int
        /// Asked on the thread that owns the socket; a report about something that is gone is dropped.
        var isCurrent: () -> Bool
        var before: (() -> Void)?
        var event: WorkerStateMachine.Event
    }

    private let lock = NSLock()
    private var reports: [Report] = []
    let wake: EventFD

    init() throws(InputError) { wake = try EventFD() }

    func post(_ report: Report) {
        lock.lock()
        reports.append(report)
        lock.unlock()
        wake.signal()
    }

    func drain() -> [Report] {
        wake.drain()
        lock.lock()
        defer {
            reports = []
            lock.unlock()
        }
        return reports
    }
}

/// Given to a job when it is asked for: what it reports counts only while the worker's membership is the same.
struct Poster: @unchecked Sendable {
    let inbox: EventInbox
    let membership: Int

    func post(
        _ event: WorkerStateMachine.Event, while isCurrent: @escaping () -> Bool = { true }, before closure: (() -> Void)? = nil
    ) {
        inbox.post(.init(membership: membership, isCurrent: isCurrent, before: closure, event: event))
    }

    /// Runs a closure on the thread that owns the socket.
    func finish(_ closure: @escaping () -> Void) { post(.tick, before: closure) }
}
