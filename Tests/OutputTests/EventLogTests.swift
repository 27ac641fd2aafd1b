import Base
import Foundation
import TestSupport
import Testing

@testable import Output

@Suite("The record of a run") struct EventLogTests {
    private func text(_ path: String) -> String { String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self) }

    @Test("a line is compact JSON, in the order of its fields, without those that are unknown")
    func line() {
        let event = RunEvent(
            "fault",
            [("what", .text("a \"b\"\nc")), ("worker", nil), ("loss", .number(0.5)), ("lost", .number(.nan)), ("workers", .count(2))])
        #expect(
            event.line(at: 1_790_000_000.1234)
                == #"{"time":1790000000.123,"kind":"fault","what":"a \"b\"\nc","loss":0.5,"lost":null,"workers":2}"#)
        #expect(
            RunEvent("started", [("resumed", .flag(false)), ("texts", .texts(["a", "b"]))]).line(at: 1)
                == #"{"time":1.000,"kind":"started","resumed":false,"texts":["a","b"]}"#)
    }

    @Test("a file grows, and a line that was cut is ended")
    func appends() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/events.jsonl"
        let first = EventLog()
        first.append(RunEvent("lost"))
        first.open(path)
        first.append(RunEvent("started"))
        #expect(text(path).split(separator: "\n").count == 1 && text(path).contains(#""kind":"started""#))
        try (text(path) + "{\"time\":3").write(toFile: path, atomically: false, encoding: .utf8)
        let second = EventLog()
        second.open(path)
        second.append(RunEvent("stopped"))
        let lines = text(path).split(separator: "\n")
        #expect(lines.count == 3 && lines[1] == "{\"time\":3" && lines[2].contains(#""kind":"stopped""#))
    }

    @Test("a file that cannot be written is reported once, and ends nothing")
    func failure() {
        let log = EventLog()
        log.open("/nowhere/events.jsonl")
        log.append(RunEvent("started"))
        #expect(log.takeFailure() != nil)
        #expect(log.takeFailure() == nil)
        let full = EventLog()
        full.open("/dev/full")
        full.append(RunEvent("started"))
        #expect(full.takeFailure() != nil)
        full.append(RunEvent("stopped"))
        #expect(full.takeFailure() == nil)
    }
}
