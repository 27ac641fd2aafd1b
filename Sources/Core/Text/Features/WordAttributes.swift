// The lexical attributes of one word of a spaCy 2 pipeline. In: what the lexicon computes. Out: the columns that a schema wants.
import Shards

/// ORTH, NORM, PREFIX, SUFFIX and SHAPE of a word as spaCy's string ids: MurmurHash64A with seed 1 of the UTF-8 bytes, 0 for the empty
/// string, the symbol's number for a symbol name (spaCy 2.x `strings.pyx`).
package struct WordAttributes: Hashable, Sendable {
    /// Id of the verbatim text.
    package var orth: UInt64
    /// Id of the normalized form (of the token: tokenizer exceptions override the lexeme's).
    package var norm: UInt64
    /// Id of the first code point.
    package var prefix: UInt64
    /// Id of the last three code points.
    package var suffix: UInt64
    /// Id of the orthographic shape ("Xxxx").
    package var shape: UInt64
    /// Row of the word's vector in the vectors table, or -1.
    package var row: Int32

    package init(orth: UInt64, norm: UInt64, prefix: UInt64, suffix: UInt64, shape: UInt64, row: Int32) {
        self.orth = orth
        self.norm = norm
        self.prefix = prefix
        self.suffix = suffix
        self.shape = shape
        self.row = row
    }

    /// The id of an attribute; 0 for one that is not known here.
    func id(_ attribute: String) -> UInt64 {
        switch attribute {
        case "ORTH": orth
        case "NORM": norm
        case "PREFIX": prefix
        case "SUFFIX": suffix
        case "SHAPE": shape
        default: 0
        }
    }

    /// The word by a schema's columns.
    /// - Parameter text: the word's UTF-8 bytes, needed if the schema has bytes.
    package func features(_ schema: FeatureSchema, text: UnsafeBufferPointer<UInt8>) -> WordFeatures {
        WordFeatures(
            ids: schema.columns.map(id), rows: schema.hasVectors && row >= 0 ? [UInt32(row)] : [],
            bytes: schema.byteCount == 0 ? [] : WordFeatures.selectedBytes(text, count: schema.byteCount))
    }
}
