// A spaCy vectors model: vectors, tokenizer and lexical attributes. In: its folder. Out: what tokenizing, features and targets need.
import Base
import Shards
import Synchronization

/// A vectors model of spaCy 2.x or 3.x with a rule-based tokenizer. Immutable; threads and lanes share it.
package final class VectorsModel: Sendable {
    /// Raised when the tokenizer's or the features' code gives other results: part of the cache key.
    static let codeVersion = 1

    /// The folder that holds meta.json (inside an installed package: the inner folder).
    package let folder: String
    /// The language code, "en".
    package let language: String
    /// The version whose symbols number the folder's keys.
    package let symbols: SymbolVersion
    /// Nil when opened from a bundle, which has the row numbers but not the rows.
    package let vectors: VectorTable?
    /// Lexical attributes of words.
    package let lexicon: Lexicon
    /// Nil for pieces, which are tokenized already.
    let rules: TokenizerRules?
    /// What a job's texts are; nil for a vectors model.
    package let text: TextSettings?
    /// Hex SHA-256 of everything that decides what a text's prepared shard holds: tokenizer file, norm tables, key2row, language, version
    /// of spaCy, of the format and of this code. The same for a model and its bundle.
    package let digest: String
    /// The files that `init(bundle:)` needs, with names relative to the bundle's folder.
    package let bundleFiles: [(name: String, path: String)]
    private let hashedVectors = Mutex<String?>(nil)

    /// Opens a model folder, or the folder of an installed package that holds one. The vectors are mapped, not read.
    /// - Throws: `InputError` that names the folder or file and says what to do: missing or damaged files, no vectors, floret vectors, a
    ///   tokenizer that is not rule-based.
    package convenience init(folder: String) throws(InputError) {
        try self.init(folder, withVectors: true)
    }

    /// Opens a folder that holds `bundleFiles` only: enough to tokenize and to give vector rows by number.
    package convenience init(bundle folder: String) throws(InputError) {
        try self.init(folder, withVectors: false)
    }

    private init(_ given: String, withVectors: Bool) throws(InputError) {
        let files = try ModelFiles(given)
        folder = files.folder
        language = files.language
        symbols = files.version
        try files.checkVectorsConfig()
        if withVectors {
            guard files.exists("vocab/vectors") else { throw files.noVectors("vocab/vectors is missing") }
            let table = try VectorTable(path: files.path("vocab/vectors"))
            guard table.rows > 0, table.width > 0 else { throw files.noVectors("the table is \(table.rows) x \(table.width)") }
            vectors = table
        } else {
            vectors = nil
        }
        let tokenizer = try MappedFile(files.path("tokenizer"))
        let behaviour: TokenizerBehaviour = files.version == .spacy38 ? .spacy3 : .spacy2
        rules = try TokenizerRules(file: tokenizer.bytes, behaviour: behaviour, place: tokenizer.path)
        lexicon = try Self.lexicon(files, rows: vectors?.rows)
        let present = ModelFiles.names.filter { files.exists($0) && (files.version == .spacy21 || !Self.only21.contains($0)) }
        bundleFiles = present.map { ($0, files.path($0)) }
        digest = try Self.digest(files, present)
        text = nil
    }

    /// What a job's text side is made of.
    struct Parts {
        var folder: String
        var vectors: VectorTable?
        var lexicon: Lexicon
        var rules: TokenizerRules?
        var text: TextSettings
        var digest: String
        var bundleFiles: [(name: String, path: String)]
    }

    init(_ parts: Parts) {
        (folder, language, symbols) = (parts.folder, parts.text.language, .spacy38)
        (vectors, lexicon, rules, text) = (parts.vectors, parts.lexicon, parts.rules, parts.text)
        (digest, bundleFiles) = (parts.digest, parts.bundleFiles)
    }

    /// Lexemes and their strings: only 2.1 reads attributes from them.
    private static let only21: Set<String> = ["vocab/lexemes.bin", "vocab/strings.json"]

    private static func lexicon(_ files: ModelFiles, rows: Int?) throws(InputError) -> Lexicon {
        let norms = LanguageNorms(language: files.language, version: files.version)
        let rowOf = try files.key2row(rows: rows)
        let table = try files.lexemeNorms()
        let computed = Lexicon(symbols: files.version, norms: norms, normTable: table, stored: [:], rowOf: rowOf)
        let stored = try files.storedLexemes(computed: computed)
        if stored.isEmpty { return computed }
        return Lexicon(symbols: files.version, norms: norms, normTable: table, stored: stored, rowOf: rowOf)
    }

    private static func digest(_ files: ModelFiles, _ present: [String]) throws(InputError) -> String {
        var hash = SHA256()
        hash.update("t2v \(PreparedShard.version) \(codeVersion) \(files.version.rawValue) \(files.language)\n")
        // the other fields of meta.json, and vectors.cfg, do not matter here
        for name in present where name != "meta.json" && name != "vocab/vectors.cfg" {
            let file = try MappedFile(files.path(name))
            hash.update("\(name) \(file.bytes.count)\n")
            hash.update(file.bytes)
        }
        return hash.finalize().hex
    }

    /// Hex SHA-256 of the vectors file; empty for a bundle. Reads the whole file the first time.
    package var vectorsDigest: String {
        hashedVectors.withLock { known in
            if let known { return known }
            var hash = SHA256()
            if let vectors { hash.update(vectors.fileBytes) }
            let result = vectors == nil ? "" : hash.finalize().hex
            known = result
            return result
        }
    }
}

extension VectorsModel {
    /// Lexeme features of a word, as a tokenizer without exceptions would give them.
    package func features(of word: String, schema: FeatureSchema) -> WordFeatures {
        let bytes = Array(word.utf8)
        return bytes.withUnsafeBufferPointer { ColumnMaker(schema: schema, lexicon: lexicon).features($0) }
    }
}
