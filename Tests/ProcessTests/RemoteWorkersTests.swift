// Workers that share only a TCP port with the coordinator. In: keys. Out: a refusal that both sides show, or a part in the run.
import Base
import CLinux
import Foundation
import Protocol
import Run
import Testing
import Transport

@Suite(.serialized) struct RemoteWorkersTests {
    let keys = Scratch.path("keys")

    init() throws {
        #expect(try Program("t2v-coordinator", ["keygen", keys]).wait(seconds: 20) == 0)
    }

    func coordinator(_ output: String, _ more: [String], allow: String? = nil) throws -> (program: Program, endpoint: String) {
        let program = try Demo.pretrain(
            output,
            ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--key", "\(keys)/coordinator.key", "--allow", allow ?? "\(keys)/worker.pub"]
                + more)
        return (program, try program.endpoint())
    }

    func worker(_ endpoint: String, key: String, server: String? = nil) throws -> Program {
        // An empty cache of its own: texts, model files, prepared shards and vector rows come over the network.
        try Program(
            "t2v-worker",
            [
                "--connect", endpoint, "--threads", "1", "--cache", Scratch.path("cache"), "--key", key,
                "--server-key", server ?? "\(keys)/coordinator.pub",
            ])
    }

    @Test func areRefusedVisiblyOnBothSides() throws {
        let strangers = Scratch.path("strangers")
        #expect(try Program("t2v-coordinator", ["keygen", strangers]).wait(seconds: 20) == 0)
        let output = Scratch.path("refusing")
        let (program, endpoint) = try coordinator(output, ["-i", "1"])
        let unknown = try worker(endpoint, key: "\(strangers)/worker.key")
        unknown.waitFor("does not know this worker's key", seconds: 20)
        #expect(unknown.output.contains("does not know this worker's key"), "\(unknown.output)")
        program.waitFor("refused a connection from 127.0.0.1", seconds: 20)
        #expect(program.output.contains("refused a connection from 127.0.0.1"), "\(program.output)")
        let misled = try worker(endpoint, key: "\(keys)/worker.key", server: "\(strangers)/coordinator.pub")
        misled.waitFor("cannot be joined", seconds: 20)
        #expect(misled.output.contains("cannot be joined"), "\(misled.output)")
        for stranger in [unknown, misled] {
            stranger.signal(SIGTERM)
            stranger.wait(seconds: 20)
        }
        #expect(misled.output.components(separatedBy: "cannot be joined").count == 2, "logged once, not at every attempt: \(misled.output)")
        // The run continues for the workers that are allowed.
        let friend = try worker(endpoint, key: "\(keys)/worker.key")
        #expect(program.wait() == 0, "\(program.output)")
        #expect(friend.wait(seconds: 20) == 0)
        // Nothing secret in their output and files.
        let config = try String(contentsOfFile: "\(output)/config.json", encoding: .utf8)
        let said = config + program.output + [unknown, misled, friend].map(\.output).joined()
        for file in ["\(keys)/coordinator.key", "\(keys)/worker.key", "\(strangers)/worker.key"] {
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let secret = try #require(text.split(whereSeparator: \.isWhitespace).first { $0.count == 40 })
            #expect(!said.contains(secret))
        }
    }

    /// One of the coordinator's own that stood still may have been forgotten, and returns with any message: no list of keys applies to it,
    /// before its hello or after. Nor does it matter which process it says that it is.
    @Test func localOnesNeedNoKey() throws {
        let options = ["--bind", "tcp://127.0.0.1:*", "--key", "\(keys)/coordinator.key", "--allow", "\(keys)/worker.pub"]
        let program = try Demo.pretrain(Scratch.path("out"), ["--workers", "1", "-i", "100000"] + options)
        program.waitFor("training:")
        let pid = try #require(program.workers.first, "\(program.output)")
        func words(_ file: String) -> [String] {
            let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/\(file)") ?? Data()
            return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        }
        let line = words("cmdline")
        let endpoint = try #require(line.firstIndex(of: "--connect").map { line[$0 + 1] })
        let mark = "T2V_LOCAL_TOKEN="
        let token = try #require(words("environ").first { $0.hasPrefix(mark) }.flatMap { UInt64($0.dropFirst(mark.count), radix: 16) })
        let context = try ZMQContext()
        let socket = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try socket.connect(endpoint)
        func say(_ message: WorkerMessage) {
            let deadline = Date(timeIntervalSinceNow: 20)
            while socket.send(header: message.encoded()) != .sent, Date() < deadline { usleep(5_000) }
        }
        /// What comes until a message is the awaited one, and for `seconds` at most.
        func hear(_ seconds: Double, until isLast: (CoordinatorMessage) -> Bool) throws -> [CoordinatorMessage] {
            var heard: [CoordinatorMessage] = []
            let deadline = Date(timeIntervalSinceNow: seconds)
            while Date() < deadline {
                usleep(1_000)
                guard case .message(let header, _) = socket.receive() else { continue }
                let message = try header.withUnsafeBytes { bytes throws(WireError) in try CoordinatorMessage(header: bytes) }
                heard.append(message)
                if case .lease(let lane, _) = message { say(.laneReady(lane)) }
                if isLast(message) { break }
            }
            return heard
        }
        say(.alive)
        // The list is compared ten times a second.
        let first = try hear(1) { if case .refuse = $0 { true } else { false } }
        #expect(first.contains { if case .sayHello = $0 { true } else { false } }, "\(first)")
        #expect(!first.contains { if case .refuse = $0 { true } else { false } }, "\(first)")
        let hello = Hello(
            program: Version.current, host: "own", processID: .max, threads: 1, blas: "none", fingerprints: .some, localToken: token,
            instance: 7)
        say(.hello(hello))
        let then = try hear(20) { if case .begin = $0 { true } else { false } }
        #expect(then.contains { if case .begin = $0 { true } else { false } }, "it is given work: \(program.output)")
        #expect(!then.contains { if case .refuse = $0 { true } else { false } }, "\(program.output)")
        say(.leaving)
        usleep(200_000)
        #expect(program.isRunning, "\(program.output)")
        program.signal(SIGTERM)
        #expect(program.wait(seconds: 20) == 75, "\(program.output)")
    }

    @Test func comeBackWhenTheirKeyIsAllowedLater() throws {
        let allow = Scratch.path("allow")
        try Data().write(to: URL(fileURLWithPath: allow))
        let (program, endpoint) = try coordinator(Scratch.path("late"), ["-i", "1"], allow: allow)
        let worker = try worker(endpoint, key: "\(keys)/worker.key")
        worker.waitFor("does not know this worker's key", seconds: 20)
        try FileManager.default.removeItem(atPath: allow)
        try FileManager.default.copyItem(atPath: "\(keys)/worker.pub", toPath: allow)
        #expect(program.wait() == 0, "\(program.output)")
        #expect(worker.wait(seconds: 20) == 0, "\(worker.output)")
    }

    @Test func withoutAKeyAreRefused() throws {
        let output = Scratch.path("out")
        let (program, endpoint) = try coordinator(output, ["-i", "3"])
        let stranger = try Program("t2v-worker", ["--connect", endpoint, "--threads", "1", "--cache", Scratch.path("cache")])
        stranger.waitFor("one end uses keys and the other does not", seconds: 20)
        #expect(stranger.output.contains("one end uses keys and the other does not"), "\(stranger.output)")
        program.waitFor("refused a connection", seconds: 20)
        #expect(program.output.contains("refused a connection"), "\(program.output)")
        let friend = try worker(endpoint, key: "\(keys)/worker.key")
        #expect(program.wait() == 0, "\(program.output)")
        #expect(friend.wait(seconds: 20) == 0)
        stranger.signal(SIGTERM)
        stranger.wait(seconds: 20)
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
    }

    /// Removing a key from the list ends its session in the middle of training; the others continue.
    @Test func loseTheirSessionWithTheirKey() throws {
        let others = Scratch.path("others"), allow = Scratch.path("allow"), output = Scratch.path("out")
        #expect(try Program("t2v-coordinator", ["keygen", others]).wait(seconds: 20) == 0)
        let lists = try ["\(keys)/worker.pub", "\(others)/worker.pub"].map { try String(contentsOfFile: $0, encoding: .utf8) }
        try lists.joined(separator: "\n").write(toFile: allow, atomically: true, encoding: .utf8)
        let (program, endpoint) = try coordinator(output, ["-i", "40", "--min-workers", "2"], allow: allow)
        let loyal = try worker(endpoint, key: "\(keys)/worker.key")
        let revoked = try worker(endpoint, key: "\(others)/worker.key")
        program.waitFor("training:")
        usleep(1_000_000)
        // Secrets are in files and memory, not where `ps` shows them.
        for file in ["\(keys)/coordinator.key", "\(keys)/worker.key", "\(others)/worker.key"] {
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let secret = try #require(text.split(whereSeparator: \.isWhitespace).first { $0.count == 40 })
            for process in [program, loyal, revoked] {
                let bytes = FileManager.default.contents(atPath: "/proc/\(process.processID)/cmdline") ?? Data()
                let line = String(decoding: bytes, as: UTF8.self)
                #expect(line.contains("--key") && !line.contains(secret))
            }
        }
        try lists[0].write(toFile: allow, atomically: true, encoding: .utf8)
        #expect(revoked.wait(seconds: 10) == 2, "\(revoked.output)")
        #expect(revoked.output.contains("the key was taken out of the allow-list"), "\(revoked.output)")
        #expect(program.isRunning && program.output.contains("a worker's key is no longer allowed"), "\(program.output)")
        // And it does not get in again.
        let again = try worker(endpoint, key: "\(others)/worker.key")
        again.waitFor("does not know this worker's key", seconds: 20)
        #expect(again.output.contains("does not know this worker's key"), "\(again.output)")
        #expect(program.wait() == 0, "\(program.output)")
        #expect(loyal.wait(seconds: 20) == 0)
        again.signal(SIGTERM)
        again.wait(seconds: 20)
        #expect(Demo.results(output) == (try Demo.reference(epochs: 40)))
    }
}
