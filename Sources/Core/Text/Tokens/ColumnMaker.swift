// The columns of a word. In: what the lexicon knows about it. Out: ids, vector rows and bytes as a schema wants them.
import Shards

/// Computes what a schema asks of a word, for the models of spaCy 2 and of jobs. Immutable, so threads share it.
struct ColumnMaker: Sendable {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    private let schema: FeatureSchema
    private let lexicon: Lexicon
    /// In the schema's order; nil: not known here, 0 for every word. A job with such a column has been refused.
    private let attributes: [WordAttribute?]

    init(schema: FeatureSchema, lexicon: Lexicon) {
        self.schema = schema
        self.lexicon = lexicon
        attributes = schema.columns.map(WordAttribute.init)
    }

    /// - Parameter word: what the lexicon says about `text`, with the norm of the token.
    func features(_ word: WordAttributes, text: Bytes) -> WordFeatures {
        WordFeatures(
            ids: attributes.map { $0.map { id($0, word, text) } ?? 0 }, rows: schema.hasVectors ? rows(word, text) : [],
            bytes: schema.byteCount == 0 ? [] : WordFeatures.selectedBytes(text, count: schema.byteCount))
    }

    /// The word of a lexeme.
    func features(_ text: Bytes) -> WordFeatures { features(lexicon.features(text), text: text) }

    /// A word whose ids Python has computed.
    /// - Parameter id: of each column but ORTH, which follows from the text.
    func features(_ text: Bytes, id: (Int) -> UInt64) -> WordFeatures {
        let orth = lexicon.ids.id(text)
        var word = WordAttributes(orth: orth, norm: 0, prefix: 0, suffix: 0, shape: 0, row: -1)
        word.row = lexicon.row(orth)
        return WordFeatures(
            ids: schema.columns.indices.map { $0 == 0 ? orth : id($0) }, rows: schema.hasVectors ? rows(word, text) : [],
            bytes: schema.byteCount == 0 ? [] : WordFeatures.selectedBytes(text, count: schema.byteCount))
    }

    private func rows(_ word: WordAttributes, _ text: Bytes) -> [UInt32] {
        switch lexicon.vectors {
        case .floret("LOWER", let floret): LexicalAttributes.lower(text).withUnsafeBufferPointer { floret.rows(of: $0) }
        case .floret(_, let floret): floret.rows(of: text)
        case .table, nil: word.row >= 0 ? [UInt32(word.row)] : []
        }
    }

    private func id(_ attribute: WordAttribute, _ word: WordAttributes, _ text: Bytes) -> UInt64 {
        func flag(_ value: Bool) -> UInt64 { value ? 1 : 0 }
        return switch attribute {
        case .orth: word.orth
        case .norm: word.norm
        case .prefix: word.prefix
        case .suffix: word.suffix
        case .shape: word.shape
        case .lower: LexicalAttributes.lower(text).withUnsafeBufferPointer { lexicon.ids.id($0) }
        case .lang: lexicon.languageID
        case .length: UInt64(UTF8Walk.count(text))
        case .isAlpha: flag(WordFlags.isAlpha(text))
        case .isASCII: flag(WordFlags.isASCII(text))
        case .isDigit: flag(WordFlags.isDigit(text))
        case .isLower: flag(WordFlags.isLower(text))
        case .isUpper: flag(WordFlags.isUpper(text))
        case .isTitle: flag(WordFlags.isTitle(text))
        case .isSpace: flag(WordFlags.isSpace(text))
        case .isPunct: flag(WordFlags.isPunct(text))
        case .isBracket: flag(WordFlags.isIn(WordFlags.brackets, text))
        case .isQuote: flag(WordFlags.isIn(WordFlags.quotes, text))
        case .isLeftPunct: flag(WordFlags.isIn(WordFlags.leftPuncts, text))
        case .isRightPunct: flag(WordFlags.isIn(WordFlags.rightPuncts, text))
        case .isCurrency: flag(WordFlags.isCurrency(text))
        case .entType, .pos, .tag, .dep, .lemma: 0
        }
    }
}
