// Workers that share nothing with the coordinator but a TCP port. In: keys. Out: a refusal that both sides show, or a share in the run.
import Foundation
import Testing

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
        program.waitFor("listening on tcp://")
        let line = try #require(program.output.split(separator: "\n").first { $0.contains("listening on tcp://") }, "\(program.output)")
        return (program, String(line.split(separator: " ").last ?? ""))
    }

    func worker(_ endpoint: String, key: String, server: String? = nil) throws -> Program {
        // An empty cache of its own: texts, model files, prepared shards and vector rows come over the wire.
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
        #expect(misled.output.components(separatedBy: "cannot be joined").count == 2, "said once, not at every try: \(misled.output)")
        // The run goes on for those who may take part.
        let friend = try worker(endpoint, key: "\(keys)/worker.key")
        #expect(program.wait() == 0, "\(program.output)")
        #expect(friend.wait(seconds: 20) == 0)
        // Nothing secret in what they say and keep.
        let config = try String(contentsOfFile: "\(output)/config.json", encoding: .utf8)
        let said = config + program.output + [unknown, misled, friend].map(\.output).joined()
        for file in ["\(keys)/coordinator.key", "\(keys)/worker.key", "\(strangers)/worker.key"] {
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let secret = try #require(text.split(whereSeparator: \.isWhitespace).first { $0.count == 40 })
            #expect(!said.contains(secret))
        }
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
}
