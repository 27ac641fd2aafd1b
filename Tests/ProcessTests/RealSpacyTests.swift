// The program as a whole against the real spaCy. In: the scripts of GoldenTests/reference. Out: their result.
import Foundation
import Testing

@Suite(.serialized) struct RealSpacyTests {
    static let python: String = {
        let folder = ProcessInfo.processInfo.environment["T2V_VENVS"] ?? Demo.root.appending(path: ".venvs").path
        return "\(folder)/spacy-2.3.9/bin/python"
    }()

    static var isThere: Bool {
        let found = FileManager.default.isExecutableFile(atPath: python)
        if !found { print("SKIPPED: \(python) is missing: `make test` sets it up") }
        return found
    }

    private func run(_ script: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.python)
        process.arguments = ["-W", "ignore", Demo.root.appending(path: "Tests/GoldenTests/reference/\(script)").path] + arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    /// Five updates from the same start end in the same averages, within 1e-4 per tensor.
    @Test(.enabled(if: isThere, "needs the real spaCy 2.3.9"), arguments: [[], ["--loss", "L2"], ["--use-vectors"]])
    func fiveUpdatesEqualItsOwn(options: [String]) throws {
        let (status, text) = try run(
            "updates_check.py", ["--program", Program.folder.appending(path: "t2v-coordinator").path] + options)
        #expect(status == 0, "\(text)")
        #expect(text.contains("worst"))
    }

    /// The commands of `inspect` work in the real `spacy train`: the weights are loaded byte for byte, one epoch of training runs, and a
    /// new process loads and uses the trained model. By hand, for every setting: Tests/GoldenTests/reference/train_check.py.
    @Test(
        .enabled(if: isThere, "needs the real spaCy 2.3.9"),
        arguments: [("2.3.9", [["-cP", "2"], ["--use-vectors"]]), ("2.1.9", [[]])])
    func trainsOnTheWeights(version: String, settings: [[String]]) throws {
        guard FileManager.default.isExecutableFile(atPath: Self.python.replacing("2.3.9", with: version)) else {
            print("SKIPPED: no venv of spaCy \(version)")
            return
        }
        let folder = Scratch.path("weights")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (number, options) in settings.enumerated() {
            let output = Scratch.path("out")
            let program = try Program(
                "t2v-coordinator",
                ["pretrain", Demo.texts, Demo.vectors, output, "--cache", Demo.cache, "--workers", "2", "-i", "1"] + options)
            #expect(program.wait() == 0, "\(program.output)")
            try FileManager.default.copyItem(atPath: "\(output)/model0.bin", toPath: "\(folder)/\(number).bin")
        }
        let venvs = URL(fileURLWithPath: Self.python).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let (status, text) = try run(
            "train_check.py",
            [
                folder, "--inspect", Program.folder.appending(path: "t2v-coordinator").path, "--versions", version, "--venvs", venvs.path,
            ])
        #expect(status == 0, "\(text)")
        // 2.3 takes the weights for a textcat of its own, too.
        let commands = settings.count * (version == "2.3.9" ? 2 : 1)
        #expect(text.contains("\(commands) of \(commands) commands loaded the weights"), "\(text)")
    }
}
