// A shard of a corpus, tokenized. In: JSON lines. Out: the bytes of a `PreparedShard`. One per thread.
import Base
import Glibc
import Shards

/// Tokenizes shards and computes their features. It keeps what it learns about words and chunks for the next shard, within bounds.
package final class ShardPreparer {
    private let model: VectorsModel
    private let schema: FeatureSchema
    private let maker: ColumnMaker
    private var pieces: PiecePreparer?
    private let minLength, maxLength: Int
    private var tokenizer: Tokenizer?
    private let reader = RecordReader()
    /// By word number: its index in the current shard, or `absent`.
    private var shardIndex: [UInt32] = []
    /// The words of the current shard, in order of their index.
    private var shardWords: [UInt32] = []
    private static let absent = UInt32.max
    /// Bytes of words and chunks beyond which the thread starts over: a few million distinct words.
    private static let memoryLimit = 96 << 20

    /// - Parameters:
    ///   - schema: the columns that the run's model needs.
    ///   - minLength: documents with fewer tokens are dropped.
    ///   - maxLength: documents with this many tokens or more are dropped, never split.
    package init(model: VectorsModel, schema: FeatureSchema, minLength: Int, maxLength: Int) {
        self.model = model
        self.schema = schema
        maker = ColumnMaker(schema: schema, lexicon: model.lexicon)
        self.minLength = minLength
        self.maxLength = maxLength
    }

    /// Prepares a shard of the run's texts: lines, or pieces.
    package func prepare(shard text: UnsafeRawBufferPointer) throws(ShardPreparationError) -> [UInt8] {
        guard let settings = model.text, settings.path == .pieces else { return try prepare(jsonl: text) }
        if let pieces { return try pieces.prepare(text) }
        do {
            let made = try PiecePreparer(
                text: settings, lexicon: model.lexicon, schema: schema, minLength: minLength, maxLength: maxLength)
            pieces = made
            return try made.prepare(text)
        } catch let error as ShardPreparationError {
            throw error
        } catch {
            let fault = error as? InputError
            throw ShardPreparationError(line: 0, what: fault?.what ?? "\(error)", remedy: fault?.remedy ?? "")
        }
    }

    /// Prepares the lines of `jsonl`. Records whose `text` or `tokens` is empty and documents of other lengths are counted and left out.
    /// - Returns: the bytes of a `PreparedShard`; its lines count from the shard's first.
    /// - Throws: `ShardPreparationError` with the line of the first record that cannot be used.
    package func prepare(jsonl: UnsafeRawBufferPointer) throws(ShardPreparationError) -> [UInt8] {
        var builder = PreparedShardBuilder(schema: schema)
        for word in shardWords { shardIndex[Int(word)] = Self.absent }
        shardWords.removeAll(keepingCapacity: true)
        try forEachRecord(jsonl) { line, record, tokenizer throws(ShardPreparationError) in
            guard let record else {
                builder.emptyCount += 1
                return
            }
            try Self.tokenize(record, line: line, with: tokenizer)
            let count = tokenizer.tokens.count
            if count < minLength {
                builder.tooShortCount += 1
            } else if count >= maxLength {
                builder.tooLongCount += 1
            } else {
                add(tokenizer, line: line, to: &builder)
            }
        }
        return builder.finish()
    }

    /// Calls `body` with the number of each line that is not blank, and its record, or nil for one that is empty.
    func forEachRecord(
        _ jsonl: UnsafeRawBufferPointer, _ body: (Int, CorpusRecord?, Tokenizer) throws(ShardPreparationError) -> Void
    ) throws(ShardPreparationError) {
        let isPlain = model.text?.format == .lines
        var line = 0
        var start = 0
        while start < jsonl.count {
            let end = Self.lineEnd(jsonl, from: start)
            let bytes = UnsafeRawBufferPointer(rebasing: jsonl[start..<end])
            let records = try isPlain ? reader.readPlain(bytes, number: line) : [reader.read(bytes, number: line)]
            for record in records {
                switch record {
                case .blank: break
                case .empty: try body(line, nil, try currentTokenizer(line))
                case .text, .tokens: try body(line, record, try currentTokenizer(line))
                }
            }
            line += 1
            start = end + 1
        }
    }

    private static func lineEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        guard let base = bytes.baseAddress, let found = memchr(base + start, 0x0a, bytes.count - start) else { return bytes.count }
        return UnsafeRawPointer(found) - base
    }

    private func currentTokenizer(_ line: Int) throws(ShardPreparationError) -> Tokenizer {
        if let tokenizer, tokenizer.memory < Self.memoryLimit || !shardWords.isEmpty { return tokenizer }
        // only between shards, because word numbers change
        tokenizer = Tokenizer(model: model)
        shardIndex.removeAll(keepingCapacity: true)
        guard let tokenizer else { throw ShardPreparationError(line: line, what: "out of memory", remedy: "free memory") }
        return tokenizer
    }

    static func tokenize(_ record: CorpusRecord, line: Int, with tokenizer: Tokenizer) throws(ShardPreparationError) {
        switch record {
        case .blank, .empty: break
        case .tokens(let words): tokenizer.take(words: words)
        case .text(var text):
            do {
                try text.withUTF8 { try tokenizer.tokenize($0) }
            } catch {
                // withUTF8 loses the type; tokenizing throws nothing else
                let failure = error as? PatternFailure
                throw ShardPreparationError(
                    line: line,
                    what: "the pattern \(failure?.name ?? "") hit PCRE2's match limit on a token of \(failure?.length ?? 0) bytes",
                    remedy: "break the run up, or remove the record")
            }
        }
    }

    private func add(_ tokenizer: Tokenizer, line: Int, to builder: inout PreparedShardBuilder) {
        let words = tokenizer.words
        if shardIndex.count < words.count {
            shardIndex.append(contentsOf: repeatElement(Self.absent, count: words.count - shardIndex.count))
        }
        let tokens = tokenizer.tokens
        shardIndex.withUnsafeMutableBufferPointer { indices in
            builder.add(line: line, count: tokens.count) { document in
                for place in tokens.indices {
                    let word = tokens[place] & ~Tokenizer.spaceBit
                    var index = indices[Int(word)]
                    if index == Self.absent {
                        index = UInt32(shardWords.count)
                        shardWords.append(word)
                        indices[Int(word)] = index
                    }
                    document[place] = index | (tokens[place] & Tokenizer.spaceBit)
                }
            }
        }
        while builder.wordCount < shardWords.count {
            let word = Int(shardWords[builder.wordCount])
            builder.add(word: maker.features(words.features[word], text: words.text(word)))
        }
    }
}
