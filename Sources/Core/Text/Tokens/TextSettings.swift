// How texts become words. In: a job's "text" and "vectors". Out: what workers need, besides files, to prepare shards.
import Base

/// The text side of a run that was compiled from a spaCy 3 config. It travels to the workers.
package struct TextSettings: Codable, Sendable, Equatable {
    static let remedy = "compile the config again"

    /// Who tokenizes.
    package enum Path: String, Codable, Sendable {
        /// t2v, by the rules in the job's `nlp`.
        case fast
        /// Python, beforehand: texts are pieces.
        case pieces
    }

    /// What the texts are on the fast path.
    package enum Format: String, Codable, Sendable {
        case jsonl
        /// One document a line, no JSON.
        case lines
    }

    /// How a word finds its rows in the vectors table.
    package enum Vectors: Codable, Sendable, Equatable {
        /// By the id of an attribute in the file key2row.
        case table(attribute: String, rows: Int)
        /// By the n-grams of an attribute's text.
        case floret(attribute: String, FloretRows)

        package var attribute: String {
            switch self {
            case .table(let attribute, _), .floret(let attribute, _): attribute
            }
        }
    }

    package var path: Path
    package var format: Format
    /// Code of the language, for its norms: "en".
    package var language: String
    /// The columns of pieces, in their order.
    package var columns: [String]
    /// Nil where the model needs none.
    package var vectors: Vectors?

    package init(path: Path, format: Format, language: String, columns: [String], vectors: Vectors?) {
        (self.path, self.format, self.language, self.columns, self.vectors) = (path, format, language, columns, vectors)
    }

    /// What the corpus's files hold.
    package var corpusFormat: CorpusIndex.Format {
        switch (path, format) {
        case (.pieces, _): .pieces(columns: columns.count)
        case (.fast, .jsonl): .jsonl
        case (.fast, .lines): .lines
        }
    }

    /// Everything above that decides what a prepared shard holds, for the cache's keys.
    var digestText: String {
        let encoded: String
        switch vectors {
        case .table(let attribute, let rows): encoded = "table \(attribute) \(rows)"
        case .floret(let attribute, let floret):
            encoded =
                "floret \(attribute) \(floret.minimum) \(floret.maximum) \(floret.hashCount) \(floret.seed) \(floret.begin.utf8.count) "
                + "\(floret.begin)\(floret.end) \(floret.rows)"
        case nil: encoded = "none"
        }
        return "\(path.rawValue) \(format.rawValue) \(language) \(columns.joined(separator: ",")) \(encoded)"
    }
}
