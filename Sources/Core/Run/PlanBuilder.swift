// A run's plan from its prepared shards. In: shards, one after another. Out: words of each lane, updates, random words, the plan.
import Base
import Numerics
import Shards
import Text

/// Collects prepared shards in the corpus's order. A value: the same shards give the same plan.
package struct PlanBuilder {
    /// Numbers of documents that were kept or dropped, by reason.
    package struct Documents: Equatable, Sendable {
        package var kept = 0, heldOut = 0, empty = 0, tooShort = 0, tooLong = 0
    }

    private let wordsPerUpdate: Int
    private let shuffles: Bool
    private var counts = WordCounts()
    package private(set) var documents = Documents()
    /// Words of each lane that are trained on, and that are held out.
    package private(set) var laneWords: Numbered<LaneID, UInt64>
    package private(set) var heldOutWords: Numbered<LaneID, UInt64>
    private let heldOut: HeldOutDocuments
    private var planned: Numbered<ShardID, RunPlan.PlannedShard> = []

    package init(lanes: Int, wordsPerUpdate: Int, shuffles: Bool = true, heldOut: HeldOutDocuments = HeldOutDocuments()) {
        (self.wordsPerUpdate, self.shuffles, self.heldOut) = (wordsPerUpdate, shuffles, heldOut)
        laneWords = Numbered(repeatElement(0, count: lanes))
        heldOutWords = laneWords
    }

    /// Adds the next shard of the corpus.
    /// - Parameters:
    ///   - firstLine: number of its first line in the corpus.
    ///   - key: cache key.
    ///   - size: bytes of the prepared shard, with their digest.
    package mutating func add(_ shard: PreparedShard, lane: LaneID, firstLine: Int, key: CacheKey, size: UInt64, digest: ShardDigest) {
        let left = heldOut.documents(ofShard: planned.endIndex)
        let leftWords = left.reduce(UInt64(0)) { $0 + UInt64(shard.starts[Int($1) + 1] - shard.starts[Int($1)]) }
        counts.add(shard, without: left)
        laneWords[lane] += UInt64(shard.tokens.count) - leftWords
        heldOutWords[lane] += leftWords
        documents.kept += shard.documentCount - left.count
        documents.heldOut += left.count
        documents.empty += shard.emptyCount
        documents.tooShort += shard.tooShortCount
        documents.tooLong += shard.tooLongCount
        planned.append(.init(lane: lane, firstLine: UInt64(firstLine), key: key, byteCount: size, digest: digest))
    }

    /// The plan; nil when no document was kept.
    package func plan(maskWord: WordFeatures) -> RunPlan? {
        guard documents.kept > 0 else { return nil }
        let frequent = counts.mostFrequent(RandomWordTable.limit)
        let random = RandomWordTable(words: frequent.map(\.features), counts: frequent.map(\.count))
        let updates = UpdatePlan(laneWords: laneWords.elements, batchSize: wordsPerUpdate, shuffles: shuffles)
        return RunPlan(updates: updates, shards: planned, randomWords: random, maskWord: maskWord, heldOut: heldOut)
    }
}
