// The record of a run on real processes. In: a run that loses a worker, is stopped and resumed. Out: its events.
import Foundation
import Testing

/// Lines of OUT/t2v/events.jsonl.
struct Events {
    let rows: [[String: Any]]

    init(_ output: String) {
        let data = FileManager.default.contents(atPath: "\(output)/t2v/events.jsonl") ?? Data()
        rows = data.split(separator: UInt8(ascii: "\n")).compactMap { try? JSONSerialization.jsonObject(with: $0) as? [String: Any] }
    }

    func of(_ kind: String) -> [[String: Any]] { rows.filter { $0["kind"] as? String == kind } }
}

@Suite(.serialized) struct EventTests {
    @Test("a run records what happens to it") func record() throws {
        let output = Scratch.path("out")
        let program = try Demo.pretrain(output, ["--workers", "2", "-i", "30"])
        program.waitFor("worker 2 (")
        usleep(300_000)
        kill(try #require(program.workers.first), SIGKILL)
        program.waitFor("lost worker")
        usleep(300_000)
        program.signal(SIGTERM)
        #expect(program.wait() == 75, "\(program.output)")
        #expect(try Program("t2v-coordinator", ["resume", output, "--workers", "1"]).wait() == 0)

        let events = Events(output)
        #expect(events.of("started").map { $0["resumed"] as? Bool } == [false, true])
        #expect(events.of("started").first?["updates_per_epoch"] as? Int ?? 0 > 0)
        #expect(events.of("stopped").map { $0["status"] as? String } == ["interrupted", "done"])
        #expect(events.of("worker_joined").count >= 3, "two, and one of the resumed run")
        #expect(events.of("worker_left").contains { $0["reason"] as? String != "finished" })
        #expect(events.of("fault").contains { ($0["what"] as? String ?? "").contains("lost worker") })
        let epochs = events.of("epoch")
        #expect(epochs.compactMap { $0["epoch"] as? Int } == Array(0..<30))
        #expect(epochs.compactMap { $0["file"] as? String } == (0..<30).map { "model\($0).bin" })
        // The log and the events say the same.
        let log = (FileManager.default.contents(atPath: "\(output)/log.jsonl") ?? Data()).split(separator: UInt8(ascii: "\n"))
            .compactMap { try? JSONSerialization.jsonObject(with: $0) as? [String: Any] }
        #expect(log.map { $0["nr_word"] as? Int } == epochs.map { $0["nr_word"] as? Int })
        for checkpoint in events.of("checkpoint").suffix(2) {
            #expect(FileManager.default.fileExists(atPath: "\(output)/\(checkpoint["file"] as? String ?? "")"))
        }
        #expect(events.rows.allSatisfy { $0["time"] as? Double ?? 0 > 1_700_000_000 })
    }
}
