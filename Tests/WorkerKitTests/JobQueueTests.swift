// The order in which compute threads get their work, and products that several of them compute.
import Base
import Glibc
import Synchronization
import Testing

@testable import WorkerKit

@Suite("Job queue")
struct JobQueueTests {
    /// Runs what is queued, in the queue's order, until it is empty.
    private func drain(_ queue: JobQueue, _ count: Int) -> Int {
        (0..<count).reduce(0) { done, _ in queue.next() == nil ? done : done + 1 }
    }

    @Test func givesGradientsBeforePreparationBeforeWorkAhead() throws {
        let queue = JobQueue()
        let log = Log()
        queue.add(.ahead) { _ in log.append("ahead") }
        queue.add(.prepare) { _ in log.append("prepare") }
        queue.add(.gradient) { _ in log.append("gradient 1") }
        queue.add(.gradient) { _ in log.append("gradient 2") }
        let thread = try ComputeThread(queue: JobQueue(), name: "test")
        defer { thread.queue.end() }
        for _ in 0..<4 { queue.next()?(thread) }
        #expect(log.lines == ["gradient 1", "gradient 2", "prepare", "ahead"])
    }

    @Test func givesWhatCostsMoreFirst() throws {
        let queue = JobQueue()
        let log = Log()
        for (cost, name) in [(5, "a"), (9, "b"), (5, "c"), (7, "d"), (0, "e")] {
            queue.add(.gradient, cost: cost) { _ in log.append(name) }
        }
        queue.add(.sum) { _ in log.append("sum") }
        let thread = try ComputeThread(queue: JobQueue(), name: "test")
        defer { thread.queue.end() }
        for _ in 0..<6 { queue.next()?(thread) }
        #expect(log.lines == ["sum", "b", "d", "a", "c", "e"])
    }

    @Test func dropsOneRankAndKeepsTheOthers() {
        let queue = JobQueue()
        queue.add(.gradient) { _ in }
        queue.add(.gradient) { _ in }
        queue.add(.prepare) { _ in }
        queue.drop(.gradient)
        #expect(drain(queue, 1) == 1)
        queue.end()
        #expect(queue.next() == nil)
    }

    @Test func givesNothingAfterTheEnd() {
        let queue = JobQueue()
        queue.add(.gradient) { _ in }
        queue.end()
        #expect(queue.next() == nil)
    }

    /// How often each part was computed.
    private final class Parts: Sendable {
        private let lock = Mutex<[Int]>([])
        init(_ count: Int) { lock.withLock { $0 = Array(repeating: 0, count: count) } }
        func compute(_ part: Int) { lock.withLock { $0[part] += 1 } }
        var computed: [Int] { lock.withLock { $0 } }
    }

    private final class Counter: Sendable {
        private let count = Atomic(0)
        func add() { count.add(1, ordering: .relaxed) }
        var value: Int { count.load(ordering: .relaxed) }
    }

    private static func waitUntil(_ isTrue: () -> Bool) {
        for _ in 0..<5000 where !isTrue() { usleep(1000) }
    }

    /// While one part waits for another, two threads must be computing them.
    @Test func threadsThatWaitTakePartsOfAProduct() throws {
        let queue = JobQueue()
        defer { queue.end() }
        #expect(queue.idleCount == 0)
        let threads = try (0..<2).map { try ComputeThread(queue: queue, name: "test \($0)") }
        Self.waitUntil { queue.idleCount == threads.count }
        #expect(queue.idleCount == 2)
        let (begun, parts) = (Counter(), Parts(3))
        queue.share(parts: 3) { part in
            begun.add()
            Self.waitUntil { begun.value == 3 }
            parts.compute(part)
        }
        #expect(begun.value == 3 && parts.computed == [1, 1, 1])
        Self.waitUntil { queue.idleCount == threads.count }
        #expect(queue.idleCount == 2)
    }

    /// Threads that share products with each other, also within a part, end, and compute each part once.
    @Test func productsAreSharedInAllDirections() throws {
        let queue = JobQueue()
        defer { queue.end() }
        let (parts, done) = (Parts(4000), Counter())
        for job in 0..<40 {
            queue.add(.gradient) { _ in
                queue.share(parts: 10) { outer in
                    queue.share(parts: 10) { inner in parts.compute((job * 10 + outer) * 10 + inner) }
                }
                done.add()
            }
        }
        let threads = try (0..<4).map { try ComputeThread(queue: queue, name: "test \($0)") }
        Self.waitUntil { done.value == 40 }
        #expect(parts.computed == Array(repeating: 1, count: 4000) && threads.count == 4)
    }

    /// Other gradients come first, work ahead of time comes later.
    @Test func partsComeAfterGradients() throws {
        let queue = JobQueue()
        let (log, thread) = (Log(), try ComputeThread(queue: JobQueue(), name: "test"))
        defer { thread.queue.end() }
        queue.add(.ahead) { _ in log.append("ahead") }
        queue.add(.gradient) { _ in log.append("gradient") }
        queue.share(parts: 2) { part in
            log.append("part \(part)")
            // The second part is taken while the first one is computed.
            if part == 0 { for _ in 0..<3 { queue.next()?(thread) } }
        }
        #expect(log.lines == ["part 0", "gradient", "part 1", "ahead"])
    }

    /// The thread that shares a product computes it alone when no other is there any more.
    @Test func aProductIsCompleteAfterTheEnd() {
        let (queue, parts) = (JobQueue(), Parts(5))
        queue.end()
        queue.share(parts: 5, parts.compute)
        #expect(parts.computed == [1, 1, 1, 1, 1])
    }

    private final class Log {
        private(set) var lines: [String] = []
        func append(_ line: String) { lines.append(line) }
    }
}
