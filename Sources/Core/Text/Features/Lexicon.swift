// What a model knows about words regardless of context. In: a word's bytes. Out: its norm, its attributes' ids, its vector's row.
import Shards

/// Attributes stored for one lexeme in a 2.1 model, where they differ from what the code computes (`vocab/lexemes.bin`).
struct StoredLexeme: Sendable, Equatable {
    var norm, prefix, suffix, shape: UInt64
    var normText, prefixText, suffixText, shapeText: [UInt8]
}

/// A model's lexical attributes (spacy/vocab.pyx `_new_lexeme`, spacy/lang/lex_attrs.py). Immutable, so threads share it.
package final class Lexicon: Sendable {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    /// Ids of the features. Profile spacy2 trains and is loaded by spaCy 2.x, so 3.x models get 2.3's symbols here.
    package let ids: StringIDs
    /// Ids of the folder's own version: the keys of key2row and lookups.bin.
    let folderIDs: StringIDs
    private let norms: LanguageNorms
    /// Table lexeme_norm of lookups.bin, by folder id.
    private let normTable: [UInt64: [UInt8]]
    private let stored: [[UInt8]: StoredLexeme]
    private let rowOf: [UInt64: Int32]
    /// How a job's words find vector rows; nil for a vectors model, which has them by ORTH.
    let vectors: TextSettings.Vectors?
    /// Id of the language's code; 0 for a vectors model, whose columns have no LANG.
    let languageID: UInt64

    /// - Parameter job: of a job, which trains for spaCy 3 and so keeps its symbols.
    init(
        symbols: SymbolVersion, norms: LanguageNorms, normTable: [UInt64: [UInt8]], stored: [[UInt8]: StoredLexeme],
        rowOf: [UInt64: Int32], job: TextSettings? = nil
    ) {
        let ids = StringIDs(job == nil && symbols == .spacy38 ? .spacy23 : symbols)
        self.ids = ids
        folderIDs = StringIDs(symbols)
        self.norms = norms
        self.normTable = normTable
        self.stored = stored
        self.rowOf = rowOf
        vectors = job?.vectors
        languageID = job.map { ids.id($0.language) } ?? 0
    }

    /// The vector row of a folder's id, or -1.
    func row(_ id: UInt64) -> Int32 { rowOf[id] ?? -1 }

    /// The norm of the lexeme: what the model stores, else what the language's code gives.
    func norm(_ word: Bytes) -> [UInt8] {
        if !stored.isEmpty, let lexeme = stored[Array(word)] { return lexeme.normText }
        if !normTable.isEmpty, let norm = normTable[folderIDs.id(word)] { return norm }
        return norms.norm(word)
    }

    /// Prefix, suffix and shape as text.
    func affixes(_ word: Bytes) -> (prefix: [UInt8], suffix: [UInt8], shape: [UInt8]) {
        if !stored.isEmpty, let lexeme = stored[Array(word)] { return (lexeme.prefixText, lexeme.suffixText, lexeme.shapeText) }
        return (Array(LexicalAttributes.prefix(word)), Array(LexicalAttributes.suffix(word)), LexicalAttributes.shape(word))
    }

    /// The features of a word with its lexeme's norm. The empty word has id 0 everywhere.
    func features(_ word: Bytes) -> WordAttributes {
        let orth = ids.id(word)
        let folderOrth = folderIDs.id(word)
        let row = rowOf[folderOrth] ?? -1
        if !stored.isEmpty, let lexeme = stored[Array(word)] {
            return WordAttributes(
                orth: orth, norm: lexeme.norm, prefix: lexeme.prefix, suffix: lexeme.suffix, shape: lexeme.shape, row: row)
        }
        return WordAttributes(
            orth: orth, norm: norm(word).withUnsafeBufferPointer { ids.id($0) }, prefix: ids.id(LexicalAttributes.prefix(word)),
            suffix: ids.id(LexicalAttributes.suffix(word)), shape: LexicalAttributes.shape(word).withUnsafeBufferPointer { ids.id($0) },
            row: row)
    }
}
