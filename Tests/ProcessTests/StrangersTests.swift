// Strangers who can reach the port. In: garbage, forged, truncated and repeated messages during a run. Out: refusals that are counted, the
// same bytes.
import Base
import CLinux
import Foundation
import Protocol
import Run
import Testing
import Transport

@Suite(.serialized) struct StrangersTests {
    /// Messages of one test; `make fuzz` sends a million.
    static let messages = ProcessInfo.processInfo.environment["T2V_FUZZ_MESSAGES"].flatMap { Int($0) } ?? 50_000
    static let seed = ProcessInfo.processInfo.environment["T2V_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1
    /// Long enough that most of the messages arrive while it trains.
    static let epochs = messages > 100_000 ? 400 : 40

    private func start(_ output: String, _ security: [String]) throws -> (program: Program, endpoint: String, port: Int, metrics: Int) {
        let options = ["--workers", "0", "--bind", "tcp://127.0.0.1:*", "--metrics", "127.0.0.1:0", "-i", "\(Self.epochs)"]
        let program = try Demo.pretrain(output, options + security)
        let endpoint = try program.endpoint()
        program.waitFor("/metrics")
        let address = try #require(program.output.firstMatch(of: /metrics on http:\/\/127\.0\.0\.1:(\d+)/), "\(program.output)")
        let port = try #require(endpoint.split(separator: ":").last.flatMap { Int($0) })
        return (program, endpoint, port, try #require(Int(address.1)))
    }

    /// `t2v_refusals_total` for a reason.
    private func refusals(_ port: Int, _ reason: String) -> Int {
        let page = RawConnection.get(port: port, "/metrics")
        let line = page.split(separator: "\n").first { $0.hasPrefix("t2v_refusals_total{reason=\"\(reason)\"}") }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }

    /// Sends until everything is sent or the coordinator has gone. - Returns: how many messages were sent.
    private func fuzz(_ forger: inout Forger, port: Int, messages: Int) -> Int {
        var sent = 0
        while sent < messages, let connection = RawConnection(port: port) {
            switch forger.number(below: 12) {
            case 0: connection.send(forger.bytes(1 + forger.number(below: 300)))
            case 1: connection.send(Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
            // An introduction that stops in its middle, one with an error in it, and a frame that claims to be enormous.
            case 2: connection.send(Array(RawConnection.introduction.prefix(forger.number(below: 90))))
            case 3:
                var introduction = RawConnection.introduction
                introduction[forger.number(below: introduction.count)] ^= UInt8(1 + forger.number(below: 255))
                connection.send(introduction + forger.bytes(50))
            case 4: connection.send(RawConnection.introduction + [2, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF] + forger.bytes(99))
            case 5: connection.send(RawConnection.introduction + [2, 0, 0, 0, 0, 0, 0, 1, 0] + forger.bytes(99))
            default:
                connection.send(RawConnection.introduction)
                // libzmq accepts nothing before both ends are ready; sometimes it gets something anyway.
                if forger.number(below: 8) > 0 { connection.waitFor("READY") }
                // One in four never listens.
                let listens = forger.number(below: 4) > 0
                for _ in 0..<50 where sent < messages {
                    var batch: [UInt8] = []
                    for _ in 0..<40 { batch += forger.message() }
                    guard connection.send(batch) else { break }
                    sent += 40
                    if listens { _ = connection.receive() }
                }
                // Otherwise what is in transit is lost with the connection.
                if listens { connection.waitUntilRead() }
            }
        }
        return sent
    }

    @Test func areRefusedAndCounted() throws {
        let output = Scratch.path("out")
        let (program, endpoint, port, metrics) = try start(output, ["--insecure"])
        let workers = try (0..<2).map { _ in
            try Program("t2v-worker", ["--connect", endpoint, "--threads", "1", "--cache", Scratch.path("cache")])
        }
        program.waitFor("training:")
        let before = program.memory("VmHWM")
        var forger = Forger(seed: Self.seed)
        let begin = Date()
        let sent = fuzz(&forger, port: port, messages: Self.messages)
        let stillRunning = program.isRunning
        // Metrics are at most a second old.
        usleep(2_000_000)
        let counted = refusals(metrics, "frame"), grown = program.memory("VmHWM") - before
        let seconds = Date().timeIntervalSince(begin) - 2
        let figures = "\(sent) messages in \(Int(seconds)) s, \(forger.malformed) malformed, \(counted) counted"
        print("fuzz: \(figures); memory \(before) + \(grown) kB")
        #expect(sent >= Self.messages && stillRunning, "the run was over before the messages were: \(sent)")
        if program.isRunning {
            // A connection that is cut loses what was in transit.
            #expect(counted > forger.malformed / 4, "\(counted) of \(forger.malformed) are counted")
            #expect(grown < 200_000, "memory has grown by \(grown) kB")
        }
        #expect(program.wait(seconds: 600) == 0, "\(program.output.suffix(3000))")
        for worker in workers { #expect(worker.wait(seconds: 20) == 0, "\(worker.output)") }
        let lines = program.output.split(separator: "\n").count
        #expect(lines < 3_000, "the log is bounded: \(lines) lines")
        #expect(program.output.contains("refused a message from 127.0.0.1"))
        #expect(Demo.results(output) == (try Demo.reference(epochs: Self.epochs)))
    }

    @Test func doNotGetPastKeys() throws {
        let keys = Scratch.path("keys"), output = Scratch.path("out")
        #expect(try Program("t2v-coordinator", ["keygen", keys]).wait(seconds: 20) == 0)
        let (program, endpoint, port, metrics) = try start(output, ["--key", "\(keys)/coordinator.key", "--allow", "\(keys)/worker.pub"])
        let arguments = ["--connect", endpoint, "--server-key", "\(keys)/coordinator.pub", "--key", "\(keys)/worker.key"]
        let worker = try Program("t2v-worker", arguments + ["--threads", "2", "--cache", Scratch.path("cache")])
        program.waitFor("training:")
        let before = program.memory("VmHWM")
        var forger = Forger(seed: Self.seed + 1)
        let end = Date(timeIntervalSinceNow: 20)
        var connections = 0
        while connections < min(2_000, Self.messages / 100), program.isRunning, Date() < end {
            connections += 1
            _ = fuzz(&forger, port: port, messages: 1)
        }
        #expect(connections > 100)
        #expect(refusals(metrics, "frame") == 0, "nothing of them is read as a message")
        if program.isRunning { #expect(program.memory("VmHWM") - before < 200_000) }
        #expect(program.wait(seconds: 600) == 0, "\(program.output.suffix(3000))")
        #expect(worker.wait(seconds: 20) == 0, "\(worker.output)")
        #expect(program.output.contains("refused a connection"), "\(program.output.suffix(3000))")
        #expect(Demo.results(output) == (try Demo.reference(epochs: Self.epochs)))
    }

    /// A peer of another version is told why it is refused.
    @Test func ofOtherVersionsAreToldSo() throws {
        let output = Scratch.path("out")
        let (program, endpoint, _, metrics) = try start(output, ["--insecure"])
        let context = try ZMQContext()
        for (version, name) in [(WireLimits.version, "0.0.1"), (WireLimits.version + 1, Version.current)] {
            let socket = try DealerSocket(context, limits: SocketLimits(), security: .open)
            try socket.connect(endpoint)
            var hello = Hello(program: name, host: "old", processID: 1, threads: 1, blas: "none", fingerprints: .some, instance: 7)
            hello.protocolVersion = version
            let deadline = Date(timeIntervalSinceNow: 20)
            while socket.send(header: WorkerMessage.hello(hello).encoded()) != .sent, Date() < deadline { usleep(5_000) }
            var answer: CoordinatorMessage?
            while answer == nil, Date() < deadline {
                usleep(5_000)
                guard case .message(let header, _) = socket.receive() else { continue }
                answer = try header.withUnsafeBytes { bytes throws(WireError) in try CoordinatorMessage(header: bytes) }
            }
            guard case .refuse(let why) = answer else {
                Issue.record("no refusal: \(String(describing: answer))")
                continue
            }
            #expect(why.contains("install the same"), "\(why)")
            #expect(why.contains(version == WireLimits.version ? "0.0.1" : "protocol version"), "\(why)")
        }
        program.waitFor("refused a worker on old", seconds: 10)
        #expect(program.output.contains("refused a worker on old"), "\(program.output)")
        usleep(1_500_000)
        #expect(refusals(metrics, "worker") == 2)
        program.signal(SIGTERM)
        #expect(program.wait(seconds: 20) == 75)
    }
}
