// Faults of hosts and disks, on real processes. In: signals, full disks, other arithmetic. Out: the bytes of an undisturbed run.
import CLinux
import Foundation
import Testing

/// A file system of a few megabytes that can be filled.
final class SmallDisk {
    let path = Scratch.path("disk")
    private var ballast: String { "\(path)/ballast" }

    static func mounts() -> Bool {
        guard getuid() == 0, let disk = try? SmallDisk(megabytes: 1) else {
            print("SKIPPED: a disk that can be filled needs root and mount(8)")
            return false
        }
        return FileManager.default.fileExists(atPath: disk.path)
    }

    init(megabytes: Int) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try #require(Self.run("mount", ["-t", "tmpfs", "-o", "size=\(megabytes)m", "t2v-tests", path]) == 0)
    }

    deinit { _ = Self.run("umount", ["-l", path]) }

    private static func run(_ name: String, _ arguments: [String]) -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [name] + arguments
        guard (try? process.run()) != nil else { return -1 }
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// Leaves `kilobytes` free.
    func fill(leaving kilobytes: Int = 0) {
        let file = open(ballast, O_CREAT | O_WRONLY, 0o600)
        let block = [UInt8](repeating: 1, count: 4096)
        var blocks = 0
        while write(file, block, block.count) == block.count { blocks += 1 }
        ftruncate(file, off_t(max(0, blocks * 4096 - kilobytes * 1024)))
        close(file)
    }

    func free() { unlink(ballast) }
}

@Suite(.serialized) struct FaultTests {
    /// As Slurm and Kubernetes do: no process is left to finish the current update.
    @Test(arguments: [21, 22]) func everybodyIsTerminatedAtOnce(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "3", "-i", "40"])
        program.waitFor("training:")
        usleep(UInt32.random(in: 100_000...1_500_000, using: &random))
        let everybody = [program.processID] + program.workers
        for pid in everybody.shuffled(using: &random) { kill(pid, SIGTERM) }
        #expect(program.wait(seconds: 5) == 75, "\(program.output)")
        #expect(everybody.filter(Program.isAlive).isEmpty, "a process is left")
        let resumed = try Program("t2v-coordinator", ["resume", output, "--workers", "2"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }

    @Test(.enabled(if: SmallDisk.mounts(), "needs root")) func diskIsFullAtACheckpointForAWhile() throws {
        let disk = try SmallDisk(megabytes: 24)
        let output = "\(disk.path)/out"
        let program = try Demo.pretrain(output, ["--workers", "2", "-i", "40", "--checkpoint-every", "1", "--keep-checkpoints", "1"])
        program.waitFor("training:")
        disk.fill()
        program.waitFor("could not be written")
        #expect(program.output.contains("No space left on device"), "\(program.output)")
        disk.free()
        #expect(program.wait() == 0, "\(program.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }

    /// Required files are retried for a minute; then the run stops, with everything before them intact.
    @Test(.enabled(if: SmallDisk.mounts(), "needs root")) func diskStaysFull() throws {
        let disk = try SmallDisk(megabytes: 24)
        let output = "\(disk.path)/out"
        let program = try Demo.pretrain(output, ["--workers", "2", "-i", "40", "--keep-checkpoints", "1"])
        program.waitFor("training:")
        disk.fill(leaving: 100)
        #expect(program.wait(seconds: 100) == 75, "\(program.output)")
        let errors = program.output.split(separator: "\n").filter { $0.hasPrefix("error: ") }
        #expect(errors.count == 1 && errors[0].contains("No space left on device") && errors[0].contains("resume"), "\(program.output)")
        // Existing files are complete, with the reference's bytes; the log has a line for each model, and nothing half-written is left.
        let reference = try Demo.reference(epochs: 40)
        for (name, data) in Demo.results(output) where name != "log.jsonl" { #expect(data == reference[name], "\(name)") }
        let names = try FileManager.default.contentsOfDirectory(atPath: output)
        #expect(!names.contains { $0.contains("tmp") }, "\(names)")
        disk.free()
        let resumed = try Program("t2v-coordinator", ["resume", output, "--workers", "2"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(Demo.results(output) == reference)
    }

    /// Zen and Haswell run on every CPU that t2v runs on.
    @Test(arguments: [true, false]) func aWorkerWithOtherArithmetic(strict: Bool) throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(
            output,
            ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--insecure", "-i", "1", "--blas-core", "Haswell"]
                + (strict ? ["--strict-bits"] : []))
        let endpoint = try program.endpoint()
        func worker(_ core: String) throws -> Program {
            try Program("t2v-worker", ["--connect", endpoint, "--threads", "1", "--cache", Scratch.path("cache"), "--blas-core", core])
        }
        let other = try worker("Zen")
        let why = "its arithmetic gives other bits (OpenBLAS Zen"
        program.waitFor(why)
        #expect(program.output.contains(why) && program.output.contains("--blas-core"), "\(program.output)")
        #expect(program.output.contains("refused a worker") == strict)
        if strict {
            #expect(other.wait(seconds: 20) == 2)
            #expect(other.output.contains("error: ") && other.output.contains(why), "\(other.output)")
            let friend = try worker("Haswell")
            #expect(program.wait() == 0, "\(program.output)")
            #expect(friend.wait(seconds: 20) == 0)
            let alike = Scratch.path("out")
            #expect(try Demo.pretrain(alike, ["--workers", "2", "-i", "1", "--blas-core", "Haswell"]).wait() == 0)
            #expect(Demo.results(output) == Demo.results(alike))
        } else {
            #expect(program.wait() == 0, "\(program.output)")
            #expect(other.wait(seconds: 20) == 0, "\(other.output)")
        }
    }

    @Test func aCoreThatOpenBLASDoesNotHave() throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["-i", "1", "--blas-core", "Pentium5"])
        #expect(program.wait() == 2)
        #expect(program.output.contains("--blas-core is Pentium5"), "\(program.output)")
        #expect(!FileManager.default.fileExists(atPath: output))
    }

    /// Different bits would make it another run.
    @Test func resumingKeepsTheCore() throws {
        let output = Scratch.path("out"), straight = Scratch.path("out")
        #expect(try Demo.pretrain(output, ["--workers", "1", "-i", "1", "--blas-core", "Haswell"]).wait() == 0)
        let resumed = try Program("t2v-coordinator", ["resume", output, "-i", "2"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(try Demo.pretrain(straight, ["--workers", "1", "-i", "2", "--blas-core", "Haswell"]).wait() == 0)
        #expect(Demo.results(output) == Demo.results(straight))
    }

    /// A killed coordinator leaves no workers, and its folder of sockets only until the next start.
    @Test func aKilledCoordinatorLeavesNothing() throws {
        let temporary = Scratch.path("tmp")
        try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
        func folders() -> [String] {
            (try? FileManager.default.contentsOfDirectory(atPath: temporary))?.filter { $0.hasPrefix("t2v-") } ?? []
        }
        func start(_ options: [String]) throws -> Program {
            let arguments = ["pretrain", Demo.texts, Demo.vectors, Scratch.path("out"), "--cache", Demo.cache] + Demo.small + options
            return try Program("t2v-coordinator", arguments, environment: ["TMPDIR": temporary])
        }
        let killed = try start(["--workers", "2", "-i", "1000"])
        killed.waitFor("training:")
        let workers = killed.workers
        #expect(workers.count == 2)
        killed.signal(SIGKILL)
        killed.wait()
        usleep(500_000)
        #expect(workers.filter(Program.isAlive).isEmpty, "a worker has outlived its coordinator")
        #expect(folders().count == 1)
        let running = try start(["--workers", "1", "-i", "1000"])
        running.waitFor("training:")
        #expect(folders().count == 1, "the killed one's folder is gone")
        // The folder of a running one stays.
        let third = try start(["--workers", "1", "-i", "1"])
        #expect(third.wait() == 0, "\(third.output)")
        #expect(folders().count == 1 && running.isRunning)
        running.signal(SIGTERM)
        #expect(running.wait(seconds: 20) == 75, "\(running.output)")
        #expect(folders().isEmpty)
    }

    /// A parent that ignores the end of children (some supervisors do) hands that on: the kernel then collects dead workers itself.
    @Test func itsParentIgnoresTheEndOfChildren() throws {
        let output = Scratch.path("out")
        let coordinator = Program.folder.appending(path: "t2v-coordinator").path
        let program = try Program(
            "/usr/bin/env",
            ["--ignore-signal=CHLD", coordinator, "pretrain", Demo.texts, Demo.vectors, output, "--cache", Demo.cache, "--workers", "2"]
                + Demo.small + ["-i", "20"])
        program.waitFor("training:")
        let before = program.workers
        #expect(before.count == 2)
        if let worker = before.first { kill(worker, SIGKILL) }
        let deadline = Date(timeIntervalSinceNow: 20)
        while program.workers.allSatisfy(before.contains), program.isRunning, Date() < deadline { usleep(5_000) }
        #expect(!program.workers.allSatisfy(before.contains), "another takes its place: \(program.output)")
        #expect(program.wait(seconds: 60) == 0, "\(program.output)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 20)))
    }

    /// The reader of its output may go away.
    @Test func itsOutputIsAPipeThatCloses() throws {
        let output = Scratch.path("out")
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        let program = Program.folder.appending(path: "t2v-coordinator").path
        let options = (Demo.small + ["--cache", Demo.cache, "--workers", "2", "-i", "3"]).joined(separator: " ")
        let command = "'\(program)' pretrain '\(Demo.texts)' '\(Demo.vectors)' '\(output)' \(options)"
        shell.arguments = ["-c", "\(command) 2>&1 | head -n 1 > /dev/null"]
        try shell.run()
        shell.waitUntilExit()
        let deadline = Date(timeIntervalSinceNow: 60)
        while Demo.results(output).count < 4 && Date() < deadline { usleep(50_000) }
        usleep(200_000)
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }
}
