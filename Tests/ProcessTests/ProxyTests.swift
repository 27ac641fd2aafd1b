// Real processes over a bad network. In: messages that are lost, repeated, delayed, reordered. Out: the bytes of an undisturbed run.
import Foundation
import Testing

@Suite(.serialized) struct ProxyTests {
    @Test(arguments: [1]) func surviveABadNetwork(seed: UInt64) throws {
        let output = Scratch.path("out")
        let options = ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--insecure", "-i", "3", "--min-workers", "2"]
        let program = try Demo.pretrain(output, options)
        let proxy = try MessageProxy(to: try program.endpoint(), faults: .init(), seed: seed)
        let workers = try (0..<2).map { _ in
            try Program("t2v-worker", ["--connect", proxy.endpoint, "--threads", "1", "--cache", Scratch.path("cache")])
        }
        #expect(program.wait(seconds: 240) == 0, "\(program.output)")
        // The final message may be lost too: a worker that misses it waits for a coordinator until it is killed.
        for worker in workers {
            worker.signal(SIGTERM)
            #expect([0, 75, -15].contains(worker.wait(seconds: 20)), "\(worker.output)")
        }
        proxy.stop()
        let counts = proxy.counts
        print("proxy: \(counts)")
        #expect(counts.lost > 0 && counts.repeated > 5 && counts.delayed > 10, "\(counts)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    /// A worker that joins in the middle of the training computes at most two updates after its shards have arrived.
    @Test func aJoinerWorksWithinTwoUpdates() throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--insecure", "-i", "40"])
        let proxy = try MessageProxy(to: try program.endpoint(), faults: .none, seed: 1)
        func worker() throws -> Program {
            try Program("t2v-worker", ["--connect", proxy.endpoint, "--threads", "1", "--cache", Scratch.path("cache")])
        }
        var workers = [try worker()]
        program.waitFor("training:")
        for number in 1...2 {
            usleep(300_000)
            workers.append(try worker())
            let deadline = Date(timeIntervalSinceNow: 30)
            var waited: UInt64?
            while waited == nil, Date() < deadline {
                usleep(20_000)
                waited = Self.updatesUntilAtWork(number, proxy.sights)
            }
            print("joiner \(number): ordered \(waited.map { "\($0) updates" } ?? "never") after its first lane was ready")
            #expect((waited ?? .max) <= 2)
        }
        #expect(program.wait() == 0, "\(program.output)")
        for worker in workers { #expect(worker.wait(seconds: 20) == 0, "\(worker.output)") }
        proxy.stop()
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }

    /// From the update that is open when the worker first says that a lane is ready, to the first that it is ordered.
    private static func updatesUntilAtWork(_ worker: Int, _ sights: [MessageProxy.Sight]) -> UInt64? {
        var open: UInt64 = 0
        var ready: UInt64?
        for sight in sights {
            switch sight {
            case .ready(worker): ready = ready ?? open
            case .begin(worker, let update, let lanes) where lanes > 0: return ready.map { update - $0 }
            case .begin(_, let update, _): open = max(open, update)
            default: break
            }
        }
        return nil
    }
}
