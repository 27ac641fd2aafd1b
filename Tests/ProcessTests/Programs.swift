// The real programs, started by tests. In: arguments, signals. Out: exit status, output, files.
import Base
import CLinux
import Foundation
import Testing

/// A started program.
final class Program {
    private let process = Process()
    private let outputPath: String

    /// - Parameter name: "t2v-coordinator" or "t2v-worker", beside the test bundle; or a path from the root.
    init(_ name: String, _ arguments: [String], environment: [String: String] = [:], input: String? = nil) throws {
        outputPath = Scratch.path("output")
        _ = FileManager.default.createFile(atPath: outputPath, contents: nil)
        process.executableURL = name.hasPrefix("/") ? URL(fileURLWithPath: name) : Self.folder.appending(path: name)
        process.arguments = arguments
        var merged = ProcessInfo.processInfo.environment
        for (key, value) in environment { merged[key] = value }
        process.environment = merged
        let output = try #require(FileHandle(forWritingAtPath: outputPath))
        process.standardOutput = output
        process.standardError = output
        if let input {
            process.standardInput = FileHandle(forReadingAtPath: input)
        } else {
            process.standardInput = FileHandle.nullDevice
        }
        try process.run()
    }

    /// Where the products are: beside the test bundle.
    static let folder: URL = {
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: (try? FileManager.default.destinationOfSymbolicLink(atPath: bundle)) ?? bundle)
            .deletingLastPathComponent()
    }()

    var processID: pid_t { process.processIdentifier }
    var isRunning: Bool { process.isRunning }
    var output: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }

    func signal(_ number: Int32) { kill(processID, number) }

    /// The exit status, or minus the signal's number. A program that takes longer than `seconds` is killed and the test fails.
    @discardableResult
    func wait(seconds: Double = 180) -> Int32 {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while process.isRunning && Date() < deadline { usleep(5_000) }
        if process.isRunning {
            Issue.record("still running after \(seconds) s; its output so far:\n\(output)")
            kill(processID, SIGKILL)
        }
        process.waitUntilExit()
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    /// Waits until the output holds `text`.
    func waitFor(_ text: String, seconds: Double = 60) {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while !output.contains(text) && process.isRunning && Date() < deadline { usleep(5_000) }
    }

    /// The endpoint where a coordinator with --bind listens.
    func endpoint() throws -> String {
        waitFor("listening on tcp://")
        let line = try #require(output.split(separator: "\n").first { $0.contains("listening on tcp://") }, "\(output)")
        return String(line.split(separator: " ").last ?? "")
    }

    /// A figure of /proc/PID/status in kilobytes: VmRSS, VmHWM.
    func memory(_ name: String) -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }

    /// Process ids of its local workers that are alive.
    var workers: [pid_t] { Program.children(of: processID) }

    static func children(of parent: pid_t) -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { pid in
            guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let close = text.lastIndex(of: ")") else {
                return false
            }
            let fields = text[text.index(after: close)...].split(separator: " ")
            return fields.count > 1 && fields[1] == "\(parent)" && fields[0] != "Z"
        }
    }

    static func isAlive(_ pid: pid_t) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let close = text.lastIndex(of: ")") else {
            return false
        }
        return text[text.index(after: close)...].split(separator: " ").first != "Z"
    }
}

/// Folders for one test run; removed at its end.
enum Scratch {
    static let root: String = {
        var template = Array("\(NSTemporaryDirectory())/t2v-tests-XXXXXX".utf8CString)
        let path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
        atexit { try? FileManager.default.removeItem(atPath: Scratch.root) }
        return path
    }()

    static func path(_ name: String) -> String { "\(root)/\(name)-\(UInt32.random(in: 0 ... .max))" }
}

/// The small corpus and model that the repository carries.
enum Demo {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    static let texts = root.appending(path: "demo/texts.jsonl").path
    static let vectors = root.appending(path: "demo/vectors").path
    /// One cache for all tests: most of them are not about preparation.
    static let cache = Scratch.path("cache")

    /// A small, fast run: its arguments after TEXTS VECTORS OUTPUT.
    static let small = ["-cw", "32", "-cd", "2", "-er", "200", "-bs", "4000", "-nw", "20"]

    static func pretrain(_ output: String, _ more: [String]) throws -> Program {
        try Program("t2v-coordinator", ["pretrain", texts, vectors, output, "--cache", cache] + small + more)
    }

    /// What an undisturbed run of that many epochs gives.
    static func reference(epochs: Int) throws -> [String: Data] {
        try referenceLock.withLock {
            if let known = references[epochs] { return known }
            let output = Scratch.path("reference")
            let program = try pretrain(output, ["--workers", "1", "-i", "\(epochs)"])
            try #require(program.wait(seconds: 1_200) == 0, "\(program.output)")
            let files = results(output)
            try #require(files.count == epochs + 1)
            references[epochs] = files
            return files
        }
    }

    private static let referenceLock = NSLock()
    nonisolated(unsafe) private static var references: [Int: [String: Data]] = [:]

    /// The run's files that must be the same, byte for byte.
    static func results(_ output: String) -> [String: Data] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: output)) ?? []
        let kept = names.filter { $0 == "log.jsonl" || ($0.hasPrefix("model") && $0.hasSuffix(".bin")) }
        return Dictionary(uniqueKeysWithValues: kept.map { ($0, FileManager.default.contents(atPath: "\(output)/\($0)") ?? Data()) })
    }
}

/// A generator with a seed, for faults that can be repeated (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Philox.mix(state)
    }
}
