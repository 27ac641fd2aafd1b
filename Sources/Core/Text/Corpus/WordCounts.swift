// How often each distinct word occurs in the corpus. In: prepared shards in their order. Out: the most frequent words.
import Base
import Shards

/// Counts words over shards in bounded memory. Exact while the corpus has at most `limit` distinct words; beyond that the rarest half is
/// dropped each time the limit is passed, always at the same point: the result depends on the shards' order only.
///
/// A shard of a large corpus has a hundred thousand distinct words, and every start of a run counts all shards: words are in flat arrays,
/// not in objects of their own.
public struct WordCounts {
    private let limit: Int
    private var words = Words()
    /// Numbers of words by their hashes, with open addressing; `Self.free`: none. At least half of the places are free.
    private var places: [UInt32] = [UInt32](repeating: free, count: 1 << 12)
    private static let free = UInt32.max

    /// - Parameter limit: distinct words that are counted exactly.
    public init(limit: Int = 1_000_000) { self.limit = limit }

    /// Adds one shard's counts, without those of some documents. All shards have the same schema.
    public mutating func add(_ shard: PreparedShard, without heldOut: [UInt32] = []) {
        var left = [UInt32](repeating: 0, count: heldOut.isEmpty ? 0 : shard.wordCount)
        for document in heldOut {
            for place in Int(shard.starts[Int(document)])..<Int(shard.starts[Int(document) + 1]) { left[shard.word(ofToken: place)] += 1 }
        }
        if words.count == 0 { (words.columns, words.byteCount) = (shard.columns, shard.words.byteCount) }
        for index in 0..<shard.wordCount {
            let count = shard.counts[index] - (heldOut.isEmpty ? 0 : left[index])
            if count > 0 { add(word: index, of: shard.words, count: UInt64(count)) }
        }
        guard words.count > limit else { return }
        words = words.only(words.mostFrequent(limit / 2))
        place(roomFor: words.count)
    }

    private mutating func add(word index: Int, of block: WordBlock, count: UInt64) {
        var place = Int(truncatingIfNeeded: Words.hash(block.ids + index, stride: block.count, columns: words.columns)) & (places.count - 1)
        while places[place] != Self.free {
            let known = Int(places[place])
            if words.isWord(known, index, of: block) {
                words.counts[known] += count
                return
            }
            place = (place + 1) & (places.count - 1)
        }
        places[place] = UInt32(words.count)
        words.append(index, of: block, count: count)
        if 2 * words.count > places.count { self.place(roomFor: 2 * words.count) }
    }

    /// Builds the table again, for at least this many words.
    private mutating func place(roomFor number: Int) {
        var size = 1 << 12
        while size < 2 * number { size *= 2 }
        places = [UInt32](repeating: Self.free, count: size)
        for word in 0..<words.count {
            var place = Int(truncatingIfNeeded: words.hash(word)) & (size - 1)
            while places[place] != Self.free { place = (place + 1) & (size - 1) }
            places[place] = UInt32(word)
        }
    }

    /// The most frequent words; equally frequent ones in the order of their ids.
    public func mostFrequent(_ number: Int) -> [(features: WordFeatures, count: UInt64)] {
        words.sorted(words.mostFrequent(number)).map { (words.features($0), words.counts[$0]) }
    }
}

/// Distinct words with their counts, word by word.
private struct Words {
    var columns = 0
    var byteCount = 0
    /// `columns` numbers a word.
    private var ids: [UInt64] = []
    private var rowStarts: [Int] = [0]
    private var rows: [UInt32] = []
    /// `byteCount` for each word.
    private var bytes: [UInt8] = []
    var counts: [UInt64] = []

    var count: Int { counts.count }

    /// Hash of `columns` ids that are `stride` apart.
    static func hash(_ first: UnsafePointer<UInt64>, stride: Int, columns: Int) -> UInt64 {
        var hash: UInt64 = 0
        for column in 0..<columns { hash = (hash << 5 | hash >> 59 ^ first[column * stride]) &* 0x9E37_79B9_7F4A_7C15 }
        return Philox.mix(hash)
    }

    func hash(_ word: Int) -> UInt64 {
        ids.withUnsafeBufferPointer { ids in ids.baseAddress.map { Self.hash($0 + word * columns, stride: 1, columns: columns) } ?? 0 }
    }

    /// Whether the ids are the same.
    func isWord(_ word: Int, _ index: Int, of block: WordBlock) -> Bool {
        for column in 0..<columns where ids[word * columns + column] != block.ids[column * block.count + index] { return false }
        return true
    }

    mutating func append(_ index: Int, of block: WordBlock, count: UInt64) {
        for column in 0..<columns { ids.append(block.ids[column * block.count + index]) }
        for place in Int(block.rowStarts[index])..<Int(block.rowStarts[index + 1]) { rows.append(block.rows[place]) }
        rowStarts.append(rows.count)
        for byte in 0..<byteCount { bytes.append(block.bytes[index * byteCount + byte]) }
        counts.append(count)
    }

    func features(_ word: Int) -> WordFeatures {
        WordFeatures(
            ids: Array(ids[word * columns..<(word + 1) * columns]), rows: Array(rows[rowStarts[word]..<rowStarts[word + 1]]),
            bytes: Array(bytes[word * byteCount..<(word + 1) * byteCount]))
    }

    /// Numbers of the most frequent words, in no particular order; of equally frequent ones, those whose ids come first.
    func mostFrequent(_ number: Int) -> [Int] {
        guard number < count else { return Array(0..<count) }
        guard number > 0 else { return [] }
        let least = counts.sorted(by: >)[number - 1]
        let above = counts.indices.filter { counts[$0] > least }
        // There may be a million words that occur once: the first ids alone tell nearly all of them apart.
        let level = counts.indices.filter { counts[$0] == least }
        let room = number - above.count
        let last = level.map { ids[$0 * columns] }.sorted()[room - 1]
        let before = level.filter { ids[$0 * columns] < last }
        return above + before + sorted(level.filter { ids[$0 * columns] == last }).prefix(room - before.count)
    }

    /// Words in the order of their counts, the greatest first; equally frequent ones by their ids.
    func sorted(_ numbers: [Int]) -> [Int] {
        numbers.sorted { a, b in
            guard counts[a] == counts[b] else { return counts[a] > counts[b] }
            return ids[a * columns..<(a + 1) * columns].lexicographicallyPrecedes(ids[b * columns..<(b + 1) * columns])
        }
    }

    /// These words alone.
    func only(_ numbers: [Int]) -> Words {
        var kept = Words()
        (kept.columns, kept.byteCount) = (columns, byteCount)
        for word in numbers {
            kept.ids += ids[word * columns..<(word + 1) * columns]
            kept.rows += rows[rowStarts[word]..<rowStarts[word + 1]]
            kept.rowStarts.append(kept.rows.count)
            kept.bytes += bytes[word * byteCount..<(word + 1) * byteCount]
            kept.counts.append(counts[word])
        }
        return kept
    }
}
