// One distinct word by the columns of a schema. In: what the text side computes. Out: prepared shards, tables of words.

/// A distinct word. Words are equal when all their ids are.
public struct WordFeatures: Hashable, Sendable {
    /// One id for each of the schema's columns; the first is ORTH's. Ids are spaCy's: 64-bit string hashes, symbols' numbers, flags.
    public var ids: [UInt64]
    /// Rows of the vectors table: none, one, or all rows of a floret word in the order of summation.
    public var rows: [UInt32]
    /// The schema's `byteCount` bytes of the word's text (`selectedBytes`).
    public var bytes: [UInt8]

    /// - Parameter ids: one for each column of the schema; the first is ORTH's.
    public init(ids: [UInt64], rows: [UInt32] = [], bytes: [UInt8] = []) {
        (self.ids, self.rows, self.bytes) = (ids, rows, bytes)
    }

    /// Id of the verbatim text.
    public var orth: UInt64 { ids[0] }

    /// Compares the ids.
    public static func == (a: WordFeatures, b: WordFeatures) -> Bool { a.ids == b.ids }
    /// Hashes the ids.
    public func hash(into hasher: inout Hasher) { hasher.combine(ids) }

    /// The first `count` bytes of a UTF-8 text in the order first, last, second, second to last ...; 255 where none is left (spaCy 3
    /// `tokens/doc.pyx`, `get_utf8_array` of `ml/featureextractor` and `util.pyx`).
    public static func selectedBytes(_ text: UnsafeBufferPointer<UInt8>, count: Int) -> [UInt8] {
        (0..<count).map { place in
            guard place < text.count else { return 255 }
            return place % 2 == 0 ? text[place / 2] : text[text.count - 1 - place / 2]
        }
    }
}

/// Distinct words in the form that hot loops read: pointers into a prepared shard, or into memory that `owner` keeps.
///
/// Column-major: id c of word w is ids[c * count + w].
public struct WordBlock: @unchecked Sendable {
    /// Distinct words.
    public let count: Int
    /// count ids for each column.
    public let ids: UnsafePointer<UInt64>
    /// count + 1 places in `rows`.
    public let rowStarts: UnsafePointer<UInt32>
    /// Vector rows, word by word.
    public let rows: UnsafePointer<UInt32>
    /// `byteCount` bytes for each word.
    public let bytes: UnsafePointer<UInt8>
    /// Bytes that the schema keeps of a word's text.
    public let byteCount: Int
    private let owner: AnyObject

    init(
        count: Int, ids: UnsafePointer<UInt64>, rowStarts: UnsafePointer<UInt32>, rows: UnsafePointer<UInt32>, bytes: UnsafePointer<UInt8>,
        byteCount: Int, owner: AnyObject
    ) {
        (self.count, self.ids, self.rowStarts, self.rows) = (count, ids, rowStarts, rows)
        (self.bytes, self.byteCount, self.owner) = (bytes, byteCount, owner)
    }

    /// The memory, if the words are not in a shard.
    private final class Storage {
        let ids: UnsafeMutableBufferPointer<UInt64>
        let starts: UnsafeMutableBufferPointer<UInt32>
        let rows: UnsafeMutableBufferPointer<UInt32>
        let bytes: UnsafeMutableBufferPointer<UInt8>

        init(_ words: [WordFeatures], schema: FeatureSchema) {
            let columns = schema.columns.count
            ids = .allocate(capacity: max(1, columns * words.count))
            starts = .allocate(capacity: words.count + 1)
            rows = .allocate(capacity: max(1, words.reduce(0) { $0 + $1.rows.count }))
            bytes = .allocate(capacity: max(1, schema.byteCount * words.count))
            var next = 0
            for (index, word) in words.enumerated() {
                for column in 0..<columns { ids[column * words.count + index] = word.ids[column] }
                starts[index] = UInt32(next)
                for row in word.rows {
                    rows[next] = row
                    next += 1
                }
                for byte in 0..<schema.byteCount { bytes[index * schema.byteCount + byte] = word.bytes[byte] }
            }
            starts[words.count] = UInt32(next)
        }

        deinit {
            ids.deallocate()
            starts.deallocate()
            rows.deallocate()
            bytes.deallocate()
        }
    }

    /// A copy of words that fit the schema.
    public init(_ words: [WordFeatures], schema: FeatureSchema) {
        precondition(words.allSatisfy { $0.fits(schema) }, "words of another schema")
        let storage = Storage(words, schema: schema)
        guard let ids = storage.ids.baseAddress, let starts = storage.starts.baseAddress, let rows = storage.rows.baseAddress,
            let bytes = storage.bytes.baseAddress
        else { preconditionFailure("buffers are never empty") }
        self.init(
            count: words.count, ids: ids, rowStarts: starts, rows: rows, bytes: bytes, byteCount: schema.byteCount, owner: storage)
    }
}

extension WordFeatures {
    /// Whether the word has as many ids and bytes as the schema wants.
    public func fits(_ schema: FeatureSchema) -> Bool { ids.count == schema.columns.count && bytes.count == schema.byteCount }
}
