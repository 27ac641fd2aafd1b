// The program as a whole against the real spaCy. In: the scripts of GoldenTests/reference. Out: their verdict.
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

    /// Five updates from the same start end in the same averages, within 1e-3 a tensor.
    @Test(.enabled(if: isThere, "needs the real spaCy 2.3.9"), arguments: [[], ["--loss", "L2"], ["--use-vectors"]])
    func fiveUpdatesEqualItsOwn(options: [String]) throws {
        let process = Process()
        let script = Demo.root.appending(path: "Tests/GoldenTests/reference/updates_check.py").path
        process.executableURL = URL(fileURLWithPath: Self.python)
        process.arguments = ["-W", "ignore", script, "--program", Program.folder.appending(path: "t2v-coordinator").path] + options
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(text)")
        #expect(text.contains("worst"))
    }
}
