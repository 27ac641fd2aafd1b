// Runs of compiled spaCy 3 configs. In: a config that the real spaCy 3.8 compiled. Out: the same bytes however they are executed, and files
// that the real spaCy loads.
import Foundation
import Testing

/// Job folders, compiled once by the Python package of this repository.
enum TestJob {
    static let python: String = {
        let folder = ProcessInfo.processInfo.environment["T2V_VENVS"] ?? Demo.root.appending(path: ".venvs").path
        return "\(folder)/spacy-3.8/bin/python"
    }()

    static var isThere: Bool {
        let found = FileManager.default.isExecutableFile(atPath: python)
        if !found { print("SKIPPED: \(python) is missing: `make test` sets it up") }
        return found
    }

    static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let program = try Program(
            python, ["-W", "ignore"] + arguments,
            environment: ["PYTHONPATH": Demo.root.appending(path: "python").path, "T2V_BIN": Program.folder.path])
        return (program.wait(), program.output)
    }

    static func script(_ name: String) -> String { Demo.root.appending(path: "Tests/GoldenTests/reference/\(name)").path }

    /// A job of the small config with overrides.
    static func compile(_ overrides: [String] = []) throws -> String {
        let job = Scratch.path("job")
        let (status, text) = try run(["-m", "t2v", "compile", script("job_small.cfg"), job, "--paths.raw_text", Demo.texts] + overrides)
        try #require(status == 0, "\(text)")
        return job
    }

    static func pretrain(_ job: String, _ output: String, _ more: [String] = []) throws -> Program {
        try Program("t2v-coordinator", ["pretrain", "--job", job, output, "--cache", Demo.cache] + more)
    }
}

@Suite("Runs of jobs", .serialized, .enabled(if: TestJob.isThere, "needs the real spaCy 3.8")) struct JobRunTests {
    private func bytes(_ path: String) -> Data { FileManager.default.contents(atPath: path) ?? Data() }

    private func finish(_ program: Program) { #expect(program.wait() == 0, "\(program.output)") }

    /// With many lanes for each thread, several are computed at once; how many depends on the workers and their threads.
    @Test("the bytes depend neither on the workers nor on a stop, and the real spaCy loads every file", arguments: ["4", "40"])
    func sameBits(lanes: String) throws {
        let job = try TestJob.compile()
        let whole = Scratch.path("out")
        finish(try TestJob.pretrain(job, whole, ["--workers", "1", "--threads", lanes, "--lanes", lanes]))
        let files = Demo.results(whole)
        #expect(Set(files.keys) == ["log.jsonl", "model0.bin", "model1.bin", "model2.bin", "model-last.bin"])
        #expect(files["model-last.bin"] == files["model2.bin"])
        #expect(bytes("\(whole)/config.cfg") == bytes("\(job)/config.cfg"))

        let several = Scratch.path("out")
        finish(try TestJob.pretrain(job, several, ["--workers", "3", "--lanes", lanes]))
        #expect(Demo.results(several) == files)

        let stopped = Scratch.path("out")
        let program = try TestJob.pretrain(job, stopped, ["--workers", "2", "--lanes", lanes])
        program.waitFor("training: epochs")
        usleep(300_000)
        program.signal(SIGTERM)
        let status = program.wait()
        #expect(status == 75 || status == 0, "\(program.output)")
        if status == 75 {
            #expect(FileManager.default.fileExists(atPath: "\(stopped)/model-last.bin"))
            finish(try Program("t2v-coordinator", ["resume", stopped, "--workers", "1"]))
        }
        #expect(Demo.results(stopped) == files)

        let (loaded, text) = try TestJob.run([TestJob.script("job_load.py"), whole])
        #expect(loaded == 0 && text.contains("ok: 4 files, 4 lines"), "\(text)")
    }

    @Test("--precision wins over the section") func precision() throws {
        let (plain, half) = (try TestJob.compile(), try TestJob.compile(["--t2v.precision", "bf16"]))
        let (one, two) = (Scratch.path("out"), Scratch.path("out"))
        finish(try TestJob.pretrain(plain, one, ["--workers", "1", "-i", "1"]))
        finish(try TestJob.pretrain(half, two, ["--workers", "1", "-i", "1", "--precision", "float32"]))
        #expect(Demo.results(one) == Demo.results(two) && !Demo.results(one).isEmpty)
    }

    @Test("workers elsewhere need only the program")
    func remote() throws {
        let job = try TestJob.compile(["--pretraining.max_epochs", "1"])
        let (here, there) = (Scratch.path("out"), Scratch.path("out"))
        finish(try TestJob.pretrain(job, here, ["--workers", "1", "--lanes", "4"]))
        let program = try Program(
            "t2v-coordinator",
            [
                "pretrain", "--job", job, there, "--cache", Scratch.path("cache"), "--workers", "0", "--lanes", "4", "--min-workers", "2",
                "--bind", "tcp://127.0.0.1:*", "--insecure",
            ])
        let endpoint = try program.endpoint()
        let workers = try (0..<2).map { _ in
            try Program("t2v-worker", ["--connect", endpoint, "--threads", "1", "--cache", Scratch.path("worker-cache")])
        }
        finish(program)
        for worker in workers { #expect(worker.wait(seconds: 20) == 0, "\(worker.output)") }
        #expect(Demo.results(there) == Demo.results(here))
    }

    private static let cnn = """
        {"@architectures": "spacy.HashEmbedCNN.v2", "width": 16, "depth": 3, "embed_size": 300, "window_size": 1, "maxout_pieces": 2,
         "subword_features": true, "pretrained_vectors": null}
        """
    private static let characters = """
        {"@architectures": "spacy.CharacterEmbed.v2", "width": 16, "rows": 300, "nM": 8, "nC": 6, "include_static_vectors": true,
         "feature": "LOWER"}
        """
    private static let mish = """
        {"@architectures": "spacy.MishWindowEncoder.v2", "width": 16, "window_size": 1, "depth": 2}
        """
    private static func vectors(_ loss: String) -> String {
        #"{"@architectures": "spacy.PretrainVectors.v1", "maxout_pieces": 3, "hidden_size": 24, "loss": "\#(loss)"}"#
    }

    /// The real program trains like the real spaCy: updates from the same weights, nothing hidden, every tensor within 1e-4.
    ///
    /// With Adam's eps of 1e-8 a step has the sign of a gradient, however small that is: in wide and deep shapes some are so near zero that
    /// rounding decides (2 of 48 runs agreed after two updates). There steps follow the gradient, with an eps that is larger than most
    /// gradients.
    @Test(
        "updates are those of the real spaCy",
        arguments: [
            [],
            [
                "--components.tok2vec.model.embed.attrs", "[\"NORM\", \"ORTH\", \"SPACY\", \"IS_SPACE\"]",
                "--components.tok2vec.model.embed.rows", "[300, 200, 10, 10]", "--pretraining.optimizer.L2_is_weight_decay", "false",
            ],
            [
                "--vectors", "--components.tok2vec.model.embed.include_static_vectors", "true", "--components.tok2vec.model.encode.depth",
                "4",
            ],
            [
                "--vectors", "--components.tok2vec.model.embed.include_static_vectors", "true", "--pretraining.objective",
                vectors("cosine"), "--updates", "2",
            ],
            ["--vectors", "--pretraining.objective", vectors("L2")],
            ["--components.tok2vec.model", cnn],
            [
                "--vectors", "--records", "1", "--components.tok2vec.model.embed", characters, "--components.tok2vec.model.encode", mish,
            ],
            ["--config", "examples/configs/inline-textcat.cfg", "--updates", "2"],
            ["--config", "examples/configs/vectors-256.cfg", "--vectors", "--records", "2", "--pretraining.optimizer.eps", "0.001"],
        ])
    func updates(overrides: [String]) throws {
        let program = Program.folder.appending(path: "t2v-coordinator").path
        let overrides = overrides.map { $0.hasPrefix("examples/") ? Demo.root.appending(path: $0).path : $0 }
        let (status, text) = try TestJob.run([TestJob.script("updates3_check.py"), "--program", program] + overrides)
        #expect(status == 0 && text.contains("worst"), "\(text)")
    }

    @Test("without a step the weights are spaCy's own, byte for byte")
    func templates() throws {
        let job = try TestJob.compile([
            "--pretraining.optimizer.learn_rate", "0.0", "--pretraining.optimizer.L2", "0.0", "--pretraining.optimizer.use_averages",
            "false",
            "--pretraining.max_epochs", "1",
        ])
        let output = Scratch.path("out")
        finish(try TestJob.pretrain(job, output, ["--workers", "2"]))
        #expect(bytes("\(output)/model0.bin").count > 10_000)
        #expect(bytes("\(output)/model0.bin") == bytes("\(job)/tok2vec.bin"))
    }

    @Test("what Python tokenized and what t2v tokenizes give the same weights, in several files, compressed or not")
    func pieces() throws {
        let overrides = ["--corpora.pretrain.min_length", "0", "--corpora.pretrain.max_length", "0", "--pretraining.max_epochs", "1"]
        let fast = try TestJob.compile(overrides + ["--t2v.shuffle", "false"])
        let output = Scratch.path("out")
        finish(try TestJob.pretrain(fast, output, ["--workers", "1", "--lanes", "1"]))

        let prepared = Scratch.path("job")
        let (status, text) = try TestJob.run([TestJob.script("job_pieces.py"), fast, prepared])
        #expect(status == 0, "\(text)")
        let again = Scratch.path("out")
        finish(try TestJob.pretrain(prepared, again, ["--workers", "1", "--lanes", "1"]))
        #expect(bytes("\(again)/model0.bin") == bytes("\(output)/model0.bin"))

        let lines = String(decoding: bytes(Demo.texts), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        let parts = [lines[..<100].joined(separator: "\n") + "\n", lines[100...].joined(separator: "\n")]
        let paths = [Scratch.path("part.jsonl"), Scratch.path("part.jsonl")]
        for (part, path) in zip(parts, paths) { try part.write(toFile: path, atomically: true, encoding: .utf8) }
        let several = Scratch.path("out")
        let program = try Program(
            "t2v-coordinator", ["pretrain", "--job", fast] + paths + [several, "--cache", Demo.cache, "--workers", "1", "--lanes", "1"])
        finish(program)
        #expect(bytes("\(several)/model0.bin") == bytes("\(output)/model0.bin"))
    }

    @Test("faults of a job are reported with file, key and remedy, and leave no folder")
    func faults() throws {
        let job = try TestJob.compile()
        let output = Scratch.path("out")
        func message(_ arguments: [String]) throws -> String {
            let program = try Program("t2v-coordinator", arguments)
            #expect(program.wait() == 2, "\(program.output)")
            #expect(!FileManager.default.fileExists(atPath: output))
            return program.output
        }
        func edited(_ from: String, _ to: String) throws -> String {
            let copy = Scratch.path("job")
            try FileManager.default.copyItem(atPath: job, toPath: copy)
            let text = String(decoding: bytes("\(job)/job.json"), as: UTF8.self)
            #expect(text.contains(from))
            try text.replacing(from, with: to).write(toFile: "\(copy)/job.json", atomically: true, encoding: .utf8)
            return copy
        }
        #expect(try message(["pretrain", "--job", "/nowhere", output]).contains("/nowhere: not a job folder"))
        #expect(try message(["pretrain", "--job", try edited("\"format\": 1", "\"format\": 2"), output]).contains("a job of format 2"))
        #expect(
            try message(["pretrain", "--job", try edited("\"rows\": 300", "\"rows\": 301"), output]).contains(
                "tensor embed.norm.E has shape"))
        #expect(
            try message(["pretrain", "--job", try edited("\"max_epochs\"", "\"max_epoch\""), output]).contains(
                "training.max_epochs is missing"))
        #expect(try message(["pretrain", "--job", job, output, "--width", "96"]).contains("--width with --job"))
        #expect(try message(["pretrain", "--job", job, "/nowhere.jsonl", output]).contains("/nowhere.jsonl"))
        let damaged = Scratch.path("job")
        try FileManager.default.copyItem(atPath: job, toPath: damaged)
        try bytes("\(job)/tok2vec.bin").dropLast(100).write(to: URL(fileURLWithPath: "\(damaged)/tok2vec.bin"))
        #expect(try message(["pretrain", "--job", damaged, output]).contains("tok2vec.bin"))
    }
}
