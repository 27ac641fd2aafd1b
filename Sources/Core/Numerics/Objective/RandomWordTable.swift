// Random replacement words. In: the corpus's most frequent words with their counts. Out: a word drawn by corpus frequency.
import Text

/// Words that replace selected ones, drawn by corpus frequency. Fixed for a run: every worker holds the same table.
///
/// spaCy draws uniformly from whatever lexemes have a probability (2.3 `_ml.py`, `_RandomWords`): 492 tokenizer exceptions in a model
/// with vectors only. We mend that.
public struct RandomWordTable: Sendable, Equatable {
    /// Size that spaCy limits its table to.
    public static let limit = 10_000

    /// Most frequent first.
    public let words: [WordFeatures]
    /// Occurrences of each word in the corpus.
    public let counts: [UInt64]
    /// cumulative[i] = counts[0] + ... + counts[i].
    private let cumulative: [UInt64]

    /// Keeps the `limit` most frequent words; ties by ids, so that the order of the input is of no consequence. Words with count 0 are
    /// left out.
    public init(words: [WordFeatures], counts: [UInt64]) {
        precondition(words.count == counts.count)
        let order = words.indices.filter { counts[$0] > 0 }.sorted { left, right in
            let (a, b) = (words[left], words[right])
            if counts[left] != counts[right] { return counts[left] > counts[right] }
            return (a.orth, a.norm) < (b.orth, b.norm)
        }
        let kept = order.prefix(Self.limit)
        self.words = kept.map { words[$0] }
        self.counts = kept.map { counts[$0] }
        var total: UInt64 = 0
        cumulative = self.counts.map {
            total += $0
            return total
        }
    }

    /// The word for 64 uniform random bits, or nil when the table is empty.
    func word(bits: UInt64) -> WordFeatures? {
        guard let total = cumulative.last else { return nil }
        let target = bits.multipliedFullWidth(by: total).high
        var (low, high) = (0, cumulative.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > target { high = middle } else { low = middle + 1 }
        }
        return words[low]
    }
}
