// Random replacement words. In: the corpus's most frequent words with their counts. Out: a word drawn by corpus frequency.
import Shards

/// Words that replace selected ones, drawn by corpus frequency. Fixed for a run: every worker holds the same table.
///
/// spaCy draws uniformly from whatever lexemes have a probability (2.3 `_ml.py`, `_RandomWords`; 3.8 `multi_task.py`): in a model with
/// vectors only, a few hundred tokenizer exceptions. t2v does not repeat that.
package struct RandomWordTable: Sendable, Equatable {
    /// Size that spaCy limits its table to.
    package static let limit = 10_000

    /// Most frequent first.
    package let words: [WordFeatures]
    /// Occurrences of each word in the corpus.
    package let counts: [UInt64]
    /// cumulative[i] = counts[0] + ... + counts[i].
    private let cumulative: [UInt64]

    /// Keeps the `limit` most frequent words; ties are broken by ids, so that the order of the input does not matter. Words with count 0
    /// are left out.
    package init(words: [WordFeatures], counts: [UInt64]) {
        precondition(words.count == counts.count)
        let order = words.indices.filter { counts[$0] > 0 }.sorted { left, right in
            if counts[left] != counts[right] { return counts[left] > counts[right] }
            return words[left].ids.lexicographicallyPrecedes(words[right].ids)
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

    /// The place of the word for 64 uniform random bits, or nil when the table is empty.
    func index(bits: UInt64) -> Int? {
        guard let total = cumulative.last else { return nil }
        let target = bits.multipliedFullWidth(by: total).high
        var (low, high) = (0, cumulative.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > target { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Words as plain numbers, for plans and checkpoints: per word its count, its ids, the number of its vector rows, the rows, and its bytes,
/// eight to a number with the first in the lowest bits.
package struct WordFigures: Sendable, Equatable {
    package private(set) var figures: [UInt64] = []

    package init() {}

    package mutating func append(_ word: WordFeatures, count: UInt64) {
        figures.append(count)
        figures += word.ids
        figures.append(UInt64(word.rows.count))
        figures += word.rows.map(UInt64.init)
        for start in stride(from: 0, to: word.bytes.count, by: 8) {
            let chunk = word.bytes[start..<min(start + 8, word.bytes.count)]
            figures.append(chunk.reversed().reduce(0) { $0 << 8 | UInt64($1) })
        }
    }

    /// - Returns: nil if the figures are not words of the schema.
    package static func decode(_ figures: [UInt64], schema: FeatureSchema) -> [(word: WordFeatures, count: UInt64)]? {
        var words: [(word: WordFeatures, count: UInt64)] = []
        let (columns, packed) = (schema.columns.count, (schema.byteCount + 7) / 8)
        var place = 0
        while place < figures.count {
            guard place + columns + 2 <= figures.count else { return nil }
            let count = figures[place]
            let ids = Array(figures[place + 1..<place + 1 + columns])
            let rowCount = figures[place + 1 + columns]
            place += columns + 2
            guard rowCount <= UInt64(figures.count), place + Int(rowCount) + packed <= figures.count else { return nil }
            let rows = figures[place..<place + Int(rowCount)]
            guard rows.allSatisfy({ $0 <= UInt32.max }) else { return nil }
            place += Int(rowCount)
            let bytes = (0..<schema.byteCount).map { UInt8(truncatingIfNeeded: figures[place + $0 / 8] >> UInt64(8 * ($0 % 8))) }
            place += packed
            words.append((WordFeatures(ids: ids, rows: rows.map(UInt32.init), bytes: bytes), count))
        }
        return words
    }
}

extension RandomWordTable {
    /// The table as numbers.
    package var figures: [UInt64] {
        var result = WordFigures()
        for (word, count) in zip(words, counts) { result.append(word, count: count) }
        return result.figures
    }

    /// - Returns: nil if the figures are not words of the schema.
    package init?(figures: [UInt64], schema: FeatureSchema) {
        guard let words = WordFigures.decode(figures, schema: schema) else { return nil }
        self.init(words: words.map(\.word), counts: words.map(\.count))
    }
}
