// Plans from prepared shards, and spaCy 3's log lines. In: small shards, numbers. Out: what workers are told, and text.
import TestSupport
import Testing

@testable import Base
@testable import Output
@testable import Run
@testable import Shards
@testable import Text

@Suite("Plan builder") struct PlanBuilderTests {
    static let schema = FeatureSchema(attributes: ["NORM", "SHAPE"], vectorsAttribute: nil, byteCount: 0)

    /// A shard of documents over words with ORTH 1, 2, 3 ...
    private func shard(_ documents: [[UInt32]], words: Int, tooShort: Int = 0) throws -> PreparedShard {
        var builder = PreparedShardBuilder(schema: Self.schema)
        for word in 0..<words { builder.add(word: WordFeatures(ids: [UInt64(word + 1), 7, 8])) }
        for (line, document) in documents.enumerated() { builder.add(line: line, words: document) }
        builder.tooShortCount = tooShort
        return try PreparedShard(bytes: builder.finish(), schema: Self.schema)
    }

    private let mask = WordFeatures(ids: [99, 1, 2])

    @Test("words are counted by lane and over shards, updates cover them, the order of the file can be kept")
    func plan() throws {
        var builder = PlanBuilder(lanes: 2, wordsPerUpdate: 3, shuffles: false)
        let keys = try [1, 3].map { try #require(CacheKey([UInt8](repeating: $0, count: 32))) }
        builder.add(
            try shard([[0, 1], [1, 1, 2]], words: 4, tooShort: 2), lane: 1, firstLine: 0, key: keys[0],
            size: 10, digest: ShardDigest(2))
        builder.add(try shard([[0]], words: 1), lane: 0, firstLine: 5, key: keys[1], size: 11, digest: ShardDigest(4))
        #expect(builder.documents == PlanBuilder.Documents(kept: 3, empty: 0, tooShort: 2, tooLong: 0))
        #expect(builder.laneWords == [1, 5])
        let plan = try #require(builder.plan(maskWord: mask))
        let encoded = String(decoding: try plan.encoded(), as: UTF8.self)
        #expect(plan.heldOut == nil && !encoded.contains("heldOut"))
        #expect(plan.updates.laneWords == [1, 5] && plan.updates.updatesPerEpoch == 2 && !plan.updates.shuffles)
        #expect(plan.shards.map(\.lane) == [1, 0] && plan.shards.map(\.firstLine) == [0, 5] && plan.shards.map(\.key) == keys)
        let words = try plan.words(schema: Self.schema, vectorRows: 0)
        // ORTH 1 twice, 2 three times, 3 once; 4 never occurs.
        #expect(words.random.words.map(\.orth) == [2, 1, 3] && words.random.counts == [3, 2, 1])
        #expect(words.mask.ids == mask.ids)
    }

    @Test("held-out documents are neither trained on nor counted, and the plan names them")
    func heldOut() throws {
        let held = HeldOutDocuments(parts: [.init(shard: 0, documents: [1])])
        var builder = PlanBuilder(lanes: 2, wordsPerUpdate: 3, heldOut: held)
        let key = try #require(CacheKey([UInt8](repeating: 1, count: 32)))
        builder.add(try shard([[0, 1], [1, 1, 2]], words: 4), lane: 1, firstLine: 0, key: key, size: 10, digest: ShardDigest(2))
        builder.add(try shard([[0]], words: 1), lane: 0, firstLine: 5, key: key, size: 11, digest: ShardDigest(4))
        #expect(builder.documents == PlanBuilder.Documents(kept: 2, heldOut: 1))
        #expect(builder.laneWords == [1, 2] && builder.heldOutWords == [0, 3])
        let plan = try #require(builder.plan(maskWord: mask))
        #expect(plan.heldOut == held && plan.updates.words == 3)
        let words = try plan.words(schema: Self.schema, vectorRows: 0)
        #expect(words.random.words.map(\.orth) == [1, 2] && words.random.counts == [2, 1])
    }

    @Test("without a document there is no plan")
    func nothing() throws {
        var builder = PlanBuilder(lanes: 1, wordsPerUpdate: 3)
        #expect(builder.plan(maskWord: mask) == nil)
        let key = try #require(CacheKey([UInt8](repeating: 1, count: 32)))
        builder.add(try shard([], words: 1, tooShort: 4), lane: 0, firstLine: 0, key: key, size: 1, digest: ShardDigest(1))
        #expect(builder.plan(maskWord: mask) == nil && builder.documents.tooShort == 4)
    }
}

@Suite("spaCy 3's log lines") struct SpacyLogLineTests {
    @Test(
        "numbers have at most ten decimals and at least one",
        arguments: [
            (44944.556640625, "44944.556640625"), (10592.0, "10592.0"), (1e-12, "0.0"), (-1e-12, "0.0"), (0.1, "0.1"),
            (1.0 / 3, "0.3333333333"), (1e10, "10000000000.0"), (.infinity, "null"),
        ])
    func numbers(value: Double, text: String) { #expect(SpacyLogLine.number(value) == text) }

    @Test("keys are in spaCy's order, followed by t2v's")
    func line() {
        let line = SpacyLogLine(words: 11269, loss: 44944.556640625, epochLoss: 10537.916015625, epoch: 1, more: [("own", "2.5")])
        #expect(line.text == #"{"nr_word":11269,"loss":44944.556640625,"epoch_loss":10537.916015625,"epoch":1,"own":2.5}"#)
    }
}
