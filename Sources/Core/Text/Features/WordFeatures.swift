// The lexical attributes of one word, as the embedding reads them.

/// One distinct word of a corpus: a pair (ORTH, NORM) with everything the model derives from it.
///
/// All attributes are spaCy string ids: MurmurHash64A with seed 1 of the UTF-8 bytes, 0 for the empty string, the symbol's number for a
/// symbol name (spaCy 2.x `strings.pyx`).
public struct WordFeatures: Hashable, Sendable {
    /// Id of the verbatim text.
    public var orth: UInt64
    /// Id of the normalized form (of the token: tokenizer exceptions override the lexeme's).
    public var norm: UInt64
    /// Id of the first code point.
    public var prefix: UInt64
    /// Id of the last three code points.
    public var suffix: UInt64
    /// Id of the orthographic shape ("Xxxx").
    public var shape: UInt64
    /// Row of the word's vector in the vectors table, or -1.
    public var row: Int32

    public init(orth: UInt64, norm: UInt64, prefix: UInt64, suffix: UInt64, shape: UInt64, row: Int32) {
        self.orth = orth
        self.norm = norm
        self.prefix = prefix
        self.suffix = suffix
        self.shape = shape
        self.row = row
    }

    /// Padding: id 0 in every attribute, as spaCy's rows of zero features. No vector.
    public static let padding = WordFeatures(orth: 0, norm: 0, prefix: 0, suffix: 0, shape: 0, row: -1)
}
