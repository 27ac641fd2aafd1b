// Mistakes of users. In: bad arguments and files. Out: status 2, one line that says what, where and what to do, and nothing left behind.
import Foundation
import Testing

@Suite struct WrongInputTests {
    /// Runs `pretrain` on these texts and expects one line that contains all of `words`.
    private func refuse(_ texts: String, _ more: [String] = [], vectors: String = Demo.vectors, saying words: [String]) throws {
        let output = Scratch.path("out")
        let program = try Program(
            "t2v-coordinator", ["pretrain", texts, vectors, output, "--workers", "1", "--cache", Demo.cache, "-i", "1"] + more)
        #expect(program.wait() == 2, "\(program.output)")
        let errors = program.output.split(separator: "\n").filter { $0.hasPrefix("error: ") }
        #expect(errors.count == 1, "\(program.output)")
        for word in words { #expect(errors.first?.contains(word) == true, "\(word) is missing in: \(program.output)") }
        #expect(!program.output.contains("Fatal error"))
        #expect(!FileManager.default.fileExists(atPath: output), "something was left behind")
    }

    private func file(_ text: String) throws -> String {
        let path = Scratch.path("texts") + ".jsonl"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private let good = "{\"text\": \"One two three four five six seven eight.\"}\n"

    @Test func missingTexts() throws { try refuse("/nonexistent/texts.jsonl", saying: ["/nonexistent/texts.jsonl", "No such file"]) }
    @Test func emptyTexts() throws { try refuse(try file(""), saying: ["empty"]) }

    @Test func brokenLine() throws {
        let path = try file(good + good + "{\"text\": \"oops\n" + good)
        try refuse(path, saying: ["\(path):3"])
    }

    @Test func recordWithNeitherKey() throws {
        let path = try file(good + "{\"body\": \"hello\"}\n")
        try refuse(path, saying: ["\(path):2", "text", "tokens"])
    }

    @Test func plainTextAndFolders() throws {
        let path = try file("One two three.\nFour five six.\n")
        try refuse(path, saying: [path, "plain text, not JSON", "jq -Rc"])
        try refuse(Scratch.root, saying: ["this is a folder"])
    }

    @Test func modelNamedAsAPackage() throws {
        try refuse(try file(good), vectors: "en_core_web_md", saying: ["no such folder", "import en_core_web_md"])
    }

    @Test func everythingFilteredOut() throws {
        try refuse(try file("{\"text\": \"Too short.\"}\n"), saying: ["no document is kept", "1 shorter than 5", "--min-length"])
    }

    @Test func missingModel() throws { try refuse(try file(good), vectors: "/nonexistent/model", saying: ["/nonexistent/model"]) }

    @Test func modelWithoutVectors() throws {
        let copy = Scratch.path("model")
        try FileManager.default.copyItem(atPath: Demo.vectors, toPath: copy)
        try FileManager.default.removeItem(atPath: "\(copy)/vocab/vectors")
        try refuse(try file(good), vectors: copy, saying: ["vectors"])
    }

    @Test func modelWithoutRuleBasedTokenizer() throws {
        let copy = Scratch.path("model")
        try FileManager.default.copyItem(atPath: Demo.vectors, toPath: copy)
        let meta = try String(contentsOfFile: "\(copy)/meta.json", encoding: .utf8)
        try meta.replacingOccurrences(of: "\"en\"", with: "\"ja\"").write(toFile: "\(copy)/meta.json", atomically: true, encoding: .utf8)
        try refuse(try file(good), vectors: copy, saying: ["tokens"])
    }

    @Test(arguments: [
        (["--lanes", "0"], "--lanes"), (["-d", "1.5"], "--dropout"), (["-xw", "3"], "--max-length"), (["-i", "0"], "--n-iter"),
        (["--workers", "0"], "--bind"), (["--bind", "tcp://0.0.0.0:0"], "keygen"), (["--mask-prob", "2"], "--mask-prob"),
        (["-L", "l3"], "l3"), (["--nonsense"], "--nonsense"), (["-t2v", "/nonexistent.bin"], "nonexistent.bin"),
        (["--resume", "auto", "--overwrite"], "--overwrite"),
    ]) func wrongOptions(options: [String], word: String) throws {
        try refuse(try file(good), options, saying: [word])
    }

    @Test func unwritableFolder() throws {
        let program = try Program("t2v-coordinator", ["pretrain", Demo.texts, Demo.vectors, "/proc/nowhere/out", "-i", "1"])
        #expect(program.wait() == 2)
        #expect(program.output.contains("/proc/nowhere/out"), "\(program.output)")
    }

    @Test func folderInUseOrHoldingARun() throws {
        let output = Scratch.path("out")
        let first = try Demo.pretrain(output, ["--workers", "1", "-i", "1000"])
        first.waitFor("training:")
        let second = try Demo.pretrain(output, ["--workers", "1", "-i", "1"])
        #expect(second.wait() == 2)
        #expect(second.output.contains("another coordinator"), "\(second.output)")
        first.signal(SIGTERM)
        #expect(first.wait(seconds: 20) == 75)
        let third = try Demo.pretrain(output, ["--workers", "1", "-i", "1"])
        #expect(third.wait() == 2)
        #expect(third.output.contains("resume"), "\(third.output)")
        #expect(try Demo.pretrain(output, ["--workers", "1", "-i", "1", "--overwrite"]).wait() == 0)
    }

    @Test func otherTextsOnResume() throws {
        let texts = try file(try String(contentsOfFile: Demo.texts, encoding: .utf8))
        let output = Scratch.path("out")
        let program = try Program(
            "t2v-coordinator", ["pretrain", texts, Demo.vectors, output, "--workers", "1", "-i", "1", "--cache", Demo.cache] + Demo.small)
        #expect(program.wait() == 0, "\(program.output)")
        try (good + good).write(toFile: texts, atomically: true, encoding: .utf8)
        let resumed = try Program("t2v-coordinator", ["resume", output, "-i", "2"])
        #expect(resumed.wait() == 2)
        #expect(resumed.output.contains("not those the run was started with"), "\(resumed.output)")
        #expect(FileManager.default.fileExists(atPath: "\(output)/model0.bin"))
    }

    @Test func nothingToResume() throws {
        let program = try Program("t2v-coordinator", ["resume", Scratch.path("out")])
        #expect(program.wait() == 2)
        #expect(program.output.contains("no run to resume"))
    }
}
