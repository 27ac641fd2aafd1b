// How often each distinct word occurs in the corpus. In: prepared shards in their order. Out: the most frequent words.

/// Counts words over shards in bounded memory. Exact while the corpus has at most `limit` distinct words; beyond that the rarest half is
/// dropped each time the limit is passed, always at the same place: the result depends on the shards' order only.
public struct WordCounts {
    private struct Key: Hashable {
        var orth: UInt64
        var norm: UInt64
    }

    private var counts: [Key: (features: WordFeatures, count: UInt64)] = [:]
    private let limit: Int

    public init(limit: Int = 1_000_000) { self.limit = limit }

    /// Adds one shard's counts.
    public mutating func add(_ shard: PreparedShard) {
        for index in 0..<shard.wordCount where shard.counts[index] > 0 {
            let word = shard.word(index)
            counts[Key(orth: word.orth, norm: word.norm), default: (word, 0)].count += UInt64(shard.counts[index])
        }
        guard counts.count > limit else { return }
        let kept = mostFrequent(limit / 2)
        counts = Dictionary(uniqueKeysWithValues: kept.map { (Key(orth: $0.features.orth, norm: $0.features.norm), $0) })
    }

    /// The most frequent words; equally frequent ones by their ids.
    public func mostFrequent(_ number: Int) -> [(features: WordFeatures, count: UInt64)] {
        let sorted = counts.values.sorted { a, b in
            a.count != b.count ? a.count > b.count : (a.features.orth, a.features.norm) < (b.features.orth, b.features.norm)
        }
        return Array(sorted.prefix(number))
    }
}
