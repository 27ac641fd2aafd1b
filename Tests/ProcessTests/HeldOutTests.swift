// Held-out documents on real processes. In: workers that are killed, stops. Out: the same scores, weights and end of the run.
import Base
import Foundation
import Numerics
import Testing

@Suite(.serialized) struct HeldOutTests {
    private static let options = ["--held-out", "0.3", "--evaluate-every", "4", "--keep-models", "2", "-i", "5"]

    private func rows(_ output: String) -> [[String: Any]] {
        (FileManager.default.contents(atPath: "\(output)/log.jsonl") ?? Data()).split(separator: UInt8(ascii: "\n"))
            .compactMap { try? JSONSerialization.jsonObject(with: $0) as? [String: Any] }
    }

    private func evaluations(_ output: String) -> [[String]] {
        Events(output).of("evaluation").map { row in ["epoch", "nr_word", "loss", "best"].map { "\(row[$0] ?? "")" } }
    }

    @Test("scores, weights and files depend neither on the workers nor on kills and stops in the middle of an evaluation")
    func sameBits() throws {
        let alone = Scratch.path("out")
        let program = try Demo.pretrain(alone, ["--workers", "1"] + Self.options)
        #expect(program.wait() == 0, "\(program.output)")
        #expect(program.output.contains("411 held out") && program.output.contains("Held-out"))
        let files = Demo.results(alone)
        #expect(Set(files.keys) == ["log.jsonl", "model3.bin", "model4.bin", "model-best.bin", "model-last.bin"])
        #expect(files["model-last.bin"] == files["model4.bin"])
        let log = rows(alone)
        #expect(log.count == 6 && log.allSatisfy { $0["held_out_loss"] as? Double ?? 0 > 0 })
        let scores = evaluations(alone)
        #expect(scores.count == 5 * 7, "27 updates an epoch: after each 4th and at the end; \(scores)")
        // The log's are those of the epochs' ends.
        let last = Events(alone).of("evaluation").last?["loss"] as? Double
        #expect(last == log.last?["held_out_loss"] as? Double)

        let several = Scratch.path("out")
        let three = try Demo.pretrain(several, ["--workers", "3"] + Self.options)
        #expect(three.wait() == 0, "\(three.output)")
        #expect(Demo.results(several) == files && evaluations(several) == scores)

        // Scored after each update, half of the documents: most of the time is evaluation.
        let disturbed = Scratch.path("out")
        let often = ["--held-out", "0.5", "--evaluate-every", "1", "-i", "6"]
        let quiet = Scratch.path("out")
        #expect(try Demo.pretrain(quiet, ["--workers", "2"] + often).wait() == 0)
        let victim = try Demo.pretrain(disturbed, ["--workers", "2"] + often)
        victim.waitFor("worker 2 (")
        kill(try #require(victim.workers.first), SIGKILL)
        victim.waitFor("lost worker")
        #expect(victim.output.contains("lost worker"), "\(victim.output)")
        for _ in 0..<2 {
            usleep(100_000)
            if let worker = victim.workers.first { kill(worker, SIGKILL) }
        }
        victim.signal(SIGTERM)
        let status = victim.wait()
        #expect(status == 75 || status == 0, "\(victim.output)")
        if status == 75 { #expect(try Program("t2v-coordinator", ["resume", disturbed, "--workers", "3"]).wait() == 0) }
        #expect(Demo.results(disturbed) == Demo.results(quiet))
    }

    /// A worker elsewhere gets what it scores in messages and checks the digest: the averages have one of their own.
    @Test("workers elsewhere score the same, in float32 and in bf16, killed or not", arguments: [[], ["--wire-precision", "bf16"]])
    func remote(precision: [String]) throws {
        let options = ["--held-out", "0.2", "--evaluate-every", "5", "-i", "2", "--lanes", "4"] + precision
        let (here, there) = (Scratch.path("out"), Scratch.path("out"))
        let local = try Demo.pretrain(here, ["--workers", "1"] + options)
        #expect(local.wait() == 0, "\(local.output)")
        let program = try Demo.pretrain(
            there, ["--workers", "0", "--min-workers", "2", "--bind", "tcp://127.0.0.1:*", "--insecure"] + options)
        let endpoint = try program.endpoint()
        let workers = try (0..<3).map { _ in
            try Program("t2v-worker", ["--connect", endpoint, "--threads", "1", "--cache", Scratch.path("worker-cache")])
        }
        program.waitFor("training: epochs")
        workers[2].signal(SIGKILL)
        #expect(program.wait() == 0, "\(program.output)")
        for worker in workers.prefix(2) { #expect(worker.wait(seconds: 20) == 0 && !worker.output.contains("damaged"), "\(worker.output)") }
        #expect(Demo.results(there) == Demo.results(here) && evaluations(there) == evaluations(here))
    }

    @Test(
        "products in bf16: the same scores for one worker and two, one of which is killed",
        .enabled(if: (try? Arithmetic.bf16.checkHost()) != nil, "this CPU has no AVX512-BF16"))
    func halves() throws {
        let options = ["--held-out", "0.3", "--evaluate-every", "3", "-i", "3", "--lanes", "4", "--precision", "bf16"]
        let (alone, robbed) = (Scratch.path("out"), Scratch.path("out"))
        let first = try Demo.pretrain(alone, ["--workers", "1"] + options)
        #expect(first.wait() == 0, "\(first.output)")
        let second = try Demo.pretrain(robbed, ["--workers", "2"] + options)
        second.waitFor("worker 2 (")
        if let victim = second.workers.first { kill(victim, SIGKILL) }
        #expect(second.wait() == 0, "\(second.output)")
        #expect(Demo.results(robbed) == Demo.results(alone) && evaluations(robbed) == evaluations(alone))
    }

    @Test("a run ends when evaluations bring no improvement, and continues with more patience")
    func patience() throws {
        let output = Scratch.path("out")
        let options = ["--held-out", "0.1", "--evaluate-every", "2", "-i", "6", "--learn-rate", "0.5"]
        let program = try Demo.pretrain(output, ["--workers", "1", "--patience", "3"] + options)
        #expect(program.wait() == 0, "\(program.output)")
        #expect(program.output.contains("stopped early: 3 evaluations brought nothing better"), "\(program.output)")
        let scores = Events(output).of("evaluation").compactMap { $0["best"] as? Bool }
        #expect(scores.suffix(3) == [false, false, false] && scores.dropLast(3).last == true)
        #expect(Events(output).of("stopped").last?["status"] as? String == "early")
        let files = Demo.results(output)
        #expect(files["model-last.bin"] != nil && files["model-best.bin"] != files["model-last.bin"])

        let again = try Program("t2v-coordinator", ["resume", output])
        #expect(again.wait() == 0 && again.output.contains("the run has stopped early"), "\(again.output)")
        #expect(Demo.results(output) == files)
        let more = try Program("t2v-coordinator", ["resume", output, "--workers", "2", "--patience", "0"])
        #expect(more.wait() == 0, "\(more.output)")
        // As if there had been no patience option.
        let patient = Scratch.path("out")
        #expect(try Demo.pretrain(patient, ["--workers", "1"] + options).wait() == 0)
        let (left, whole) = (Demo.results(output), Demo.results(patient))
        #expect(left["model5.bin"] == whole["model5.bin"] && left["model-best.bin"] == whole["model-best.bin"])
        #expect(evaluations(output) == evaluations(patient))
    }

    @Test("a job holds out what its config says, and the real spaCy loads the best weights", .enabled(if: TestJob.isThere))
    func job() throws {
        let job = try TestJob.compile([
            "--pretraining.max_epochs", "2", "--t2v.held_out", "0.05", "--t2v.evaluate_every", "10", "--t2v.patience", "9",
            "--t2v.keep_models", "1",
        ])
        let outputs = try ["1", "3"].map { workers in
            let output = Scratch.path("out")
            let program = try TestJob.pretrain(job, output, ["--workers", workers, "--lanes", "4"])
            #expect(program.wait() == 0, "\(program.output)")
            return output
        }
        let files = Demo.results(outputs[0])
        #expect(Set(files.keys) == ["log.jsonl", "model1.bin", "model-best.bin", "model-last.bin"])
        #expect(Demo.results(outputs[1]) == files && evaluations(outputs[1]) == evaluations(outputs[0]))
        #expect(rows(outputs[0]).compactMap { $0["held_out_loss"] as? Double }.count == 3)
        let (loaded, text) = try TestJob.run([TestJob.script("job_load.py"), outputs[0]])
        #expect(loaded == 0 && text.contains("ok: 3 files, 3 lines"), "\(text)")
    }

    /// A job holds a hundredth out unless its config says no; of few documents, one; of one document, none: there must be something to
    /// train on.
    @Test("small corpora", .enabled(if: TestJob.isThere)) func smallCorpora() throws {
        let config = try String(contentsOfFile: TestJob.script("job_small.cfg"), encoding: .utf8)
        let plain = Scratch.path("job") + ".cfg"
        #expect(config.contains("[t2v]\nheld_out = 0\n"))
        try config.replacing("[t2v]\nheld_out = 0\n", with: "").write(toFile: plain, atomically: true, encoding: .utf8)
        let lines = try String(contentsOfFile: Demo.texts, encoding: .utf8).split(separator: "\n")
        for (texts, documents, message) in [
            (Array(lines.prefix(1)), 1, "nothing is held out"), (Array(repeating: lines[0], count: 3), 3, "nothing is held out"),
            (Array(lines.prefix(2)), 1, ", 1 held out"), (Array(lines.prefix(9)), 8, ", 1 held out"),
            (Array(lines.prefix(200)), 198, ", 2 held out"),
        ] {
            let (path, job, output) = (Scratch.path("texts") + ".jsonl", Scratch.path("job"), Scratch.path("out"))
            try (texts.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
            let (compiled, text) = try TestJob.run([
                "-m", "t2v", "compile", plain, job, "--paths.raw_text", path, "--corpora.pretrain.min_length", "1",
                "--corpora.pretrain.max_length", "0", "--pretraining.max_epochs", "2", "--verify", "0",
            ])
            try #require(compiled == 0, "\(text)")
            let program = try TestJob.pretrain(job, output, ["--workers", "1"])
            #expect(program.wait() == 0 && program.output.contains(message), "\(program.output)")
            #expect(program.output.contains("corpus: \(documents) document"), "\(program.output)")
            #expect(program.output.contains("the best weights are in model-best.bin") != message.contains("nothing"))
            #expect((Demo.results(output)["model-best.bin"] != nil) == !message.contains("nothing"))
            // Nothing is left to do, whether something was held out or not.
            let again = try Program("t2v-coordinator", ["resume", output])
            #expect(again.wait() == 0 && again.output.contains("the run is complete"), "\(again.output)")
        }
    }

    @Test("impossible settings are refused before anything is written")
    func refusals() throws {
        for (options, text) in [
            (["--patience", "3"], "need held-out documents"), (["--held-out", "0.9"], "held-out is 0.9"),
            (["--keep-models", "0"], "keep-models is 0"), (["--keep-models", "x"], "--keep-models is x"),
        ] {
            let output = Scratch.path("out")
            let program = try Demo.pretrain(output, options)
            #expect(program.wait() == 2 && program.output.contains(text), "\(program.output)")
            #expect(!FileManager.default.fileExists(atPath: output))
        }
    }
}
