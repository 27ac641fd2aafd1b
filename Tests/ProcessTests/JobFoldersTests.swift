// Jobs whose texts come from other sources, whose processes are killed, and whose folders are replaced, copied and moved. In: configs that
// the real spaCy 3.8 compiled. Out: the same bytes.
import Foundation
import Testing

@Suite("Texts and folders of jobs", .serialized, .enabled(if: TestJob.isThere, "needs the real spaCy 3.8")) struct JobFoldersTests {
    private func bytes(_ path: String) -> Data { FileManager.default.contents(atPath: path) ?? Data() }

    /// Runs a job to its end; the files that must be the same.
    private func results(_ job: String, _ texts: [String] = [], _ more: [String] = [], input: String? = nil) throws -> [String: Data] {
        let output = Scratch.path("out")
        let program = try Program(
            "t2v-coordinator",
            ["pretrain", "--job", job] + texts + [output, "--cache", Demo.cache, "--workers", "2"] + more, input: input)
        #expect(program.wait() == 0, "\(program.output)")
        let files = Demo.results(output)
        #expect(files["model-last.bin"]?.count ?? 0 > 10_000)
        return files
    }

    private func shell(_ command: String) throws {
        let program = try Program("/bin/sh", ["-c", command])
        try #require(program.wait() == 0, "\(program.output)")
    }

    @Test("standard input and compressed texts give the same bytes, even if the job names them")
    func streams() throws {
        let job = try TestJob.compile(["--pretraining.max_epochs", "1"])
        let files = try results(job)
        let zipped = Scratch.path("texts") + ".jsonl.gz"
        try shell("gzip -c '\(Demo.texts)' > '\(zipped)'")
        #expect(try results(job, [zipped]) == files)
        #expect(try results(job, ["-"], input: Demo.texts) == files)
        let named = try TestJob.compile(["--pretraining.max_epochs", "1", "--corpora.pretrain.path", zipped])
        #expect(try results(named) == files)
        let piped = try TestJob.compile(["--pretraining.max_epochs", "1", "--corpora.pretrain.path", "-"])
        #expect(try results(piped, input: Demo.texts) == files)
    }

    @Test("a line is a document in plain text; limit takes the first records")
    func linesAndLimit() throws {
        let all = String(decoding: bytes(Demo.texts), as: UTF8.self).split(separator: "\n")
        let texts = try all.prefix(300).map { line in
            let record = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return try #require(record?["text"] as? String).split(whereSeparator: \.isNewline).joined(separator: " ")
        }
        func write(_ lines: [String], _ ending: String) throws -> String {
            let path = Scratch.path("texts") + ending
            try lines.map { $0 + "\n" }.joined().write(toFile: path, atomically: true, encoding: .utf8)
            return path
        }
        func records(_ texts: some Sequence<String>) throws -> [String] {
            try texts.map { String(decoding: try JSONSerialization.data(withJSONObject: ["text": $0]), as: UTF8.self) }
        }
        func compile(_ path: String, _ more: [String] = []) throws -> String {
            try TestJob.compile(
                ["--pretraining.max_epochs", "1", "--t2v.shuffle", "false", "--t2v.lanes", "1", "--corpora.pretrain.path", path] + more)
        }
        let json = try write(try records(texts), ".jsonl")
        let files = try results(try compile(json, ["--corpora.pretrain.max_length", "101"]))
        let reader = """
            {"@readers": "spacy.PlainTextCorpus.v1", "path": "\(try write(texts, ".txt"))", "min_length": 20, "max_length": 100}
            """
        let lines = try TestJob.compile([
            "--pretraining.max_epochs", "1", "--t2v.shuffle", "false", "--t2v.lanes", "1", "--corpora.pretrain", reader,
        ])
        #expect(try results(lines) == files)

        // Blank lines are not records, but they count as lines, and the line determines what is hidden.
        let blank = try records(texts).flatMap { ["", $0] }
        let first = try results(try compile(try write(Array(blank.prefix(140)), ".jsonl")))
        #expect(try results(try compile(try write(blank, ".jsonl"), ["--corpora.pretrain.limit", "70"])) == first)
        #expect(first != files)
    }

    @Test("killed workers and killed coordinators change no byte", arguments: ["4", "40"])
    func kills(lanes: String) throws {
        let job = try TestJob.compile(["--pretraining.max_epochs", "25", "--pretraining.n_save_epoch", "10"])
        let files = try results(job, [], ["--lanes", lanes])

        let robbed = Scratch.path("out")
        let program = try TestJob.pretrain(job, robbed, ["--workers", "3", "--lanes", lanes])
        program.waitFor("training: epochs")
        var killed = 0
        while program.isRunning && killed < 4 {
            if let victim = program.workers.first {
                kill(victim, SIGKILL)
                killed += 1
            }
            usleep(100_000)
        }
        #expect(program.wait() == 0, "\(program.output)")
        #expect(killed > 0)
        #expect(Demo.results(robbed) == files)

        let output = Scratch.path("out")
        let options = ["--lanes", lanes, "--resume", "auto", "--checkpoint-every", "1"]
        for workers in ["2", "1", "3"] {
            let program = try TestJob.pretrain(job, output, options + ["--workers", workers])
            program.waitFor("training: epochs")
            usleep(300_000)
            program.signal(SIGKILL)
            program.wait()
        }
        let last = try TestJob.pretrain(job, output, options + ["--workers", "2"])
        #expect(last.wait() == 0, "\(last.output)")
        #expect(Demo.results(output) == files)
    }

    /// Pieces from Python are inside the job: the opened folder decides where they are, not the recorded path.
    @Test("replaced, copied and moved folders: nothing of an old place is read")
    func folders() throws {
        let config = [
            "--paths.raw_text", Demo.texts, "--components.tok2vec.model.embed.attrs", "[\"NORM\", \"PREFIX\", \"SUFFIX\", \"LIKE_NUM\"]",
            "--pretraining.max_epochs", "1",
        ]
        func command(_ output: String, _ more: [String]) throws {
            let options = ["--workers", "2", "--lanes", "4", "--cache", Demo.cache, "--no-report"]
            let (status, text) = try TestJob.run(
                ["-m", "t2v", "pretrain", TestJob.script("job_small.cfg"), output] + config + options + more)
            try #require(status == 0, "\(text)")
        }
        func entries(_ folder: String) throws -> Set<String> {
            Set(try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("job") })
        }
        let output = Scratch.path("out")
        try command(output, [])
        let before = Demo.results(output)
        for seed in ["5", "7"] {
            try command(output, ["--overwrite", "--training.seed", seed])
            #expect(Demo.results(output) != before)
            #expect(String(decoding: bytes("\(output)/t2v/job/job.json"), as: UTF8.self).contains("\"seed\": \(seed)"))
            #expect(try entries("\(output)/t2v") == ["job", "job.new"])
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(output)/t2v/job.new") == "job")
        }

        let copied = Scratch.path("job")
        try FileManager.default.copyItem(atPath: "\(output)/t2v/job", toPath: copied)
        let moved = Scratch.path("moved")
        try FileManager.default.moveItem(atPath: output, toPath: moved)
        let files = try results(copied, [], ["--lanes", "4", "-i", "2"])
        let resumed = try Program("t2v-coordinator", ["resume", moved, "--n-iter", "2"])
        #expect(resumed.wait() == 0, "\(resumed.output)")
        #expect(Demo.results(moved)["model1.bin"] == files["model1.bin"])
        #expect(Demo.results(moved)["model-last.bin"] == files["model-last.bin"])
    }
}
