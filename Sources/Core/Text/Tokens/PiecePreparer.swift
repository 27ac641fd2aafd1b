// A shard of pieces. In: documents that Python has tokenized. Out: the bytes of a `PreparedShard`.
import Base
import Shards

/// Turns pieces into prepared shards: checks them, merges equal words, finds vector rows. One for each thread.
final class PiecePreparer {
    private let text: TextSettings
    private let schema: FeatureSchema
    private let maker: ColumnMaker
    private let minLength, maxLength: Int
    /// For each column of the schema except ORTH, the column of the pieces.
    private let columnOf: [Int]

    /// - Throws: `InputError` when the pieces lack a column that the model reads.
    init(text: TextSettings, lexicon: Lexicon, schema: FeatureSchema, minLength: Int, maxLength: Int) throws(InputError) {
        self.text = text
        self.schema = schema
        self.minLength = minLength
        self.maxLength = maxLength
        maker = ColumnMaker(schema: schema, lexicon: lexicon)
        var places: [Int] = []
        for (index, column) in schema.columns.enumerated() {
            guard let place = text.columns.firstIndex(of: column) ?? (index == 0 ? -1 : nil) else {
                throw InputError("the pieces have no column \(column)", at: "job", remedy: TextSettings.remedy)
            }
            places.append(place)
        }
        columnOf = places
    }

    /// The word [MASK] from the ids that Python gave for `text.columns`.
    func maskWord(ids: [UInt64]) -> WordFeatures {
        Array("[MASK]".utf8).withUnsafeBufferPointer { maker.features($0) { ids[columnOf[$0]] } }
    }

    /// - Returns: the bytes of a `PreparedShard`; its lines are documents and count from the shard's first.
    /// - Throws: `ShardPreparationError` with the document where a damaged piece begins.
    func prepare(_ bytes: UnsafeRawBufferPointer) throws(ShardPreparationError) -> [UInt8] {
        var builder = PreparedShardBuilder(schema: schema)
        var known: [WordFeatures: UInt32] = [:]
        var (offset, first, next) = (0, nil as UInt64?, 0)
        while offset < bytes.count {
            let piece: Piece
            do {
                piece = try Piece(UnsafeRawBufferPointer(rebasing: bytes[offset...]), columns: text.columns.count, place: "")
            } catch {
                throw ShardPreparationError(line: next, what: error.what, remedy: error.remedy)
            }
            let start = first ?? piece.firstDocument
            first = start
            guard piece.firstDocument >= start + UInt64(next), piece.firstDocument - start < 1 << 31 else {
                throw ShardPreparationError(line: next, what: "damaged piece: its documents are out of order", remedy: TextSettings.remedy)
            }
            next = Int(piece.firstDocument - start)
            add(piece, line: next, &known, to: &builder)
            next += piece.documentCount
            offset += piece.byteCount
        }
        return builder.finish()
    }

    private func add(_ piece: Piece, line: Int, _ known: inout [WordFeatures: UInt32], to builder: inout PreparedShardBuilder) {
        // Words of dropped documents are not registered.
        var indices = [UInt32?](repeating: nil, count: piece.wordCount)
        var token = 0
        for document in 0..<piece.documentCount {
            let length = piece.length(document)
            defer { token += length }
            if length < minLength {
                builder.tooShortCount += 1
                continue
            }
            if length >= maxLength {
                builder.tooLongCount += 1
                continue
            }
            let words = (token..<token + length).map { place in
                let entry = piece.token(place)
                let word = Int(entry & ~Piece.spaceBit)
                let index = indices[word] ?? register(piece, word, &known, &builder)
                indices[word] = index
                return index | (entry & Piece.spaceBit)
            }
            builder.add(line: line + document, words: words)
        }
    }

    private func register(
        _ piece: Piece, _ word: Int, _ known: inout [WordFeatures: UInt32], _ builder: inout PreparedShardBuilder
    ) -> UInt32 {
        let features = maker.features(piece.text(word)) { piece.id(column: columnOf[$0], word: word) }
        if let index = known[features] { return index }
        let index = builder.add(word: features)
        known[features] = index
        return index
    }
}
