// When versions are scored, what the scores decide, and which weights are kept.
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Formats
@testable import Model
@testable import Output
@testable import Run
@testable import Text

@Suite("Evaluations") struct EvaluationTests {
    @Test("each epoch's end is scored, and within it updates at a fixed interval")
    func schedule() {
        func due(_ every: Int?, _ perEpoch: UInt64, words: UInt64 = 1_000) -> [UInt64] {
            let schedule = EvaluationSchedule(every: every, updatesPerEpoch: perEpoch, words: words)
            return (1...2 * perEpoch).filter { schedule.isDue(after: $0) }
        }
        #expect(due(nil, 5) == [5, 10])
        #expect(due(2, 5) == [2, 4, 5, 7, 9, 10])
        #expect(due(100, 5) == [5, 10])
        #expect(due(1, 2) == [1, 2, 3, 4])
        #expect(due(nil, 1_000, words: 50_000_000).count == 2)
        #expect(due(nil, 1_000, words: 50_000_001) == (1...40).map { $0 * 50 })
        #expect(due(nil, 7, words: 60_000_000) == Array(1...14))
    }

    @Test("the best is remembered, and how long there has been no better one")
    func history() {
        var history = EvaluationHistory()
        func add(_ update: Int, _ loss: Double?) -> Bool { history.add(.init(update: update, words: 10 * update, loss: loss)) }
        #expect(!history.isOver(patience: 1) && history.last == nil)
        #expect(add(1, 0.5))
        #expect(!add(2, 0.5), "the same is not better")
        #expect(!add(3, 0.7) && history.sinceBest == 2)
        #expect(history.isOver(patience: 2) && !history.isOver(patience: 3) && !history.isOver(patience: 0))
        #expect(add(4, 0.4) && history.best?.update == 4 && history.sinceBest == 0)
        #expect(!add(5, nil) && history.sinceBest == 0, "nothing was selected, nothing is judged")
        #expect(!add(6, .nan) && history.sinceBest == 1 && history.last?.loss == nil, "not a number is not better")
        #expect(history.scores.map(\.update) == Array(1...6))
        for update in 7..<1_100 { _ = add(update, 1) }
        #expect(history.scores.count == EvaluationHistory.length && history.last?.update == 1_099 && history.best?.update == 4)
    }

    @Test("a checkpoint remembers them; an older one has none")
    func checkpoint() throws {
        var state = CheckpointState()
        let plain = String(decoding: try JSONEncoder().encode(state), as: UTF8.self)
        #expect(!plain.contains("evaluations"))
        var history = EvaluationHistory()
        _ = history.add(.init(update: 3, words: 4, loss: 0.25))
        _ = history.add(.init(update: 6, words: 8, loss: nil))
        state.evaluations = history
        #expect(try JSONDecoder().decode(CheckpointState.self, from: JSONEncoder().encode(state)) == state)
        #expect(try JSONDecoder().decode(CheckpointState.self, from: Data(plain.utf8)).evaluations == nil)
    }

    @Test("settings that contradict each other are refused by name")
    func options() throws {
        func message(_ change: (inout RunOptions) -> Void) -> String {
            var options = RunOptions(textsLoc: "", vectorsModel: "", outputDir: "", settings: TrainingSettings())
            change(&options)
            do throws(InputError) {
                try options.validateEvaluation()
                return ""
            } catch {
                return error.what
            }
        }
        #expect(message { _ in } == "")
        #expect(message { ($0.heldOut, $0.patience, $0.evaluateEvery, $0.keepModels) = (0.01, 3, 10, 2) } == "")
        #expect(message { $0.patience = 3 }.contains("held-out"))
        #expect(message { $0.evaluateEvery = 3 }.contains("held-out"))
        #expect(message { $0.heldOut = 0.6 } == "held-out is 0.6")
        #expect(message { $0.heldOut = -1 } == "held-out is -1.0")
        #expect(message { ($0.heldOut, $0.evaluateEvery) = (0.1, 0) } == "evaluate-every is 0")
        #expect(message { ($0.heldOut, $0.patience) = (0.1, -2) } == "patience is -2")
        #expect(message { $0.keepModels = 0 } == "keep-models is 0")
        var options = RunOptions(textsLoc: "", vectorsModel: "", outputDir: "", settings: TrainingSettings())
        let before = try options.encoded()
        #expect(!before.contains("held_out") && !before.contains("patience"))
        (options.heldOut, options.patience) = (0.01, 3)
        #expect(try RunOptions.decode(try options.encoded(), place: "") == options)
    }

    @Test("only the run's own weights are removed, and the last ones stay")
    func keptModels() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        let folder = try OutputFolder(path)
        try folder.begin(files: [], spool: nil)
        for epoch in 0..<5 { try folder.writeModel([1], epoch: epoch, temporary: false) }
        for epoch in [1, 4] { try folder.writeModel([1], epoch: epoch, temporary: true) }
        try folder.write([1], to: "model-best.bin")
        // Files that are not t2v's.
        for name in ["model00.bin", "model9.bin", "modelx.bin"] { try Data([2]).write(to: URL(filePath: "\(path)/\(name)")) }
        func left() -> Set<String> { Set((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).subtracting(["t2v"]) }
        let others: Set = ["model00.bin", "model9.bin", "modelx.bin", "model-best.bin"]
        // A run resumed before epoch 3: later files stay until they are overwritten.
        try folder.removeModels(before: 3, keep: 2)
        #expect(left() == others.union(["model2.bin", "model3.bin", "model4.bin", "model4.temp.bin"]))
        try folder.removeModels(before: 4, keep: 1)
        #expect(left() == others.union(["model4.bin", "model4.temp.bin"]))
        try folder.removeModels(before: 4, keep: 3)
        #expect(left().count == 6)
        #expect(throws: InputError.self) { try folder.claim("model9.bin") }
    }
}
