// Which features of words and tokens a model reads. In: a spec. Out: the columns of prepared shards, tables of words, micro-batches.
import Base

/// The columns of a distinct word, in order. Made from a spec; its digest is in every prepared shard and in the cache's keys.
///
/// A distinct word has one 64-bit id for each column, a list of vector rows (empty: no vector; one: its row; many: a floret word, whose
/// vector is the rows' mean), and the first bytes of its text. Attributes that belong to a token and not to its word are derived from the
/// token: SPACY from its bit 31, SENT_START from its place.
public struct FeatureSchema: Sendable, Equatable {
    /// spaCy's attribute names. "ORTH" is the first, whether the model reads it or not: it names the word.
    public let columns: [String]
    /// Whether vector rows are needed.
    public let hasVectors: Bool
    /// The attribute whose id is the key into the vectors table (default mode), or whose text gives the n-grams (floret).
    public let vectorsAttribute: String
    /// Bytes of a word's text that are needed: first, last, second, second to last ...; 255 where none is left.
    public let byteCount: Int
    /// 64 bits of everything above.
    public let digest: UInt64

    /// Attributes that the token has, not the word.
    public enum TokenColumn: String, Sendable, CaseIterable {
        /// 1 if a space follows, else 0.
        case spacy = "SPACY"
        /// 1 for the first token of a document, else 0.
        case sentStart = "SENT_START"
    }

    /// - Parameters:
    ///   - attributes: in any order; duplicates and per-token attributes are left out.
    ///   - vectorsAttribute: nil without vectors.
    public init(attributes: [String], vectorsAttribute: String?, byteCount: Int) {
        var columns = ["ORTH"]
        for name in attributes where !columns.contains(name) && TokenColumn(rawValue: name) == nil { columns.append(name) }
        self.columns = columns
        hasVectors = vectorsAttribute != nil
        self.vectorsAttribute = vectorsAttribute ?? "ORTH"
        self.byteCount = byteCount
        let text = "\(columns.joined(separator: " ")) | \(vectorsAttribute ?? "") | \(byteCount)"
        digest = Array(text.utf8).withUnsafeBytes { Digest64.hash($0) }
    }

    /// The columns of spaCy 2's models.
    public static let spacy2 = FeatureSchema(attributes: ["NORM", "PREFIX", "SUFFIX", "SHAPE"], vectorsAttribute: "ORTH", byteCount: 0)

    /// The place of an attribute among the columns.
    public func column(of attribute: String) -> Int? { columns.firstIndex(of: attribute) }
}
