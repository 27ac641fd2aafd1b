// Metrics over HTTP: what the pages say, and that no client can block the server.
import Foundation
import Testing

@testable import Base
@testable import Transport

@Suite struct MetricsTests {
    /// A TCP connection to a server under test.
    final class Client {
        let descriptor: Int32

        init(_ address: String) throws {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var target = sockaddr_in()
            target.sin_family = sa_family_t(AF_INET)
            target.sin_port = try #require(UInt16(address.split(separator: ":")[1])).bigEndian
            target.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var patience = timeval(tv_sec: 8, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            let connected = withUnsafePointer(to: &target) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
            }
            try #require(connected == 0)
        }

        deinit { close(descriptor) }

        func say(_ bytes: [UInt8]) { _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

        /// Whether the other end still holds the connection, as far as is known here.
        var isOpen: Bool {
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK)) < 0 && errno == EAGAIN
        }

        /// Everything until the other end closes.
        func listen() -> String {
            var (all, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 4_096))
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count <= 0 { return String(decoding: all, as: UTF8.self) }
                all += buffer[..<count]
            }
        }
    }

    func ask(_ server: MetricsServer, _ request: String) throws -> String {
        let client = try Client(server.address)
        client.say(Array(request.utf8))
        return client.listen()
    }

    func snapshot() -> MetricsSnapshot {
        var snapshot = MetricsSnapshot()
        (snapshot.state, snapshot.updates, snapshot.epoch, snapshot.words) = ("training", 12, 3, 36_000_000_000)
        (snapshot.wordsPerSecond, snapshot.readyWorkers, snapshot.connectedWorkers) = (81_234.5, 4, 5)
        snapshot.refusals = ["unknown key": 2, "a \"bad\"\nframe\\": 1]
        snapshot.lastUpdate = Date(timeIntervalSince1970: 1_000)
        return snapshot
    }

    @Test func writesPrometheusText() {
        let lines = snapshot().prometheusText(now: Date(timeIntervalSince1970: 1_002.5)).split(separator: "\n")
        for expected in [
            "t2v_info{state=\"training\"} 1", "t2v_updates_total 12", "t2v_epoch 3", "t2v_words_total 36000000000",
            "t2v_words_per_second 81234.5", "t2v_workers{state=\"ready\"} 4", "t2v_workers{state=\"connected\"} 5",
            "t2v_refusals_total{reason=\"a \\\"bad\\\"\\nframe\\\\\"} 1", "t2v_refusals_total{reason=\"unknown key\"} 2",
            "t2v_last_update_timestamp_seconds 1000", "t2v_last_update_age_seconds 2.5", "# TYPE t2v_updates_total counter",
        ] { #expect(lines.contains(Substring(expected)), "\(expected)") }
        #expect(!lines.contains { $0.contains("loss") || $0.contains("checkpoint") })
        // Every line is a comment or NAME[{LABELS}] VALUE, as in the format's grammar.
        for line in lines {
            #expect(line.wholeMatch(of: #/# (HELP|TYPE) t2v_\w+ .+|t2v_\w+(\{\w+="([^"\\]|\\.)*"\})? \S+/#) != nil, "\(line)")
        }
    }

    @Test func servesPages() throws {
        let server = try MetricsServer("127.0.0.1:0")
        server.update(snapshot())
        let metrics = try ask(server, "GET /metrics?x=1 HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(
            metrics.hasPrefix("HTTP/1.1 200 OK\r\n") && metrics.contains("version=0.0.4") && metrics.contains("\nt2v_updates_total 12\n"))
        let body = try #require(metrics.split(separator: "\r\n\r\n", maxSplits: 1).last)
        #expect(metrics.contains("Content-Length: \(body.utf8.count)\r\n"))
        #expect(try ask(server, "GET /health HTTP/1.0\n\n").hasSuffix("\r\n\r\nok\nstate: training\n"))
        #expect(try ask(server, "HEAD /health HTTP/1.1\r\n\r\n").hasSuffix("Connection: close\r\n\r\n"))
        #expect(try ask(server, "GET /x HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 404"))
        #expect(try ask(server, "POST /metrics HTTP/1.1\r\n\r\n").wholeMatch(of: /HTTP\/1.1 405[^$]*\r\nAllow: GET, HEAD\r\n[^$]*/) != nil)
        #expect(try ask(server, "GET http://x/ HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 400"))
        #expect(try ask(server, "hello\n\n").hasPrefix("HTTP/1.1 400"))
        #expect(try ask(server, "GET /" + String(repeating: "x", count: 9_000)).hasPrefix("HTTP/1.1 431"))
    }

    @Test func saysWhenTheCoordinatorIsSilent() throws {
        let server = try MetricsServer("127.0.0.1:0", silenceSeconds: 0)
        server.update(MetricsSnapshot())
        usleep(10_000)
        #expect(try ask(server, "GET /health HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 503"))
    }

    @Test func cannotBeHeldUp() throws {
        let server = try MetricsServer(":0")
        #expect(server.address.hasPrefix("127.0.0.1:"))
        // More connections that send nothing, or one letter, than it serves at once. The oldest are closed for new ones.
        let idle = try (0..<40).map { _ in try Client(server.address) }
        for client in idle.prefix(20) { client.say([71]) }
        #expect(try ask(server, "GET /health HTTP/1.1\r\n\r\n").contains("200 OK"))
        #expect(idle[31].isOpen, "the answer came only when silent connections ran into their deadline")
        #expect(idle[0].listen() == "" && idle[39].listen() == "")
    }

    @Test func survivesRandomBytes() throws {
        let server = try MetricsServer("127.0.0.1:0")
        var random = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            let client = try Client(server.address)
            client.say((0..<Int.random(in: 1...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
        #expect(try ask(server, "GET /health HTTP/1.1\r\n\r\n").contains("200 OK"))
    }

    @Test(arguments: ["", "host", "host:", "127.0.0.1:70000", "127.0.0.1:x", "192.0.2.7:0"]) func namesBadAddresses(text: String) {
        let error = #expect(throws: InputError.self) { try MetricsServer(text) }
        #expect(error?.place == text && error?.remedy.isEmpty == false)
    }

    @Test func namesAPortInUse() throws {
        let server = try MetricsServer("127.0.0.1:0")
        let error = #expect(throws: InputError.self) { try MetricsServer(server.address) }
        #expect(error?.what.contains("Address already in use") == true)
    }
}
