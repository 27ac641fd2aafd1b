// A run's plan from its prepared shards. In: shards, one after the other. Out: words of each lane, updates, random words, the plan.
import Base
import Numerics
import Text

/// Collects prepared shards in the corpus's order. A value: the same shards give the same plan.
package struct PlanBuilder {
    /// Documents by what became of them.
    package struct Documents: Equatable, Sendable {
        package var kept = 0, empty = 0, tooShort = 0, tooLong = 0
    }

    private let wordsPerUpdate: Int
    private let shuffles: Bool
    private var counts = WordCounts()
    package private(set) var documents = Documents()
    /// Kept words of each lane.
    package private(set) var laneWords: [UInt64]
    private var planned: [RunPlan.PlannedShard] = []

    package init(lanes: Int, wordsPerUpdate: Int, shuffles: Bool = true) {
        (self.wordsPerUpdate, self.shuffles) = (wordsPerUpdate, shuffles)
        laneWords = [UInt64](repeating: 0, count: lanes)
    }

    /// Adds the next shard of the corpus.
    /// - Parameters:
    ///   - firstLine: number of its first line in the corpus.
    ///   - key: cache key.
    ///   - size: bytes of the prepared shard, with their digest.
    package mutating func add(_ shard: PreparedShard, lane: Int, firstLine: Int, key: CacheKey, size: UInt64, digest: ShardDigest) {
        counts.add(shard)
        laneWords[lane] += UInt64(shard.tokens.count)
        documents.kept += shard.documentCount
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
        let updates = UpdatePlan(laneWords: laneWords, batchSize: wordsPerUpdate, shuffles: shuffles)
        return RunPlan(updates: updates, shards: planned, randomWords: random, maskWord: maskWord)
    }
}
