import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Model
@testable import Numerics
@testable import Run
@testable import Shards
@testable import Text

/// A plan and a description that a coordinator sent: those that pass are safe to use.
@Suite struct RunPlanTests {
    private static let settings: TrainingSettings = {
        var settings = TrainingSettings()
        (settings.lanes, settings.batchSize, settings.vectorRows) = (2, 100, 50)
        return settings
    }()

    private static let plan: RunPlan = {
        let word = WordFeatures(ids: [1, 2, 3, 4, 5], rows: [49])
        let shards = (0..<3).map { index in
            RunPlan.PlannedShard(
                lane: LaneID(index % 2), firstLine: UInt64(10 * index), key: CacheKey(repeating: UInt8(index)), byteCount: 500,
                digest: ShardDigest(9))
        }
        return RunPlan(
            updates: UpdatePlan(laneWords: [150, 101], batchSize: 100), shards: Numbered(shards),
            randomWords: RandomWordTable(words: [word], counts: [7]), maskWord: word)
    }()

    private func refused(_ change: (inout RunPlan) -> Void) throws -> Bool {
        var plan = Self.plan
        change(&plan)
        let bytes = try plan.encoded()
        guard let decoded = try? RunPlan.decode(bytes, settings: Self.settings) else { return true }
        return (try? decoded.words(schema: .spacy2, vectorRows: Self.settings.vectorRows)) == nil
    }

    @Test func aPlanComesThrough() throws {
        let decoded = try RunPlan.decode(try Self.plan.encoded(), settings: Self.settings)
        #expect(decoded.updates == Self.plan.updates && decoded.shards == Self.plan.shards)
        #expect(decoded.randomWordFigures == Self.plan.randomWordFigures && decoded.maskWordFigures == Self.plan.maskWordFigures)
    }

    @Test func impossiblePlansAreRefused() throws {
        #expect(try refused { $0.updates.laneWords = [150] })
        #expect(try refused { $0.updates.laneWords = [.max, .max] })
        #expect(try refused { $0.updates.laneWords = [0, 0] })
        #expect(try refused { $0.updates = UpdatePlan(laneWords: [0, 0], batchSize: 100) }, "no update: epochs would be divided by zero")
        #expect(try refused { $0.updates.updatesPerEpoch = 0 })
        #expect(try refused { $0.updates.updatesPerEpoch = .max })
        #expect(try refused { $0.updates.updatesPerEpoch = 4 })
        #expect(try refused { $0.shards[1].lane = 2 })
        #expect(try refused { $0.shards[1].lane = -1 })
        #expect(try refused { $0.shards[1].firstLine = 0 })
        #expect(try refused { $0.shards[2].firstLine = .max })
        #expect(try refused { $0.shards[1].byteCount = 0 })
        #expect(try refused { $0.shards[1].byteCount = .max })
        #expect(try !refused { $0.heldOut = HeldOutDocuments(parts: [.init(shard: 2, documents: [0, 7])]) })
        #expect(try refused { $0.heldOut = HeldOutDocuments(parts: [.init(shard: 3, documents: [0])]) })
        #expect(try refused { $0.heldOut = HeldOutDocuments(parts: [.init(shard: 1, documents: [1, 0])]) })
        #expect(try refused { $0.randomWordFigures.removeLast() })
        // Per word: count, five ids, the number of its rows, the rows.
        #expect(try refused { $0.randomWordFigures[7] = 50 })
        #expect(try refused { $0.randomWordFigures[7] = UInt64(bitPattern: -2) })
        #expect(try refused { $0.randomWordFigures[6] = .max })
        #expect(
            try refused {
                $0.randomWordFigures += $0.randomWordFigures; $0.randomWordFigures[0] = .max
            })
        #expect(try refused { $0.maskWordFigures[7] = 1 << 40 })
        #expect(try refused { $0.maskWordFigures = [] })
        let text = String(decoding: try Self.plan.encoded(), as: UTF8.self)
        for key in ["00", String(repeating: "g", count: 64), ""] {
            let changed = text.replacing(String(repeating: "01", count: 32), with: key)
            #expect(changed != text && (try? RunPlan.decode(Array(changed.utf8), settings: Self.settings)) == nil, "key \(key)")
        }
        #expect((try? RunPlan.decode([], settings: Self.settings)) == nil)
    }

    @Test func impossibleDescriptionsAreRefused() throws {
        let good = RunDescription(
            settings: Self.settings, spec: .spacy2(Self.settings), modelFiles: [.init(name: "vocab/strings.json", byteCount: 9)],
            modelDigest: "ab12")
        #expect(try RunDescription.decode(try good.encoded()).modelFiles == good.modelFiles)
        func refused(_ change: (inout RunDescription) -> Void) throws -> Bool {
            var description = good
            change(&description)
            return (try? RunDescription.decode(try description.encoded())) == nil
        }
        for name in ["", "/etc/passwd", "../x", "a/../../x", "a\0b"] { #expect(try refused { $0.modelFiles[0].name = name }, "\(name)") }
        #expect(try refused { $0.modelFiles[0].byteCount = .max })
        #expect(try refused { $0.modelFiles += $0.modelFiles })
        for digest in ["", "../x", "abc", "ａｂ", String(repeating: "a", count: 66)] { #expect(try refused { $0.modelDigest = digest }) }
        #expect(try refused { $0.settings.vectorRows = .max })
        #expect(try refused { $0.settings.lanes = 5_000 })
        #expect(try refused { $0.settings.vectorWidth = 7 }, "the model reads rows of another width")
        #expect(try refused { $0.spec.width = 1 << 40 })
        #expect((try? RunDescription.decode("{}")) == nil)
        var infinite = good
        infinite.settings.optimizer.epsilon = .infinity
        #expect(throws: InputError.self, "there is no JSON for it") { try infinite.encoded() }
    }
}
