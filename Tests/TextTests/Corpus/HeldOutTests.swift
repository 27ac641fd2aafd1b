import TestSupport
import Testing

@testable import Base
@testable import Shards
@testable import Text

/// Which documents are held out, and that they are not trained on.
@Suite struct HeldOutTests {
    private static let schema = FeatureSchema(attributes: ["NORM"], vectorsAttribute: nil, byteCount: 0)

    /// A shard of documents, each a list of words by their ORTH; NORM is the document's number, which is not content.
    private func shard(_ documents: [[UInt64]]) throws -> PreparedShard {
        var builder = PreparedShardBuilder(schema: Self.schema)
        for (line, document) in documents.enumerated() {
            let words = document.map { builder.add(word: WordFeatures(ids: [$0, UInt64(line)])) }
            builder.add(line: line, words: words)
        }
        return try PreparedShard(bytes: builder.finish(), schema: Self.schema)
    }

    /// The held-out documents of a corpus that is cut into shards of `size` documents, by their numbers in the corpus.
    private func chosen(_ documents: [[UInt64]], fraction: Double, size: Int) throws -> [Int]? {
        var chooser = HeldOutChooser(fraction: fraction)
        for (index, start) in stride(from: 0, to: documents.count, by: size).enumerated() {
            chooser.add(try shard(Array(documents[start..<min(documents.count, start + size)])), shard: ShardID(index))
        }
        return chooser.choose().map { $0.parts.flatMap { part in part.documents.map { part.shard.rawValue * size + Int($0) } } }
    }

    private func corpus(_ count: Int) -> [[UInt64]] { (0..<count).map { [UInt64($0) * 77, 5, UInt64($0 % 3)] } }

    @Test func shardsHaveNoSay() throws {
        let documents = corpus(1_000)
        let whole = try #require(try chosen(documents, fraction: 0.02, size: 1_000))
        #expect(whole.count == 20 && whole != Array(0..<20))
        for size in [1, 7, 100, 999] { #expect(try chosen(documents, fraction: 0.02, size: size) == whole) }
        // Others are held out if the content differs, and the order has no influence.
        #expect(try chosen(documents.map { $0 + [1] }, fraction: 0.02, size: 1_000) != whole)
        let reversed = try #require(try chosen(documents.reversed(), fraction: 0.02, size: 10))
        #expect(Set(reversed.map { 999 - $0 }) == Set(whole))
    }

    @Test func copiesStayTogether() throws {
        let once = corpus(300)
        let documents = once + once + once
        let found = try #require(try chosen(documents, fraction: 0.02, size: 50))
        #expect(found.count == 18, "six contents of three copies")
        for number in Set(found.map { $0 % 300 }) { #expect(found.filter { $0 % 300 == number }.count == 3) }
        // A content with too many copies is skipped.
        let crowded = once + [[UInt64]](repeating: [1, 2, 3], count: 700)
        let others = try #require(try chosen(crowded, fraction: 0.01, size: 50))
        #expect(others.count == 10 && others.allSatisfy { $0 < 300 })
    }

    @Test func thereIsAlwaysSomethingToTrainOnAndSomethingToScore() throws {
        #expect(try chosen(corpus(5), fraction: 0.001, size: 5)?.count == 1)
        #expect(try chosen(corpus(2), fraction: 0.5, size: 2)?.count == 1)
        #expect(try chosen(corpus(1), fraction: 0.5, size: 1) == nil)
        #expect(try chosen([[UInt64]](repeating: [1, 2], count: 9), fraction: 0.1, size: 4) == nil)
        // Nothing fits into one document: the content with the fewest copies.
        let pairs = corpus(3) + corpus(3) + corpus(3) + [[9], [9]]
        #expect(try chosen(pairs, fraction: 0.01, size: 20) == [9, 10])
    }

    @Test func atMostTwoThousandAreHeldOutHoweverManyThereAre() throws {
        let documents = corpus(30_000)
        let found = try #require(try chosen(documents, fraction: 0.5, size: 3_000))
        #expect(found.count == HeldOutChooser.mostDocuments)
        let whole = try shard(documents)
        let byHash = documents.indices.sorted { HeldOutChooser.hash(whole, $0) < HeldOutChooser.hash(whole, $1) }
        #expect(Set(found) == Set(byHash.prefix(HeldOutChooser.mostDocuments)))
    }

    @Test func aLaneReadsThemNeverAndScoresThemAll() throws {
        let documents = corpus(40)
        let shards = [try shard(Array(documents[..<25])), try shard(Array(documents[25...]))]
        let heldOut: [[UInt32]] = [[0, 3, 24], [14]]
        let sources = zip(shards, heldOut).enumerated().map { index, entry in
            LaneReader.Source(shard: entry.0, firstLine: UInt64(25 * index), heldOut: entry.1)
        }
        let plan = UpdatePlan(laneWords: [36 * 3], batchSize: 20)
        let reader = LaneReader(lane: 0, sources: sources, seed: 3, plan: plan)
        #expect(reader.words == 36 * 3)
        #expect(reader.heldOut.map(\.key) == [0, 3, 24, 39])
        for epoch in 0..<2 as Range<UInt64> {
            let read = (0..<plan.updatesPerEpoch).flatMap { reader.documents(epoch: epoch, update: $0).map(\.key) }
            #expect(read.sorted() == (0..<40).filter { ![0, 3, 24, 39].contains($0) })
        }
        // Nothing held out: the usual order.
        let all = LaneReader(
            lane: 0, sources: zip(shards, [0, 25]).map { LaneReader.Source(shard: $0, firstLine: $1) }, seed: 3,
            plan: UpdatePlan(laneWords: [120], batchSize: 20))
        #expect(all.words == 120 && all.heldOut.isEmpty)
    }

    @Test func theyAreNotCountedAmongTheWords() throws {
        let prepared = try shard([[1, 2, 2], [2, 3], [3, 4]])
        var counts = WordCounts()
        counts.add(prepared, without: [1])
        let found = counts.mostFrequent(10)
        // 1 once, 2 twice in the first document; 3 and 4 once in the last.
        let byWord = Dictionary(found.map { ($0.features.ids[0], $0.count) }, uniquingKeysWith: +)
        #expect(byWord == [1: 1, 2: 2, 3: 1, 4: 1])
    }

    @Test func placesAreChecked() {
        func parts(_ list: (ShardID, [UInt32])...) -> HeldOutDocuments {
            HeldOutDocuments(parts: list.map { .init(shard: $0.0, documents: $0.1) })
        }
        #expect(parts((0, [1, 2]), (3, [0])).isSound(shards: 4))
        #expect(!parts((0, [1, 2]), (4, [0])).isSound(shards: 4))
        #expect(!parts((-1, [1])).isSound(shards: 4))
        #expect(!parts((1, [1]), (1, [2])).isSound(shards: 4))
        #expect(!parts((1, [2, 2])).isSound(shards: 4))
        #expect(!parts((1, Array(0..<5_000))).isSound(shards: 4))
        #expect(parts((0, [1, 2]), (3, [0])).documents(ofShard: 3) == [0] && parts().documents(ofShard: 3) == [])
    }
}
