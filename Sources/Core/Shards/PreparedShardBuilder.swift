// A prepared shard in the making. In: words and documents. Out: the bytes of a `PreparedShard`.

/// Collects documents and gives the bytes of a `PreparedShard`.
public struct PreparedShardBuilder {
    /// The columns of words.
    public let schema: FeatureSchema
    var lines: [UInt32] = []
    var starts: [UInt32] = [0]
    var tokens: [UInt32] = []
    /// Word by word.
    private var ids: [UInt64] = []
    private var rowStarts: [UInt32] = [0]
    private var rows: [UInt32] = []
    private var wordBytes: [UInt8] = []
    /// Distinct words so far.
    public private(set) var wordCount = 0
    public var emptyCount = 0, tooShortCount = 0, tooLongCount = 0

    /// - Parameter schema: the columns of every word that will be added.
    public init(schema: FeatureSchema) { self.schema = schema }

    /// Adds a kept document. `documentWords` are indices that `add(word:)` returned, with `PreparedShard.spaceBit`; `line` counts from the
    /// shard's first line.
    public mutating func add(line: Int, words documentWords: [UInt32]) {
        lines.append(UInt32(line))
        tokens += documentWords
        starts.append(UInt32(tokens.count))
    }

    /// Adds a kept document of `count` tokens, which `fill` writes as indices of words. The words may be registered right afterwards.
    public mutating func add(line: Int, count: Int, fill: (UnsafeMutableBufferPointer<UInt32>) -> Void) {
        lines.append(UInt32(line))
        let first = tokens.count
        tokens.append(contentsOf: repeatElement(0, count: count))
        tokens.withUnsafeMutableBufferPointer { fill(UnsafeMutableBufferPointer(rebasing: $0[first...])) }
        starts.append(UInt32(tokens.count))
    }

    /// Registers a distinct word that fits the schema and returns its index. The caller makes sure that words differ in their ids.
    @discardableResult
    public mutating func add(word: WordFeatures) -> UInt32 {
        precondition(word.fits(schema), "a word of another schema")
        ids += word.ids
        rows += word.rows
        rowStarts.append(UInt32(rows.count))
        wordBytes += word.bytes
        wordCount += 1
        return UInt32(wordCount - 1)
    }

    /// The finished shard. A word that occurs only in dropped documents has count 0.
    public func finish() -> [UInt8] {
        var counts = [UInt32](repeating: 0, count: wordCount)
        for token in tokens { counts[Int(token & ~PreparedShard.spaceBit)] += 1 }
        let columns = schema.columns.count
        var byColumn = [UInt64](repeating: 0, count: ids.count)
        for word in 0..<wordCount { for column in 0..<columns { byColumn[column * wordCount + word] = ids[word * columns + column] } }
        let sizes = PreparedShard.Sizes(
            documents: lines.count, tokens: tokens.count, words: wordCount, columns: columns, rows: rows.count,
            byteCount: schema.byteCount)
        var out: [UInt8] = []
        out.reserveCapacity(sizes.total)
        // the host is little-endian (x86-64-v3), as the layout is
        func put<T: FixedWidthInteger>(_ values: [T]) {
            values.withUnsafeBytes { out.append(contentsOf: $0) }
            while out.count % 8 != 0 { out.append(0) }
        }
        put([
            PreparedShard.magic, PreparedShard.version, UInt64(lines.count), UInt64(tokens.count), UInt64(wordCount),
            UInt64(emptyCount), UInt64(tooShortCount), UInt64(tooLongCount), UInt64(columns), UInt64(rows.count),
            UInt64(schema.byteCount), schema.digest,
        ])
        put(lines)
        put(starts)
        put(tokens)
        put(byColumn)
        put(rowStarts)
        put(rows)
        put(wordBytes)
        put(counts)
        return out
    }
}
