// Small decisions of a run: when a checkpoint is due, how many cores, workers and lanes, what is shown.
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Model
@testable import Output
@testable import Run

@Suite("Policy of a run") struct PolicyTests {
    @Test func checkpoints() {
        var cadence = CheckpointCadence(everySeconds: 10)
        #expect(!cadence.isDue(at: 1_000_000, filesWaiting: 0))
        cadence.taken(at: 5_000)
        #expect(!cadence.isDue(at: 14_999, filesWaiting: 0))
        #expect(cadence.isDue(at: 15_000, filesWaiting: 0))
        #expect(!cadence.isDue(at: 15_000, filesWaiting: 1))
        cadence.taken(at: 15_000)
        #expect(!cadence.isDue(at: 20_000, filesWaiting: 0))
    }

    @Test func faultsThatMayPass() {
        var patience = Patience(seconds: 60)
        let events: [(failed: Bool, time: Milliseconds)] = [
            (true, 1_000), (true, 60_999), (false, 61_000), (true, 62_000), (true, 122_000),
        ]
        #expect(events.map { patience.note(failed: $0.failed, at: $0.time) } == [false, false, false, false, true])
    }

    @Test(
        arguments: [
            (64, nil, 64), (64, 2.0, 2), (64, 1.5, 2), (64, 0.3, 1), (2, 16.0, 2), (0, nil, 1), (8, Double.infinity, 8),
        ] as [(Int, Double?, Int)]) func cores(affinity: Int, quota: Double?, cores: Int)
    {
        #expect(CoreBudget(affinity: affinity, quota: quota).cores == cores)
    }

    @Test func quotas() {
        #expect(ControlGroup.quota(cpuMax: "max 100000") == nil)
        #expect(ControlGroup.quota(cpuMax: "150000 100000") == 1.5)
        #expect(ControlGroup.quota(cpuMax: "0 100000") == nil)
        #expect(ControlGroup.quota(cpuMax: "") == nil)
        #expect(CoreBudget.ofThisProcess().cores >= 1)
    }

    /// A container or a Slurm job is limited by a group above its own, as often as by its own.
    @Test(
        arguments: [
            (["cpu.max": "max 100000"], nil), (["cpu.max": "max 100000", "job/cpu.max": "350000 100000"], 3.5),
            (["job/cpu.max": "400000 100000", "job/step/cpu.max": "800000 100000"], 4), (["job/step/cpu.max": "50000 100000"], 0.5),
            (["other/cpu.max": "100000 100000"], nil),
        ] as [([String: String], Double?)]) func quotaOfAGroup(files: [String: String], quota: Double?) throws
    {
        let folder = try TemporaryFolder()
        let root = folder.path
        func write(_ text: String, _ path: String) throws {
            let path = "\(root)/\(path)"
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: path, atomically: false, encoding: .utf8)
        }
        // A host may have groups of both versions: only 0:: is version 2.
        try write("1:cpu:/other\n0::/job/step\n", "proc/self/cgroup")
        for (path, text) in files { try write(text + "\n", "sys/fs/cgroup/" + path) }
        #expect(ControlGroup.cpuQuota(root: root) == quota)
    }

    /// cores, workers, threads, lanes, fixed, words -> workers, threads, lanes, the last note.
    struct Case: Sendable {
        var (cores, workers, threads, lanes): (Int, Int?, Int?, Int?)
        var fixed = false
        var words = 3000
        var expected: (Int, Int, Int)
        var note: String
    }

    @Test(arguments: [
        Case(cores: 2, workers: nil, threads: nil, lanes: nil, expected: (1, 2, 4), note: "using 2 of 2 cores"),
        Case(cores: 1, workers: nil, threads: nil, lanes: nil, expected: (1, 1, 4), note: "using 1 of 1 core"),
        Case(cores: 64, workers: nil, threads: nil, lanes: nil, words: 100_000, expected: (1, 64, 128), note: "using 64 of 64 cores"),
        Case(
            cores: 64, workers: nil, threads: nil, lanes: nil, expected: (1, 46, 46),
            note: "using 46 of 64 cores; larger updates (-bs 4096) would use more"),
        Case(cores: 8, workers: 8, threads: nil, lanes: nil, expected: (8, 1, 8), note: "using 8 of 8 cores"),
        Case(cores: 2, workers: 8, threads: nil, lanes: nil, expected: (8, 1, 8), note: "using 2 of 2 cores"),
        Case(
            cores: 64, workers: 4, threads: nil, lanes: nil, expected: (4, 1, 4),
            note: "using 4 of 64 cores; --lanes 64 --workers 64 would use more"),
        Case(
            cores: 64, workers: nil, threads: nil, lanes: 4, expected: (1, 4, 4),
            note: "using 4 of 64 cores; --lanes 64 would use more"),
        Case(
            cores: 64, workers: nil, threads: nil, lanes: 4, fixed: true, expected: (1, 4, 4),
            note: "using 4 of 64 cores; this run has 4 lanes, and no setting uses more"),
        Case(cores: 8, workers: 2, threads: nil, lanes: 8, expected: (2, 1, 8), note: "using 2 of 8 cores; --workers 8 would use more"),
        Case(cores: 8, workers: nil, threads: 2, lanes: nil, expected: (4, 2, 16), note: "using 8 of 8 cores"),
        Case(
            cores: 8, workers: nil, threads: 64, lanes: 4, expected: (1, 4, 4),
            note: "using 4 of 8 cores; --lanes 8 --workers 2 would use more"),
        Case(
            cores: 8, workers: nil, threads: nil, lanes: nil, words: 10, expected: (1, 4, 4),
            note: "using 4 of 8 cores; larger updates (-bs 512) would use more"),
        Case(
            cores: 2, workers: 2, threads: nil, lanes: 1, expected: (1, 1, 1),
            note: "using 1 of 2 cores; --lanes 2 --workers 2 would use more"),
    ]) func placement(example: Case) {
        let placement = Placement(
            cores: example.cores, workers: example.workers, threads: example.threads, lanes: example.lanes, lanesAreFixed: example.fixed,
            batchSize: example.words)
        #expect((placement.workers, placement.threads, placement.lanes) == example.expected)
        #expect(placement.notes.last == example.note)
    }

    @Test func workersThatNoLaneFeeds() {
        let placement = Placement(cores: 64, workers: 64, threads: nil, lanes: 4, lanesAreFixed: false, batchSize: 3000)
        #expect(placement.workers == 4)
        #expect(placement.notes.first == "64 workers were asked for, but 4 lanes feed only 4; --lanes 64 would feed them")
        let none = Placement(cores: 64, workers: 0, threads: nil, lanes: nil, lanesAreFixed: false, batchSize: 3000)
        #expect(none.workers == 0 && none.lanes == 4 && none.notes.isEmpty)
    }

    @Test func updatesThatStarveTheCores() {
        func hint(cores: Int, words: Int, workers: Int? = nil, fixed: Bool = false) -> String? {
            Placement(cores: cores, workers: workers, threads: nil, lanes: fixed ? cores : nil, lanesAreFixed: fixed, batchSize: words)
                .hint(batchSize: words, setting: "--batch-size")
        }
        #expect(hint(cores: 16, words: 3000)?.contains("3000 words of an update") == true)
        #expect(hint(cores: 16, words: 3000)?.contains("--batch-size 8000 with --scale-learn-rate") == true)
        #expect(hint(cores: 9, words: 3000)?.contains("--batch-size 5000 ") == true)
        #expect(hint(cores: 95, words: 30_000)?.contains("--batch-size 48000 would") == true)
        // Below 3,000 words, scaling would lower the rate.
        #expect(hint(cores: 4, words: 1000)?.contains("--batch-size 2000 would") == true)
        #expect(hint(cores: 16, words: 8000) == nil && hint(cores: 4, words: 3000) == nil && hint(cores: 1, words: 100) == nil)
        // Only the cores in use count, and a resumed run keeps its size.
        #expect(hint(cores: 16, words: 3000, workers: 4) == nil && hint(cores: 16, words: 3000, workers: 0) == nil)
        #expect(hint(cores: 16, words: 3000, fixed: true) == nil)
    }

    @Test func ratesThatAreScaledTooMuch() {
        func warning(words: Int, isScaled: Bool?, _ objective: ModelSpec.Objective) -> String? {
            var settings = TrainingSettings()
            settings.batchSize = words
            var options = RunOptions(textsLoc: "t", vectorsModel: "v", outputDir: "o", settings: settings)
            options.scaleLearnRate = isScaled
            return options.scalingWarning(objective)
        }
        let characters = ModelSpec.Objective.characters(.init(bytes: 4, hidden: 64, pieces: 3, headDropout: false, loss: .linear))
        let expected = "with updates of 48000 words --scale-learn-rate learned less"
        #expect(warning(words: 48_000, isScaled: true, characters)?.contains(expected) == true)
        #expect(warning(words: 47_999, isScaled: true, characters) == nil && warning(words: 48_000, isScaled: nil, characters) == nil)
        #expect(warning(words: 48_000, isScaled: true, ModelSpec.spacy2(TrainingSettings()).objective) == nil)
    }

    @Test func modelsThatDoNotFit() throws {
        let budget = MemoryBudget(host: 8_000_000_000, limit: nil)
        try budget.require(parameters: 166_666_666)
        #expect(throws: InputError.self) { try budget.require(parameters: 166_666_667) }
        let error = #expect(throws: InputError.self) { try budget.require(parameters: 1_000_000_000) }
        #expect(error?.what == "a model of 1,000,000,000 parameters needs 48.0 GB of memory, and there are 8.0 GB")
        #expect(throws: InputError.self) { try budget.require(parameters: .max) }
        #expect(MemoryBudget(host: 8, limit: 4).bytes == 4)
        try MemoryBudget.ofThisHost().require(parameters: 1000)
    }

    private var figures: ProgressFigures {
        var figures = ProgressFigures()
        (figures.epoch, figures.lastEpoch, figures.words, figures.totalWords) = (3, 999, 12_345_678_901, 999_999_999_999)
        (figures.wordsPerSecond, figures.totalLoss, figures.epochLoss, figures.workers) = (123_456, 98_765.43, 0.51236, 64)
        return figures
    }

    @Test(arguments: 0...120) func liveLinesFit(width: Int) {
        let line = figures.liveLine(width: width)
        #expect(line.count <= width)
        #expect(!line.unicodeScalars.contains { $0.value < 0x20 })
        if width >= 11 { #expect(line.hasPrefix("epoch 3/999")) }
        if width >= 79 { for part in ["loss 0.5124", "123,456 words/s", "left"] { #expect(line.contains(part)) } }
    }

    /// The most important parts stay, and the last column of the terminal is free.
    @Test func tablesFit() {
        var scored = figures
        (scored.holdsOut, scored.heldOutLoss) = (true, 0.5)
        for (figures, width, columns) in [
            (figures, 49, "  #      # Words     Loss       w/s"), (figures, 29, "  #      # Words     Loss"), (figures, 20, "  #     Loss"),
            (scored, 59, "  #      # Words     Loss       w/s  Held-out"), (scored, 39, "  #      # Words     Loss  Held-out"),
            (scored, 29, "  #     Loss  Held-out"), (scored, 3, "  #"),
        ] {
            #expect(figures.columns(width: width) == columns && columns.count <= width)
            #expect(figures.row(width: width).count == columns.count)
        }
        #expect(scored.row(width: 29) == "  3   0.5124    0.5000")
    }

    @Test func rowsAndNumbers() {
        #expect(figures.columns(width: .max) == "  #      # Words     Total Loss     Loss       w/s")
        #expect(figures.row(width: .max) == "  3  12345678901        98765.4   0.5124    123456")
        #expect(!figures.json(event: "epoch").contains("held_out"))
        var scored = figures
        scored.holdsOut = true
        #expect(scored.columns(width: .max) == "  #      # Words     Total Loss     Loss       w/s  Held-out")
        #expect(scored.row(width: .max) == "  3  12345678901        98765.4   0.5124    123456         -")
        #expect(scored.json(event: "epoch").contains(",\"held_out_loss\":null,"))
        scored.heldOutLoss = 0.50006
        #expect(scored.row(width: .max) == "  3  12345678901        98765.4   0.5124    123456    0.5001")
        #expect(scored.json(event: "epoch").contains(",\"held_out_loss\":0.50006,"))
        #expect(scored.liveLine(width: 120).contains("held-out 0.5001"))
        #expect(ProgressText.fixed(-0.00001, 2) == "0.00" && ProgressText.fixed(-1.005, 1) == "-1.0" && ProgressText.fixed(0.5, 0) == "1")
        #expect(ProgressText.fixed(.nan, 2) == "nan" && ProgressText.fixed(1e300, 2) == "1e+300")
        #expect(ProgressText.grouped(1_234_567) == "1,234,567" && ProgressText.grouped(12) == "12")
        #expect(ProgressText.count(1, "update") == "1 update" && ProgressText.count(0, "update") == "0 updates")
        #expect(
            ProgressText.duration(9.9) == "9 s" && ProgressText.duration(3_700) == "1 h 1 min"
                && ProgressText.duration(.infinity) == "years")
        #expect(ProgressText.quoted("a\"\\\n\u{1B}") == "\"a\\\"\\\\\\n\\u001b\"")
        #expect(figures.json(event: "epoch").hasPrefix("{\"event\":\"epoch\",\"epoch\":3,\"last_epoch\":999,"))
    }

    @Test func speed() {
        var speed = WordSpeed()
        #expect(speed.wordsPerSecond == 0)
        for second in 0...30 { speed.add(words: UInt64(second * 100), at: Milliseconds(second * 1000)) }
        #expect(speed.wordsPerSecond == 100)
    }
}
