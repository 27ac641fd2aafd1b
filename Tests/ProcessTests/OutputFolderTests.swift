// What happens to an output folder, with the real programs. In: runs that fail, replace others, or were moved. Out: nothing is lost.
import Foundation
import Testing

@Suite(.serialized) struct OutputFolderProcessTests {
    private func run(_ arguments: [String], input: String? = nil) throws -> (status: Int32, output: String) {
        let program = try Program("t2v-coordinator", arguments, input: input)
        return (program.wait(), program.output)
    }

    private func pretrain(_ output: String, _ more: [String], texts: String = Demo.texts, vectors: String = Demo.vectors) throws -> (
        status: Int32, output: String
    ) {
        try run(["pretrain", texts, vectors, output, "--cache", Demo.cache, "--workers", "2"] + Demo.small + more)
    }

    /// Every file below a folder, except the lock.
    private func tree(_ path: String) -> [String: Data] {
        var found: [String: Data] = [:]
        guard let walk = FileManager.default.enumerator(atPath: path) else { return found }
        for case let name as String in walk where name != "t2v/lock" {
            if let data = FileManager.default.contents(atPath: "\(path)/\(name)") { found[name] = data }
        }
        return found
    }

    private func brokenTexts() throws -> String {
        let path = Scratch.path("broken") + ".jsonl"
        let good = "{\"text\": \"One two three four five six seven eight nine ten eleven twelve.\"}\n"
        try (String(repeating: good, count: 40) + "{\"text\": \"oops\n").write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test func replacingARunByOneFromItsOwnWeights() throws {
        let output = Scratch.path("out")
        #expect(try pretrain(output, ["-i", "1"]).status == 0)
        let (status, text) = try pretrain(output, ["--overwrite", "-t2v", "\(output)/model0.bin", "-i", "1"])
        #expect(status == 0, "\(text)")
        #expect(Set(Demo.results(output).keys) == ["model1.bin", "log.jsonl"])
        #expect(!FileManager.default.fileExists(atPath: "\(output)/t2v/previous"))
    }

    @Test func replacingARunFails() throws {
        let output = Scratch.path("out")
        #expect(try pretrain(output, ["-i", "1"]).status == 0)
        let before = tree(output)
        let broken = try brokenTexts()
        for (texts, vectors, more) in [
            (broken, Demo.vectors, []), (Demo.texts, "/nonexistent", []), (Demo.texts, Demo.vectors, ["-t2v", "/nonexistent/model3.bin"]),
            (Demo.texts, Demo.vectors, ["-nw", "499", "-xw", "500"]),
        ] {
            let (status, text) = try pretrain(output, ["--overwrite", "-i", "1"] + more, texts: texts, vectors: vectors)
            #expect(status == 2, "\(text)")
            #expect(tree(output) == before, "\(text)")
        }
        #expect(try run(["resume", output, "-i", "2"]).status == 0)
        #expect(Demo.results(output) == (try Demo.reference(epochs: 2)))
    }

    @Test func withoutAPlaceForTheCache() throws {
        let output = Scratch.path("out")
        let arguments = ["pretrain", Demo.texts, Demo.vectors, output, "--workers", "1", "-i", "1"] + Demo.small
        let program = try Program("t2v-coordinator", arguments, environment: ["XDG_CACHE_HOME": "/proc/nowhere"])
        #expect(program.wait() == 0, "\(program.output)")
        #expect(FileManager.default.fileExists(atPath: "\(output)/t2v/cache/prepared"))
        // Its name is known: what others can write there is not trusted.
        chmod("\(output)/t2v/cache", 0o777)
        let resumed = try Program("t2v-coordinator", ["resume", output, "-i", "2"], environment: ["XDG_CACHE_HOME": "/proc/nowhere"])
        #expect(resumed.wait() == 2 && resumed.output.contains("other users can write the cache folder"), "\(resumed.output)")
    }

    @Test func filesOfTheUserStay() throws {
        let output = Scratch.path("out")
        try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
        for name in ["notes.txt", "model.bin"] {
            try "mine".write(toFile: "\(output)/\(name)", atomically: true, encoding: .utf8)
        }
        let before = tree(output)
        #expect(try pretrain(output, ["-i", "1"], texts: try brokenTexts()).status == 2)
        #expect(tree(output) == before)
        try "mine".write(toFile: "\(output)/model7.bin", atomically: true, encoding: .utf8)
        // Whatever else is wrong: a run that fails must not take the user's weights for its own.
        let broken = try brokenTexts()
        for (texts, more) in [(Demo.texts, []), (Demo.texts, ["--overwrite"]), (broken, []), (broken, ["--overwrite"])] {
            let (status, text) = try pretrain(output, ["-i", "1"] + more, texts: texts)
            #expect(status == 2 && text.contains("model7.bin"), "\(text)")
            #expect(FileManager.default.contents(atPath: "\(output)/model7.bin") == Data("mine".utf8))
        }
    }

    @Test func checkpointsAreGone() throws {
        let output = Scratch.path("out")
        #expect(try pretrain(output, ["-i", "2"]).status == 0)
        try FileManager.default.removeItem(atPath: "\(output)/t2v/checkpoints")
        let before = Demo.results(output)
        for arguments in [["resume", output, "-i", "3"], ["pretrain", Demo.texts, Demo.vectors, output, "--resume", "auto", "-i", "3"]] {
            let (status, text) = try run(arguments)
            #expect(status == 2 && text.contains("checkpoints are gone"), "\(text)")
            #expect(Demo.results(output) == before)
        }
    }

    @Test func aRunOfTheEarlierLayoutGoesOn() throws {
        let output = Scratch.path("out")
        #expect(try pretrain(output, ["-i", "1"]).status == 0)
        let files = FileManager.default
        try files.moveItem(atPath: "\(output)/t2v/checkpoints", toPath: "\(output)/checkpoints")
        try files.removeItem(atPath: "\(output)/t2v")
        let (status, text) = try run(["resume", output, "-i", "3"])
        #expect(status == 0, "\(text)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 3)))
        #expect(!files.fileExists(atPath: "\(output)/checkpoints") && files.fileExists(atPath: "\(output)/t2v/run.json"))
    }

    @Test func resumingWithOtherSettings() throws {
        let output = Scratch.path("out")
        #expect(try pretrain(output, ["-i", "1"]).status == 0)
        let (status, text) = try pretrain(output, ["--resume", "auto", "-cd", "3", "-d", "0.5"])
        #expect(status == 2, "\(text)")
        #expect(text.contains("--conv-depth 3 (the run has 2)") && text.contains("--dropout 0.5 (the run has 0.2)"), "\(text)")
        // Without -i a finished run stays finished.
        let (done, said) = try pretrain(output, ["--resume", "auto"])
        #expect(done == 0 && said.contains("the run is complete: 1 epoch"), "\(said)")
        #expect(Demo.results(output) == (try Demo.reference(epochs: 1)))
        #expect(try run(["resume", output, "-i", "3"]).status == 0)
        let (fewer, why) = try run(["resume", output, "-i", "2"])
        #expect(fewer == 2 && why.contains("3 epochs already"), "\(why)")
    }

    @Test func aRunThatWasMoved() throws {
        let (old, new) = (Scratch.path("old"), Scratch.path("new"))
        let files = FileManager.default
        try files.createDirectory(atPath: old, withIntermediateDirectories: true)
        try files.copyItem(atPath: Demo.texts, toPath: "\(old)/texts.jsonl")
        try files.copyItem(atPath: Demo.vectors, toPath: "\(old)/vectors")
        #expect(try pretrain("\(old)/out", ["-i", "1"], texts: "\(old)/texts.jsonl", vectors: "\(old)/vectors").status == 0)
        try files.moveItem(atPath: old, toPath: new)
        #expect(try run(["resume", "\(new)/out", "-i", "2"]).status == 2)
        let other = try run(["resume", "\(new)/out", "-i", "2", "--texts", try brokenTexts(), "--vectors-model", "\(new)/vectors"])
        #expect(other.status == 2 && other.output.contains("not those the run was started with"), "\(other.output)")
        // Vectors are compared as well: another table of the same size would be trained on without a word.
        let (vectors, changed) = ("\(new)/changed", "\(new)/changed/vocab/vectors")
        try files.copyItem(atPath: "\(new)/vectors", toPath: vectors)
        var table = try #require(files.contents(atPath: changed))
        table[table.count - 2] ^= 1
        try table.write(to: URL(fileURLWithPath: changed))
        let another = try run(["resume", "\(new)/out", "-i", "2", "--texts", "\(new)/texts.jsonl", "--vectors-model", vectors])
        #expect(another.status == 2 && another.output.contains("the vectors model is not the one"), "\(another.output)")
        let moved = ["resume", "\(new)/out", "-i", "2", "--texts", "\(new)/texts.jsonl", "--vectors-model", "\(new)/vectors"]
        let (status, text) = try run(moved)
        #expect(status == 0, "\(text)")
        #expect(Demo.results("\(new)/out") == (try Demo.reference(epochs: 2)))
        // It remembers where they are now.
        #expect(try run(["resume", "\(new)/out", "-i", "3"]).status == 0)
        #expect(Demo.results("\(new)/out") == (try Demo.reference(epochs: 3)))
    }

    /// A run can be resumed from any folder, however its paths were written; texts inside its folder move with it.
    @Test func pathsThatWereRelative() throws {
        let place = Scratch.path("place")
        let files = FileManager.default
        for folder in ["here/out", "elsewhere"] {
            try files.createDirectory(atPath: "\(place)/\(folder)", withIntermediateDirectories: true)
        }
        try files.copyItem(atPath: Demo.texts, toPath: "\(place)/here/out/texts.jsonl")
        try files.copyItem(atPath: Demo.vectors, toPath: "\(place)/vectors")
        let coordinator = Program.folder.appending(path: "t2v-coordinator").path
        func shell(_ command: String) throws {
            let program = try Program("/bin/bash", ["-c", command], environment: ["C": coordinator, "P": place])
            #expect(program.wait() == 0, "\(program.output)")
        }
        let small = Demo.small.joined(separator: " ")
        try shell("cd \"$P/here\" && \"$C\" pretrain out/texts.jsonl ../vectors out -i 1 --workers 1 --cache ../cache \(small)")
        try shell("cd \"$P/elsewhere\" && \"$C\" resume ../here/out -i 2")
        #expect(Demo.results("\(place)/here/out") == (try Demo.reference(epochs: 2)))
        try files.moveItem(atPath: "\(place)/here/out", toPath: "\(place)/moved")
        try shell("cd \"$P\" && \"$C\" resume moved -i 3")
        #expect(Demo.results("\(place)/moved") == (try Demo.reference(epochs: 3)))
    }

    @Test func nothingIsLeftOfTextsOnStandardInput() throws {
        let output = Scratch.path("out")
        let (status, text) = try run(
            ["pretrain", "-", Demo.vectors, output, "--cache", Demo.cache, "--workers", "1", "-i", "1"], input: try brokenTexts())
        #expect(status == 2 && text.contains("standard input:41"), "\(text)")
        #expect(!FileManager.default.fileExists(atPath: output))
    }
}
