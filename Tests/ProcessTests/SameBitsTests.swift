// Real processes, real faults, the same bytes. In: runs that are disturbed. Out: files equal to an undisturbed run's.
import Foundation
import Protocol
import Testing

@Suite(.serialized) struct SameBitsTests {
    @Test(arguments: [2, 3, 4]) func doNotDependOnTheNumberOfWorkers(workers: Int) throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "\(workers)", "-i", "3"])
        #expect(program.wait() == 0, "\(program.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    /// Workers that have only the program: shards, features, vectors and the model's files come over the network, encrypted.
    @Test func doNotDependOnWhereTheWorkersAre() throws {
        let keys = Scratch.path("keys")
        #expect(try Program("t2v-coordinator", ["keygen", keys]).wait() == 0)
        let output = Scratch.path("out")
        let port = Int.random(in: 20_000...50_000)
        let program = try Program(
            "t2v-coordinator",
            [
                "pretrain", Demo.texts, Demo.vectors, output, "--cache", Scratch.path("cache"), "--workers", "0", "-i", "3",
                "--min-workers", "2",
            ]
                + ["--bind", "tcp://127.0.0.1:\(port)", "--key", "\(keys)/coordinator.key", "--allow", "\(keys)/worker.pub"] + Demo.small)
        let arguments = ["--connect", "tcp://127.0.0.1:\(port)", "--server-key", "\(keys)/coordinator.pub", "--key", "\(keys)/worker.key"]
        let workers = try (0..<2).map { _ in
            try Program("t2v-worker", arguments + ["--threads", "1", "--cache", Scratch.path("worker-cache")])
        }
        #expect(program.wait() == 0, "\(program.output)")
        for worker in workers { #expect(worker.wait(seconds: 20) == 0, "\(worker.output)") }
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    /// Parameters and gradients are longer than the longest frame, which ends a connection: they travel in pieces.
    @Test func doNotDependOnWhereALargeModelIsComputed() throws {
        let large = ["--cache", Demo.cache, "-cw", "96", "-cd", "1", "-er", "2000", "-bs", "4000", "-nw", "20", "-i", "1"]
        func pretrain(_ output: String, _ more: [String]) throws -> Program {
            try Program("t2v-coordinator", ["pretrain", Demo.texts, Demo.vectors, output] + large + more)
        }
        let (here, there) = (Scratch.path("out"), Scratch.path("out"))
        let local = try pretrain(here, ["--workers", "1"])
        #expect(local.wait() == 0, "\(local.output)")
        let size = try FileManager.default.attributesOfItem(atPath: "\(here)/model0.bin")[.size] as? Int
        #expect((size ?? 0) > 2 * WireLimits.frame)
        // The number of lanes is that of the local run.
        let lanes = try #require(local.output.firstMatch(of: /in (\d+) lanes/), "\(local.output)").1
        let remote = try pretrain(there, ["--workers", "0", "--lanes", "\(lanes)", "--bind", "tcp://127.0.0.1:*", "--insecure"])
        let worker = try Program(
            "t2v-worker", ["--connect", try remote.endpoint(), "--threads", "2", "--cache", Scratch.path("worker-cache")])
        #expect(remote.wait(seconds: 60) == 0, "\(remote.output)")
        #expect(worker.wait(seconds: 20) == 0, "\(worker.output)")
        #expect(Demo.results(here).count == 2 && Demo.results(there) == Demo.results(here))
    }

    /// Gradients are rounded wherever they are summed: the numbers differ from float32's, but are again the same for all. Two workers are
    /// local and find the parameters in shared memory, one is connected by TCP and receives them.
    @Test func doNotDependOnTheNumberOfWorkersInHalfPrecision() throws {
        let half = ["--wire-precision", "bf16", "-i", "2"]
        var found: [[String: Data]] = []
        for workers in 1...3 {
            let output = Scratch.path("out")
            let program = try Demo.pretrain(output, ["--workers", "\(workers)"] + half)
            #expect(program.wait() == 0, "\(program.output)")
            found.append(Demo.results(output))
        }
        let output = Scratch.path("out")
        let program = try Demo.pretrain(
            output, ["--workers", "2", "--min-workers", "3", "--bind", "tcp://127.0.0.1:*", "--insecure"] + half)
        program.waitFor("listening on tcp://")
        let line = program.output.split(separator: "\n").first { $0.contains("listening on tcp://") } ?? ""
        let worker = try Program(
            "t2v-worker",
            ["--connect", String(line.split(separator: " ").last ?? ""), "--threads", "1", "--cache", Scratch.path("worker-cache")])
        #expect(program.wait() == 0, "\(program.output)")
        worker.wait(seconds: 20)
        found.append(Demo.results(output))
        #expect(found[0].count == 3 && found.allSatisfy { $0 == found[0] })
        let float32 = try Demo.reference(epochs: 2)
        #expect(found[0]["model1.bin"] != float32["model1.bin"])
        let config = try String(contentsOfFile: "\(output)/config.json", encoding: .utf8)
        #expect(config.contains("\"wire_precision\" : \"bf16\""))
    }

    @Test func doNotDependOnThreads() throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "1", "--threads", "3", "--lanes", "4", "-i", "3"])
        #expect(program.wait() == 0, "\(program.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    @Test(arguments: [1, 2, 3]) func surviveKilledWorkers(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "3", "-i", "40"])
        program.waitFor("training:")
        var killed = 0
        while program.isRunning && killed < 8 {
            usleep(UInt32.random(in: 20_000...400_000, using: &random))
            let victims = program.workers
            guard let victim = victims.randomElement(using: &random) else { continue }
            // Sometimes all of them.
            for pid in random.next() % 4 == 0 ? victims : [victim] { kill(pid, SIGKILL) }
            killed += 1
        }
        #expect(program.wait() == 0, "\(program.output)")
        #expect(killed > 0, "no worker was killed: the run was too short")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }

    @Test func surviveAStoppedWorker() throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "2", "-i", "40"])
        program.waitFor("training:")
        let victim = try #require(program.workers.first)
        kill(victim, SIGSTOP)
        usleep(6_000_000)
        kill(victim, SIGCONT)
        #expect(program.wait() == 0, "\(program.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }

    @Test(arguments: [11, 12, 13]) func surviveAKilledCoordinator(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        let output = Scratch.path("out")
        var orphans: [pid_t] = []
        for _ in 0..<6 {
            let workers = Int.random(in: 1...3, using: &random)
            let program = try Demo.pretrain(
                output, ["--workers", "\(workers)", "-i", "40", "--resume", "auto", "--checkpoint-every", "1"])
            // From the very beginning: before config.json, while preparing, before version 0, in the middle of a checkpoint.
            usleep(UInt32.random(in: 10_000...1_500_000, using: &random))
            orphans += program.workers
            program.signal(SIGKILL)
            program.wait()
        }
        let last = try Demo.pretrain(output, ["--workers", "2", "-i", "40", "--resume", "auto"])
        #expect(last.wait() == 0, "\(last.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
        #expect(orphans.filter(Program.isAlive).isEmpty, "a worker has outlived its coordinator")
    }

    @Test(arguments: [SIGTERM, SIGINT]) func goOnAfterASignal(signal: Int32) throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "2", "-i", "40"])
        program.waitFor("training:")
        usleep(500_000)
        program.signal(signal)
        #expect(program.wait(seconds: 10) == 75, "\(program.output)")
        let resumed = try Program("t2v-coordinator", ["resume", output, "--workers", "3"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(resumed.output.contains("resuming after update"))
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }

    @Test func goOnWithMoreEpochs() throws {
        let output = Scratch.path("out")
        #expect(try Demo.pretrain(output, ["--workers", "2", "-i", "1"]).wait() == 0)
        let resumed = try Program("t2v-coordinator", ["resume", output, "-i", "3"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    @Test(arguments: ["cut", "flip in the header", "flip in the tensors"]) func passOverADamagedCheckpoint(damage: String) throws {
        let output = Scratch.path("out")
        #expect(try Demo.pretrain(output, ["--workers", "1", "-i", "3"]).wait() == 0)
        let folder = "\(output)/t2v/checkpoints"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted {
            Int($0.filter(\.isNumber)) ?? 0 < Int($1.filter(\.isNumber)) ?? 0
        }
        let newest = "\(folder)/\(try #require(names.last))"
        var data = try #require(FileManager.default.contents(atPath: newest))
        switch damage {
        case "cut": data.removeLast(data.count / 3)
        case "flip in the header": data[100] ^= 1
        default: data[data.count - 1000] ^= 4
        }
        try data.write(to: URL(fileURLWithPath: newest))
        let resumed = try Program("t2v-coordinator", ["resume", output, "--workers", "1"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(resumed.output.contains("skipped a checkpoint: \(newest)"), "\(resumed.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    @Test func areTheSameForStandardInputAndCompressedTexts() throws {
        let zipped = Scratch.path("texts") + ".jsonl.gz"
        let gzip = Process()
        gzip.executableURL = URL(fileURLWithPath: "/bin/sh")
        gzip.arguments = ["-c", "gzip -c '\(Demo.texts)' > '\(zipped)'"]
        try gzip.run()
        gzip.waitUntilExit()
        let arguments = ["--cache", Demo.cache, "--workers", "2", "-i", "3"] + Demo.small
        for (texts, input) in [(zipped, nil), ("-", Demo.texts)] {
            let output = Scratch.path("out")
            let program = try Program("t2v-coordinator", ["pretrain", texts, Demo.vectors, output] + arguments, input: input)
            #expect(program.wait() == 0, "\(program.output)")
            #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
        }
    }
}
