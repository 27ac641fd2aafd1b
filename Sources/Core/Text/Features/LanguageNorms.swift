// NORM as the language's code gives it. In: a word. Out: its norm, before anything that a model stores.
import Shards

/// The norm getter of a language (spacy/lang/*/lex_attrs.py and, in 2.1, lang/*/norm_exceptions.py): the base norms, then the language's
/// own, then lower case.
struct LanguageNorms: Sendable {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    private enum Rule: Sendable {
        case lower
        /// Groups of endings, tried from the last group on; every ending of a group removes as many code points as the group's first one
        /// has. If the word is too short, hi of 2.3 and 3.x tries the next group; ne and 2.1's hi stop.
        case stem(groups: [[[UInt8]]], stopsWhenShort: Bool)
        case map([[UInt8]: [UInt8]])
    }

    private let base: [[UInt8]: [UInt8]]
    private let rule: Rule

    /// Languages of 2.1 whose getter is lower case alone, without even the base norms (observed with spaCy 2.1.9).
    private static let plainIn21: Set<String> = [
        "af", "bg", "bn", "cs", "et", "ga", "he", "is", "ja", "kn", "ko", "lv", "mr", "si", "sk", "sl", "sq", "ta", "te", "th", "tt", "ur",
        "zh",
    ]

    init(language: String, version: SymbolVersion) {
        let baseNorms = Self.pairs(BaseNorms.pairs)
        switch (language, version) {
        case ("hi", _):
            base = baseNorms
            rule = .stem(groups: Self.groups(LanguageEndings.hindi), stopsWhenShort: version == .spacy21)
        case ("ne", .spacy23), ("ne", .spacy38):
            base = baseNorms
            rule = .stem(groups: Self.groups(LanguageEndings.nepali), stopsWhenShort: true)
        case ("ht", .spacy38):
            base = baseNorms
            rule = .map(Self.pairs(LanguageEndings.haitian))
        case (_, .spacy21):
            base = Self.plainIn21.contains(language) ? [:] : baseNorms
            rule = Self.table21(language).map { .map(Self.pairs($0)) } ?? .lower
        default:
            base = baseNorms
            rule = .lower
        }
    }

    /// `word=norm|...`.
    private static func pairs(_ text: String) -> [[UInt8]: [UInt8]] {
        var result: [[UInt8]: [UInt8]] = [:]
        for entry in text.utf8.split(separator: UInt8(ascii: "|")) {
            let fields = entry.split(separator: UInt8(ascii: "="))
            if fields.count == 2 { result[Array(fields[0])] = Array(fields[1]) }
        }
        return result
    }

    private static func groups(_ text: String) -> [[[UInt8]]] {
        text.utf8.split(separator: UInt8(ascii: "|")).map { $0.split(separator: 0x20).map(Array.init) }
    }

    /// The tables that 2.2 moved from code into the models.
    private static func table21(_ language: String) -> String? {
        switch language {
        case "da": Norms21.da
        case "de": Norms21.de
        case "el": Norms21Greek1.el + "|" + Norms21Greek2.el
        case "en": Norms21English.en
        case "id": Norms21.id
        case "pt": Norms21.pt
        case "ru": Norms21.ru
        default: nil
        }
    }

    /// The norm of `word` in a table. A plus sign before a norm there means that the word with a capital first letter has it, too.
    private static func entry(for word: Bytes, in table: [[UInt8]: [UInt8]]) -> [UInt8]? {
        let plus = UInt8(ascii: "+")
        if let norm = table[Array(word)] { return norm.first == plus ? Array(norm.dropFirst()) : norm }
        guard let base = word.baseAddress, !word.isEmpty, let lower = CharacterTables.lowerOf[UTF8Walk.decode(base)] else { return nil }
        var key: [UInt8] = []
        UTF8Walk.append(lower, to: &key)
        guard let norm = table[key + word[UTF8Walk.length(base[0])...]], norm.first == plus else { return nil }
        return Array(norm.dropFirst())
    }

    func norm(_ word: Bytes) -> [UInt8] {
        // only short words have a base norm: the longest is four code points
        if word.count <= 16, let norm = base[Array(word)] { return norm }
        switch rule {
        case .lower: return LexicalAttributes.lower(word)
        case .map(let table): return Self.entry(for: word, in: table) ?? LexicalAttributes.lower(word)
        case .stem(let groups, let stopsWhenShort):
            let count = UTF8Walk.count(word)
            for group in groups.reversed() {
                let length = group[0].withUnsafeBufferPointer(UTF8Walk.count)
                if count <= length {
                    if stopsWhenShort { break }
                    continue
                }
                if group.contains(where: { word.reversed().starts(with: $0.reversed()) }) { return Self.dropLast(length, of: word) }
            }
            return Array(word)
        }
    }

    private static func dropLast(_ codePoints: Int, of word: Bytes) -> [UInt8] {
        var place = word.count
        var left = codePoints
        while left > 0, place > 0 {
            place -= 1
            if word[place] & 0xc0 != 0x80 { left -= 1 }
        }
        return Array(word[..<place])
    }
}
