// How often each distinct word occurs in the corpus. In: prepared shards in their order. Out: the most frequent words.

/// Counts words over shards in bounded memory. Exact while the corpus has at most `limit` distinct words; beyond that the rarest half is
/// dropped each time the limit is passed, always at the same place: the result depends on the shards' order only.
public struct WordCounts {
    private var counts: [WordFeatures: UInt64] = [:]
    private let limit: Int

    /// - Parameter limit: distinct words that are counted exactly.
    public init(limit: Int = 1_000_000) { self.limit = limit }

    /// Adds one shard's counts, without those of some documents.
    public mutating func add(_ shard: PreparedShard, without heldOut: [UInt32] = []) {
        var left: [UInt32: UInt32] = [:]
        for document in heldOut {
            for place in Int(shard.starts[Int(document)])..<Int(shard.starts[Int(document) + 1]) {
                left[UInt32(shard.word(ofToken: place)), default: 0] += 1
            }
        }
        for index in 0..<shard.wordCount where shard.counts[index] > left[UInt32(index), default: 0] {
            counts[shard.word(index), default: 0] += UInt64(shard.counts[index] - left[UInt32(index), default: 0])
        }
        guard counts.count > limit else { return }
        let kept = mostFrequent(limit / 2)
        counts = Dictionary(uniqueKeysWithValues: kept.map { ($0.features, $0.count) })
    }

    /// The most frequent words; equally frequent ones by their ids.
    public func mostFrequent(_ number: Int) -> [(features: WordFeatures, count: UInt64)] {
        let sorted = counts.sorted { a, b in
            a.value != b.value ? a.value > b.value : a.key.ids.lexicographicallyPrecedes(b.key.ids)
        }
        return sorted.prefix(number).map { ($0.key, $0.value) }
    }
}
