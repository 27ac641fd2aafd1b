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
    enum Rank: Int, CaseIterable { case sum, gradient, prepare, ahead }

    typealias Work = (ComputeThread) -> Void

    /// A product whose parts are computed by several threads.
    private final class SharedProduct {
        let parts: Int
        let body: (Int) -> Void
        var taken = 0
        var done = 0

        init(parts: Int, _ body: @escaping (Int) -> Void) { (self.parts, self.body) = (parts, body) }
    }

    private let condition = ThreadLock()
    /// Signalled when the last part of a product is done.
    private let finished = ThreadLock()
    /// Products with parts that no thread has taken.
    private var shared: [SharedProduct] = []
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
            let rank = queues.firstIndex { !$0.isEmpty }
            // An update waits for the product of another thread, but not for work ahead of time.
            if let product = shared.first, (rank ?? .max) > Rank.gradient.rawValue, let part = take(product) {
                return { [self] _ in compute(product, part) }
            }
            if let rank { return queues[rank].removeFirst().work }
            waiting.add(1, ordering: .relaxed)
            condition.wait()
            waiting.subtract(1, ordering: .relaxed)
        }
        return nil
    }

    /// The next part of a product; nil if all are taken.
    private func take(_ product: SharedProduct) -> Int? {
        guard product.taken < product.parts else { return nil }
        product.taken += 1
        if product.taken == product.parts { shared.removeAll { $0 === product } }
        return product.taken - 1
    }

    private func compute(_ product: SharedProduct, _ part: Int) {
        product.body(part)
        finished.withLock {
            product.done += 1
            if product.done == product.parts { finished.broadcast() }
        }
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
        condition.withLock {
            shared.append(product)
            condition.broadcast()
        }
        while let part = condition.withLock({ take(product) }) { compute(product, part) }
        finished.withLock {
            while product.done < product.parts { finished.wait() }
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
