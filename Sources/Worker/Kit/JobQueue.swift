// Work for the compute threads. In: jobs from the thread that owns the socket. Out: events back to it, and a wake-up.
import Base
import Glibc
import Numerics
import Protocol
import Synchronization
import Text
import Transport

/// Jobs by rank: sums that others wait for, then gradients, then parts of gradients that other threads compute, then preparation, then work
/// ahead of time.
final class JobQueue: @unchecked Sendable {
    enum Rank: Int, CaseIterable { case sum, gradient, part, prepare, ahead }

    typealias Work = (ComputeThread) -> Void

    private let condition = ThreadLock()
    private let waiting = Atomic<Int>(0)
    private var queues = [[(cost: Int, work: Work)]](repeating: [], count: Rank.allCases.count)
    private var ended = false

    /// - Parameter cost: more expensive jobs come first; equal ones keep their order.
    func add(_ rank: Rank, cost: Int = 0, _ work: @escaping Work) {
        condition.lock()
        let place = queues[rank.rawValue].lastIndex { $0.cost >= cost }.map { $0 + 1 } ?? 0
        queues[rank.rawValue].insert((cost, work), at: place)
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
            if let rank = queues.firstIndex(where: { !$0.isEmpty }) { return queues[rank].removeFirst().work }
            waiting.add(1, ordering: .relaxed)
            condition.wait()
            waiting.subtract(1, ordering: .relaxed)
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

extension JobQueue: IdleThreads {
    var idleCount: Int { waiting.load(ordering: .relaxed) }

    func share(parts: Int, _ body: @escaping (Int) -> Void) {
        let product = SharedProduct(parts: parts, body)
        // A thread that comes late finds no part left.
        for _ in 1..<max(1, parts) { add(.part) { _ in product.computePart() } }
        while product.computePart() {}
        product.wait()
    }
}

/// A product whose parts are computed by several threads.
private final class SharedProduct: @unchecked Sendable {
    private let parts: Int
    private let body: (Int) -> Void
    private let lock = ThreadLock()
    private var (taken, done) = (0, 0)

    init(parts: Int, _ body: @escaping (Int) -> Void) { (self.parts, self.body) = (parts, body) }

    /// - Returns: false if other threads have taken all parts.
    @discardableResult
    func computePart() -> Bool {
        let part = lock.withLock {
            defer { taken += 1 }
            return taken
        }
        guard part < parts else { return false }
        body(part)
        lock.withLock {
            done += 1
            if done == parts { lock.signal() }
        }
        return true
    }

    /// Waits for the parts that other threads have taken. One thread may call it.
    func wait() {
        lock.withLock {
            while done < parts { lock.wait() }
        }
    }
}

/// One compute thread, with everything that only it may use.
final class ComputeThread: @unchecked Sendable {
    let queue: JobQueue
    var engine: GradientEngine?
    var builder: MicroBatchBuilder?
    var evaluator: Evaluator?
    var preparer: ShardPreparer?
    /// Raised when a run is joined: objects of an earlier one are then made again.
    var generation = 0

    /// - Throws: `InputError` when the system has no more threads to give.
    init(queue: JobQueue, name: String) throws(InputError) {
        self.queue = queue
        try startThread(name, stackBytes: 16 << 20) { [self] in
            while let work = self.queue.next() { work(self) }
        }
    }
}

/// Messages from compute threads to the thread that owns the socket.
final class EventInbox: @unchecked Sendable {
    /// Runs on the thread that owns the socket; returns the event, or nil if it is no longer valid.
    typealias News = () -> WorkerStateMachine.Event?

    private let lock = ThreadLock()
    private var news: [News] = []
    let wake: EventFD

    init() throws(InputError) { wake = try EventFD() }

    func post(_ item: @escaping News) {
        lock.lock()
        news.append(item)
        lock.unlock()
        wake.signal()
    }

    func drain() -> [News] {
        wake.drain()
        lock.lock()
        defer {
            news = []
            lock.unlock()
        }
        return news
    }
}
