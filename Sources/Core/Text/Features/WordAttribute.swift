// The attributes of a word that a table may embed. In: a word's bytes and norm. Out: the 64-bit numbers that spaCy 3 gives them.

/// An attribute of distinct words that t2v computes as spaCy 3.8 does (spacy/lang/lex_attrs.py, spacy/lexeme.pyx). This is the one list of
/// them: the Python side asks for it (`t2v-coordinator attributes`) and lets spaCy compute all others.
package enum WordAttribute: String, CaseIterable, Codable, Sendable {
    /// String ids.
    case orth = "ORTH"
    case lower = "LOWER"
    /// Of the token: an exception of the tokenizer may give it a norm other than the lexeme's.
    case norm = "NORM"
    case prefix = "PREFIX"
    case suffix = "SUFFIX"
    case shape = "SHAPE"
    case lang = "LANG"
    /// Code points.
    case length = "LENGTH"
    /// 0 or 1.
    case isAlpha = "IS_ALPHA"
    case isASCII = "IS_ASCII"
    case isDigit = "IS_DIGIT"
    case isLower = "IS_LOWER"
    case isUpper = "IS_UPPER"
    case isTitle = "IS_TITLE"
    case isSpace = "IS_SPACE"
    case isPunct = "IS_PUNCT"
    case isBracket = "IS_BRACKET"
    case isQuote = "IS_QUOTE"
    case isLeftPunct = "IS_LEFT_PUNCT"
    case isRightPunct = "IS_RIGHT_PUNCT"
    case isCurrency = "IS_CURRENCY"
    /// 0: nothing is annotated when a tok2vec is pretrained.
    case entType = "ENT_TYPE"
    case pos = "POS"
    case tag = "TAG"
    case dep = "DEP"
    case lemma = "LEMMA"

    /// Languages whose own function is another one (spacy/lang/*/__init__.py and lex_attrs.py of 3.8.18).
    package var excludedLanguages: [String] {
        switch self {
        case .isCurrency: ["id", "ms", "sl"]
        // their LEX_ATTRS set LANG themselves
        case .lang: ["am", "bg", "mk", "ti"]
        default: []
        }
    }

    package func isComputed(for language: String) -> Bool { !excludedLanguages.contains(language) }
}

/// Classes of a code point as Python 3.11 sees them.
struct CharacterClasses: OptionSet {
    let rawValue: UInt8
    /// Category P*.
    static let punctuation = CharacterClasses(rawValue: 1)
    /// Category Sc.
    static let currency = CharacterClasses(rawValue: 2)
    /// Category Lt.
    static let title = CharacterClasses(rawValue: 4)
    /// `str.islower` of the single character: the property Lowercase.
    static let lower = CharacterClasses(rawValue: 8)

    /// One byte for every code point; never freed.
    nonisolated(unsafe) static let table: UnsafePointer<UInt8> = CharacterTables.unpacked(UnicodeCategories.runs)

    @inline(__always)
    static func of(_ code: UInt32) -> CharacterClasses { CharacterClasses(rawValue: table[Int(code)]) }
}

/// The flags of a word (spacy/lang/lex_attrs.py), with Python's rules for strings.
enum WordFlags {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    @inline(__always)
    private static func all(_ word: Bytes, _ test: (UInt32) -> Bool) -> Bool {
        guard let base = word.baseAddress else { return false }
        var place = 0
        while place < word.count {
            guard test(UTF8Walk.decode(base + place)) else { return false }
            place += UTF8Walk.length(base[place])
        }
        return true
    }

    static func isAlpha(_ word: Bytes) -> Bool { all(word) { CharacterTables.has(.alphabetic, $0) } }
    static func isASCII(_ word: Bytes) -> Bool { word.allSatisfy { $0 < 0x80 } }
    static func isDigit(_ word: Bytes) -> Bool { all(word) { CharacterTables.has(.digit, $0) } }
    static func isSpace(_ word: Bytes) -> Bool { all(word) { CharacterTables.has(.space, $0) } }
    static func isPunct(_ word: Bytes) -> Bool { all(word) { CharacterClasses.of($0).contains(.punctuation) } }
    static func isCurrency(_ word: Bytes) -> Bool { all(word) { CharacterClasses.of($0).contains(.currency) } }

    /// `str.islower` (Objects/unicodeobject.c): at least one lower case letter, and none in upper or title case.
    static func isLower(_ word: Bytes) -> Bool {
        var found = false
        let clean = all(word) { code in
            let classes = CharacterClasses.of(code)
            found = found || classes.contains(.lower)
            return !CharacterTables.has(.upper, code) && !classes.contains(.title)
        }
        return clean && found
    }

    /// `str.isupper`: at least one upper case letter, and none in lower or title case.
    static func isUpper(_ word: Bytes) -> Bool {
        var found = false
        let clean = all(word) { code in
            found = found || CharacterTables.has(.upper, code)
            return CharacterClasses.of(code).isDisjoint(with: [.lower, .title])
        }
        return clean && found
    }

    /// `str.istitle`: upper and title case letters follow only characters without case, lower case letters only those with.
    static func isTitle(_ word: Bytes) -> Bool {
        var (found, afterCased) = (false, false)
        let clean = all(word) { code in
            let classes = CharacterClasses.of(code)
            if classes.contains(.title) || CharacterTables.has(.upper, code) {
                if afterCased { return false }
                (found, afterCased) = (true, true)
            } else if classes.contains(.lower) {
                if !afterCased { return false }
                found = true
            } else {
                afterCased = false
            }
            return true
        }
        return clean && found
    }

    private static func set(_ words: String) -> Set<[UInt8]> { Set(words.split(separator: " ").map { Array($0.utf8) }) }

    static let brackets = set("( ) [ ] { } < >")
    static let quotes = set("\" ' ` « » ‘ ’ ‚ ‛ “ ” „ ‟ ‹ › ❮ ❯ '' ``")
    static let leftPuncts = set("( [ { < \" ' « ‘ ‚ ‛ “ „ ‟ ‹ ❮ ``")
    static let rightPuncts = set(") ] } > \" ' » ’ ” › ❯ ''")

    /// The longest of them has three bytes.
    static func isIn(_ words: Set<[UInt8]>, _ word: Bytes) -> Bool { word.count <= 3 && words.contains(Array(word)) }
}
