// Made-up documents, the same everywhere. In: a number of words. Out: documents and vectors for fingerprint and profile.
import Base
import Model
import Shards

/// Made-up documents and vectors that are the same everywhere. The statistics are roughly those of reviews: a third of the words of 3,000
/// are unique.
package final class CannedCorpus: VectorRows {
    /// The given spec, but with targets for words without a vector.
    package let spec: ModelSpec
    package let maskWord: WordFeatures
    package let randomWords: RandomWordTable
    private let shard: PreparedShard
    /// One made-up vector table of few rows; values are hashes.
    private let vectors: CannedVectors
    package static let vectorRows = 64

    /// Bytes of the shard.
    private final class Storage {
        let bytes: UnsafeMutableRawBufferPointer
        init(copying source: [UInt8]) {
            bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: source.count, alignment: 8)
            bytes.copyBytes(from: source)
        }
        deinit { bytes.deallocate() }
    }

    /// Values of the vectors table.
    private final class CannedVectors: @unchecked Sendable {
        let start: UnsafeMutablePointer<Float>
        init(count: Int) {
            start = .allocate(capacity: count)
            for index in 0..<count { start[index] = Float(Philox.mix(UInt64(index)) >> 40) * 0x1p-24 - 0.5 }
        }
        deinit { start.deallocate() }
    }

    /// Words of the first documents, which are short and long, and of each later one: the length of a review.
    private static let (firstLengths, laterLength) = ([1, 7, 49, 318], 270)

    /// What a profile needs: `lanes`.
    package convenience init(lanes count: Int, words: Int, spec: ModelSpec) throws(InputError) {
        try self.init(words: count * words + Self.firstLengths.reduce(0, +), spec: spec, lane: words)
    }

    /// Documents of 1, 7, 49, 318 words and then of 270, until there are `words`.
    /// - Parameter lane: one of the later documents ends after so many words, and after each multiple.
    package init(words total: Int, spec given: ModelSpec, lane: Int = .max) throws(InputError) {
        var spec = given
        if case .vectors(var objective) = spec.objective, objective.missing == .skip {
            objective.missing = .row0
            spec.objective = .vectors(objective)
        }
        self.spec = spec
        let schema = spec.schema
        maskWord = Self.word(0, schema)
        var builder = PreparedShardBuilder(schema: schema)
        var numbers = UniqueTable()
        let philox = Philox(seed: 7, purpose: .shuffleDocuments)
        var (line, made) = (0, 0)
        while made < total {
            let later = made - Self.firstLengths.reduce(0, +)
            let length = min(Self.firstLengths[safe: line] ?? min(Self.laterLength, lane - later % lane), total - made)
            var tokens: [UInt32] = []
            for token in made..<made + length {
                let rank = Self.rank(philox.bits(UInt64(token)))
                let (number, isNew) = numbers.number(rank)
                tokens.append(isNew ? builder.add(word: Self.word(rank, schema)) : UInt32(number))
            }
            builder.add(line: line, words: tokens)
            (line, made) = (line + 1, made + length)
        }
        let bytes = builder.finish()
        let storage = Storage(copying: bytes)
        shard = try PreparedShard(bytes: UnsafeRawBufferPointer(storage.bytes), owner: storage, schema: schema, place: "canned corpus")
        randomWords = RandomWordTable(words: (0..<shard.wordCount).map(shard.word), counts: shard.counts.map(UInt64.init))
        width = spec.vectorWidth ?? 1
        vectors = CannedVectors(count: Self.vectorRows * width)
    }

    /// A rank with about Zipf's frequencies: an octave, then a place in it. Some octaves are drawn twice as often and others left out, so
    /// that a third of 3,000 words and half of 375 are distinct.
    private static func rank(_ bits: UInt64) -> UInt64 {
        let octave = octaves[Int(bits >> 60)]
        return (1 << octave) - 1 + (bits & ((1 << octave) - 1))
    }

    private static let octaves: [UInt64] = [0, 1, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11, 12]

    /// The first columns resemble ids of words, norms, prefixes, suffixes and shapes; all others resemble flags.
    private static func word(_ rank: UInt64, _ schema: FeatureSchema) -> WordFeatures {
        let hash = Philox.mix(rank)
        let ids = [100_000 + rank, 200_000 + rank, 1 + hash % 40, 100 + hash / 64 % 700, 1 + hash / 65536 % 25]
        let length = 2 + Int(rank % 7)
        // With their types: the compiler needs a second and a half to find them.
        let flag = { (column: Int) -> UInt64 in (hash >> UInt64(8 + column)) & 1 }
        let letter = { (place: Int) -> UInt8 in
            let bits: UInt64 = hash >> UInt64(4 * (place % 16))
            return UInt8(97 + bits % 26)
        }
        return WordFeatures(
            ids: schema.columns.indices.map { $0 < ids.count ? ids[$0] : flag($0) },
            rows: rank % 16 == 15 || !schema.hasVectors ? [] : [UInt32(rank % UInt64(vectorRows))],
            bytes: (0..<schema.byteCount).map { $0 < length ? letter($0) : 255 })
    }

    package let width: Int

    package func pointer(row: Int) -> UnsafePointer<Float> { UnsafePointer(vectors.start) + row * width }

    /// Every seventh token, so that the shortest document has one too.
    static func choose(document: Int, token: Int) -> Replacement? { token % 7 == 0 ? .mask : nil }

    /// The documents of `count` lanes of `words` words each, without the first four.
    package func lanes(_ count: Int, words: Int) -> [[DocumentView]] {
        let documents = Array(documents(words: .max).dropFirst(Self.firstLengths.count))
        let each = (words + Self.laterLength - 1) / Self.laterLength
        return (0..<count).map { Array(documents[$0 * each..<($0 + 1) * each]) }
    }

    /// Whole documents from the start, `words` words in all.
    package func documents(words: Int) -> [DocumentView] {
        var (found, count) = ([DocumentView](), 0)
        for index in 0..<shard.documentCount where count < words {
            found.append(DocumentView(key: UInt64(index), shard: shard, index: index))
            count = Int(shard.starts[index + 1])
        }
        return found
    }
}

extension Array {
    fileprivate subscript(safe index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
