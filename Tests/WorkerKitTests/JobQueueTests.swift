// The order in which compute threads get their work.
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

    private final class Log {
        private(set) var lines: [String] = []
        func append(_ line: String) { lines.append(line) }
    }
}
