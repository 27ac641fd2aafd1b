// A regular expression as a tree. In: what PatternParser read. Out: what translation and PatternReach walk over.

/// A parsed pattern. Case is already folded into the sets, so nothing below depends on flags.
indirect enum PatternNode {
    /// One code point of a set.
    case one(CodePointSet)
    /// `\d` and `\w` by name, which PCRE2 matches faster than their ranges: positive or negated.
    case category(PatternCategory, negated: Bool)
    /// Parts of a class, which may mix sets and categories.
    case choice(CodePointSet, [PatternCategory], negated: Bool)
    case sequence([PatternNode])
    case alternatives([PatternNode])
    case repeated(PatternNode, least: Int, most: Int?, kind: PatternRepeat)
    case look(PatternNode, behind: Bool, negated: Bool)
    case anchor(PatternAnchor)
    case atomic(PatternNode)
}

enum PatternCategory { case digit, word }
enum PatternRepeat { case greedy, lazy, possessive }
enum PatternAnchor { case start, endOrLastNewline, end, wordBoundary, notWordBoundary }
