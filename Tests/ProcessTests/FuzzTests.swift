// Peers that have the right key and lie. In: forged messages of every kind. Out: a run and a worker that continue undisturbed.
import Base
import CLinux
import Foundation
import Protocol
import Testing
import Transport

@Suite(.serialized) struct FuzzTests {
    /// Messages in each direction; `make fuzz` sends a million.
    static let messages = StrangersTests.messages

    /// A worker that is greeted, holds leases and lies, next to an honest one: the files are those of an undisturbed run.
    @Test func aLyingWorkerHarmsNobody() throws {
        let (output, epochs) = (Scratch.path("out"), Self.messages > 200_000 ? 100 : 40)
        let options = ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--insecure", "-i", "\(epochs)"]
        let program = try Demo.pretrain(output, options)
        let endpoint = try program.endpoint()
        let worker = try lie(to: program, endpoint)
        #expect(program.wait(seconds: 900) == 0, "\(program.output.suffix(3_000))")
        #expect(worker.wait(seconds: 20) == 0, "\(worker.output)")
        #expect(!program.output.utf8.contains(0x1B), "nothing that it says reaches the terminal raw")
        #expect(Demo.results(output) == (try Demo.reference(epochs: epochs)))
    }

    /// The liar's socket is gone when this returns: libzmq misbehaves with one whose other end has gone and that is not read.
    /// - Returns: the honest worker.
    private func lie(to program: Program, _ endpoint: String) throws -> Program {
        let hostile = try HostileWorker(endpoint: endpoint, seed: StrangersTests.seed)
        // Alone most of the time: it has every shard and lane, and the run cannot end before the messages do.
        var sent = hostile.lie(Self.messages / 10 * 9) { program.isRunning }
        let worker = try Program("t2v-worker", ["--connect", endpoint, "--threads", "2", "--cache", Scratch.path("cache")])
        sent += hostile.lie(Self.messages - sent) { program.isRunning }
        print(
            "fuzz: \(sent) messages of a worker: greeted \(hostile.greeted) times, \(hostile.leases) leases, \(hostile.orders) orders, "
                + "refused \(hostile.refusals) times")
        #expect(sent >= Self.messages, "the run was over before the messages were: \(sent)\n\(program.output.suffix(2_000))")
        #expect(hostile.greeted > 100 && hostile.leases > 100 && hostile.orders > 0 && hostile.refusals > 100)
        return worker
    }

    /// Whoever sends a gradient that does not decode is refused; the run neither uses it nor ends.
    @Test func aGradientThatDoesNotDecode() throws {
        // Its shards are in the cache then: the liar cannot prepare any.
        let expected = try Demo.reference(epochs: 2)
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--insecure", "-i", "2"])
        let endpoint = try program.endpoint()
        // Alone at first, so that it gets an order.
        let isRefused = try HostileWorker(endpoint: endpoint, seed: 1).answerWithoutGradient()
        #expect(isRefused && program.output.contains("a gradient that cannot be decoded"), "\(program.output.suffix(2_000))")
        let worker = try Program("t2v-worker", ["--connect", endpoint, "--threads", "2", "--cache", Scratch.path("cache")])
        #expect(program.wait(seconds: 300) == 0, "\(program.output.suffix(3_000))")
        #expect(worker.wait(seconds: 20) == 0, "\(worker.output)")
        #expect(Demo.results(output) == expected)
    }

    /// A coordinator that lies to a worker with open lanes: the worker continues, and computes what it is honestly asked to.
    @Test func aLyingCoordinatorKillsNoWorker() throws {
        let coordinator = try HostileCoordinator(seed: StrangersTests.seed)
        let arguments = ["--connect", coordinator.endpoint, "--threads", "2", "--stay", "--cache", Scratch.path("cache")]
        var worker = try Program("t2v-worker", arguments)
        var refused = 0
        let sent = coordinator.lie(Self.messages) {
            // A welcome that it cannot use ends a worker, with the status of wrong input and no other.
            guard !worker.isRunning, worker.wait() == 2, let next = try? Program("t2v-worker", arguments) else { return worker.isRunning }
            (worker, refused) = (next, refused + 1)
            return true
        }
        print(
            "fuzz: \(sent) messages of a coordinator: \(coordinator.hellos) hellos, \(coordinator.prepared) shards prepared, "
                + "\(coordinator.lanesReady) lanes ready, \(coordinator.contributions) contributions; \(refused) times refused")
        #expect(sent >= Self.messages, "the worker has ended after \(sent) messages: \(worker.output.suffix(3_000))")
        #expect(coordinator.getsWorkDone { worker.isRunning }, "\(worker.output.suffix(3_000))")
        #expect(coordinator.hellos > 10 && coordinator.lanesReady > 10 && coordinator.contributions > 10)
        #expect(worker.output.split(separator: "\n").count < 10_000, "the log is bounded")
        worker.signal(SIGTERM)
        #expect(worker.wait(seconds: 20) == 0)
    }

    /// A plan that is sound in itself and not true of its shards: the place of a document is a quotient by its lane's words, here by 0.
    @Test func aPlanWithoutALanesWordsKillsNoWorker() throws {
        let coordinator = try HostileCoordinator(seed: StrangersTests.seed, forgetsWords: true)
        let worker = try Program("t2v-worker", ["--connect", coordinator.endpoint, "--threads", "1", "--cache", Scratch.path("cache")])
        #expect(!coordinator.getsWorkDone { worker.isRunning && coordinator.troubles == 0 }, "\(worker.output)")
        #expect(worker.isRunning && coordinator.troubles > 0, "\(worker.output)")
        #expect(worker.output.contains("different number of words"), "\(worker.output)")
        worker.signal(SIGTERM)
        #expect(worker.wait(seconds: 20) == 0)
    }
}
