// A shard after tokenizing and feature extraction. In: one compact file that is mapped, not parsed. Out: words and documents.
import Base

/// Layout, all little-endian: header of 12 UInt64 (magic, format version, documents D, tokens N, distinct words W, empty, too short, too
/// long, columns C, vector rows V, bytes a word B, the schema's digest), then arrays, each starting at a multiple of 8 bytes: lines
/// UInt32[D] (line of each document, counted from the shard's first line), starts UInt32[D+1] (first token of each document), tokens
/// UInt32[N] (index of a distinct word; bit 31: a space follows), ids UInt64[C * W] (column by column), rowStarts UInt32[W+1], rows
/// UInt32[V] (vector rows of all words), bytes UInt8[W * B], counts UInt32[W] (occurrences in kept documents). Distinct words are in order
/// of first occurrence.
public final class PreparedShard: @unchecked Sendable {
    /// The first eight bytes.
    public static let magic: UInt64 = 0x3150_4552_5056_3254  // "T2VPREP1"
    /// Raised when this layout, the tokenizer's code or the features' code changes: part of the cache key.
    public static let version: UInt64 = 2
    static let headerWords = 12
    /// Set in a token that a space follows.
    public static let spaceBit: UInt32 = 1 << 31

    /// Keeps the mapping or the array alive.
    private let owner: AnyObject
    /// The whole shard.
    public let bytes: UnsafeRawBufferPointer
    /// Records whose `text` or `tokens` was empty, documents below min_length, documents of max_length or more.
    public let emptyCount, tooShortCount, tooLongCount: Int
    /// The line of each document, counted from the shard's first.
    public let lines: UnsafeBufferPointer<UInt32>
    /// Where each document begins in `tokens`; documents + 1 places.
    public let starts: UnsafeBufferPointer<UInt32>
    /// Indices of distinct words with `spaceBit`.
    public let tokens: UnsafeBufferPointer<UInt32>
    /// The distinct words.
    public let words: WordBlock
    /// How often each distinct word occurs in kept documents.
    public let counts: UnsafeBufferPointer<UInt32>
    /// Ids of each word.
    package let columns: Int
    /// Vector rows of all words.
    private let rowCount: Int

    /// Kept documents.
    public var documentCount: Int { lines.count }
    /// Distinct words.
    public var wordCount: Int { words.count }

    /// Features of distinct word `index` of this shard.
    public func word(_ index: Int) -> WordFeatures {
        WordFeatures(
            ids: (0..<columns).map { words.ids[$0 * words.count + index] },
            rows: (words.rowStarts[index]..<words.rowStarts[index + 1]).map { words.rows[Int($0)] },
            bytes: (0..<words.byteCount).map { words.bytes[index * words.byteCount + $0] })
    }

    /// The distinct word that token `place` of the shard is.
    @inline(__always)
    public func word(ofToken place: Int) -> Int { Int(tokens[place] & ~Self.spaceBit) }

    /// Maps the file at `path`.
    /// - Throws: `InputError` that says which part is wrong; nothing in the file is trusted.
    public convenience init(path: String, schema: FeatureSchema) throws(InputError) {
        let file = try MappedFile(path)
        try self.init(bytes: file.bytes, owner: file, schema: schema, place: path)
    }

    /// Reads prepared bytes that `owner` keeps alive. Every index is checked once here, so that no later use can leave its array; only the
    /// vector rows are not compared with a table.
    public init(bytes: UnsafeRawBufferPointer, owner: AnyObject, schema: FeatureSchema, place: String) throws(InputError) {
        func refuse(_ what: String) -> InputError {
            InputError("prepared shard is damaged: \(what)", at: place, remedy: "delete the file; it is made again")
        }
        guard bytes.count >= 8 * Self.headerWords, let base = bytes.baseAddress, Int(bitPattern: base) % 8 == 0 else {
            throw refuse("no header")
        }
        let header = (0..<Self.headerWords).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self) }
        guard header[0] == Self.magic, header[1] == Self.version else { throw refuse("magic or version differs") }
        guard header[2..<11].allSatisfy({ $0 < 1 << 31 }) else { throw refuse("a count is out of range") }
        guard header[11] == schema.digest, header[8] == UInt64(schema.columns.count), header[10] == UInt64(schema.byteCount) else {
            throw refuse("it has other columns than this run")
        }
        let sizes = Sizes(
            documents: Int(header[2]), tokens: Int(header[3]), words: Int(header[4]), columns: Int(header[8]), rows: Int(header[9]),
            byteCount: Int(header[10]))
        guard bytes.count == sizes.total else { throw refuse("wrong length") }
        self.owner = owner
        self.bytes = bytes
        (columns, rowCount) = (sizes.columns, sizes.rows)
        (emptyCount, tooShortCount, tooLongCount) = (Int(header[5]), Int(header[6]), Int(header[7]))
        var offset = 8 * Self.headerWords
        func array<T>(_ count: Int, _: T.Type) -> UnsafeBufferPointer<T> {
            let start = (base + offset).assumingMemoryBound(to: T.self)
            offset = Self.aligned(offset + count * MemoryLayout<T>.stride)
            return UnsafeBufferPointer(start: start, count: count)
        }
        lines = array(sizes.documents, UInt32.self)
        starts = array(sizes.documents + 1, UInt32.self)
        tokens = array(sizes.tokens, UInt32.self)
        let ids = array(sizes.columns * sizes.words, UInt64.self)
        let rowStarts = array(sizes.words + 1, UInt32.self)
        let rows = array(sizes.rows, UInt32.self)
        let wordBytes = array(sizes.byteCount * sizes.words, UInt8.self)
        counts = array(sizes.words, UInt32.self)
        guard Self.ascends(starts, to: sizes.tokens), zip(starts, starts.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw refuse("document starts do not cover the tokens")
        }
        guard Self.ascends(rowStarts, to: sizes.rows) else { throw refuse("vector rows' starts do not cover the rows") }
        guard tokens.allSatisfy({ Int($0 & ~Self.spaceBit) < sizes.words }) else { throw refuse("a token points outside the words") }
        guard let ids = ids.baseAddress, let rowStarts = rowStarts.baseAddress, let rows = rows.baseAddress,
            let wordBytes = wordBytes.baseAddress
        else { throw refuse("no words") }
        words = WordBlock(
            count: sizes.words, ids: ids, rowStarts: rowStarts, rows: rows, bytes: wordBytes, byteCount: sizes.byteCount, owner: owner)
    }

    /// Whether values begin with 0, never decrease and end with `end`.
    private static func ascends(_ values: UnsafeBufferPointer<UInt32>, to end: Int) -> Bool {
        var last: UInt32 = 0
        guard values.first == 0 else { return false }
        for value in values {
            guard value >= last else { return false }
            last = value
        }
        return Int(last) == end
    }

    /// Whether every vector row of a word is below the number of rows.
    public func fits(vectorRows: Int) -> Bool {
        UnsafeBufferPointer(start: words.rows, count: rowCount).allSatisfy { Int($0) < vectorRows }
    }

    static func aligned(_ offset: Int) -> Int { (offset + 7) & ~7 }

    /// What decides a shard's length.
    struct Sizes {
        var documents, tokens, words, columns, rows, byteCount: Int

        /// Bytes of the whole shard.
        var total: Int {
            let arrays = [
                4 * documents, 4 * (documents + 1), 4 * tokens, 8 * columns * words, 4 * (words + 1), 4 * rows, byteCount * words,
                4 * words,
            ]
            return arrays.reduce(8 * PreparedShard.headerWords) { $0 + PreparedShard.aligned($1) }
        }
    }
}
