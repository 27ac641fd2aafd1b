// The text side of a job. In: its files. Out: a model that tokenizes and knows words, like a vectors model of spaCy 2.
import Base
import Shards

/// Where the files of a job's text side are on this machine.
package struct JobTextFiles: Codable, Sendable, Equatable {
    /// The folder of the tokenizer.
    package var nlp: String
    /// The map from keys to vector rows; nil where none is needed.
    package var key2row: String?
    /// The vectors themselves; nil on a worker that is sent the rows it needs.
    package var vectors: String?

    package init(nlp: String, key2row: String?, vectors: String?) {
        (self.nlp, self.key2row, self.vectors) = (nlp, key2row, vectors)
    }

    /// The files of a bundle that was fetched into `folder`.
    init(bundle folder: String, text: TextSettings) {
        var key2row: String?
        if case .table = text.vectors { key2row = "\(folder)/key2row" }
        self.init(nlp: "\(folder)/nlp", key2row: key2row, vectors: nil)
    }
}

extension VectorsModel {
    /// Opens the text side of a job. The vectors are mapped, not read.
    /// - Throws: `InputError` that names the file which is missing, damaged or not as the job says.
    package convenience init(_ files: JobTextFiles, text: TextSettings) throws(InputError) {
        var bundle: [(name: String, path: String)] = []
        var rules: TokenizerRules?
        var normTable: [UInt64: [UInt8]] = [:]
        if text.path == .fast {
            let pipeline = try ModelFiles(files.nlp, isJob: true)
            guard pipeline.language == text.language, pipeline.version == .spacy38 else {
                throw InputError(
                    "a pipeline for \(pipeline.language), or of another spaCy version, in a job for \(text.language)", at: files.nlp,
                    remedy: TextSettings.remedy)
            }
            let tokenizer = try MappedFile(pipeline.path("tokenizer"))
            rules = try TokenizerRules(file: tokenizer.bytes, behaviour: .spacy3, place: tokenizer.path)
            normTable = try pipeline.lexemeNorms()
            for name in ["meta.json", "tokenizer", "vocab/lookups.bin"] where pipeline.exists(name) {
                bundle.append(("nlp/\(name)", pipeline.path(name)))
            }
        }
        var rowOf: [UInt64: Int32] = [:]
        if case .table(_, let rows) = text.vectors, let path = files.key2row {
            rowOf = try ModelFiles.key2row(path, rows: rows)
            bundle.append(("key2row", path))
        }
        let vectors = try files.vectors.map { path throws(InputError) in try VectorTable(path: path) }
        try Self.compare(vectors, text)
        let lexicon = Lexicon(
            symbols: .spacy38, norms: LanguageNorms(language: text.language, version: .spacy38), normTable: normTable, stored: [:],
            rowOf: rowOf, job: text)
        self.init(
            Parts(
                folder: files.nlp, vectors: vectors, lexicon: lexicon, rules: rules, text: text, digest: try Self.digest(text, bundle),
                bundleFiles: bundle))
    }

    /// The same from fetched files.
    package convenience init(bundle folder: String, text: TextSettings) throws(InputError) {
        try self.init(JobTextFiles(bundle: folder, text: text), text: text)
    }

    private static func compare(_ table: VectorTable?, _ text: TextSettings) throws(InputError) {
        let rows: Int
        switch text.vectors {
        case .table(_, let count): rows = count
        case .floret(_, let floret): rows = floret.rows
        case nil: return
        }
        guard let table, table.rows != rows else { return }
        throw InputError(
            "\(table.rows) rows, but the job was made with \(rows)", at: table.path,
            remedy: "put the old vectors back, or " + TextSettings.remedy)
    }

    private static func digest(_ text: TextSettings, _ bundle: [(name: String, path: String)]) throws(InputError) -> String {
        var hash = SHA256()
        hash.update("t2v job \(PreparedShard.version) \(codeVersion) \(text.digestText)\n")
        // the other fields of meta.json do not matter here
        for file in bundle where file.name != "nlp/meta.json" {
            let mapped = try MappedFile(file.path)
            hash.update("\(file.name) \(mapped.bytes.count)\n")
            hash.update(mapped.bytes)
        }
        return hash.finalize().hex
    }

    /// The word [MASK], which stands for most hidden words.
    /// - Parameter ids: of a job's pieces, in the order of their columns; nil where t2v computes them.
    /// - Throws: `InputError` when the pieces lack a column that the model reads.
    package func maskWord(schema: FeatureSchema, ids: [UInt64]?) throws(InputError) -> WordFeatures {
        guard let text, text.path == .pieces else { return features(of: "[MASK]", schema: schema) }
        guard let ids, ids.count == text.columns.count else {
            throw InputError("no columns of the word [MASK]", at: "job.json", remedy: TextSettings.remedy)
        }
        return try PiecePreparer(text: text, lexicon: lexicon, schema: schema, minLength: 0, maxLength: .max).maskWord(ids: ids)
    }
}
