// A parsed Python pattern in PCRE2's syntax. In: `PatternNode`. Out: text for pcre2_compile with PCRE2_UTF and newline = LF.

extension PatternNode {
    /// The same language, match for match, as Python's `re`: every set is spelled out, so that neither case folding nor the meaning of
    /// `\s` or `\b` depends on the library's version; `\d` and `\w` are the general categories Nd, and L, N and the underscore, as in
    /// Python.
    var pcre: String {
        switch self {
        case .one(let set): return Self.classText(set, [], negated: false)
        case .category(let category, let negated): return Self.classText(.empty, [category], negated: negated)
        case .choice(let set, let categories, let negated): return Self.classText(set, categories, negated: negated)
        case .sequence(let nodes): return nodes.map(\.pcreAtom).joined()
        case .alternatives(let nodes): return nodes.map(\.pcre).joined(separator: "|")
        case .repeated(let node, let least, let most, let kind):
            let suffix = kind == .lazy ? "?" : kind == .possessive ? "+" : ""
            return node.pcreGroup + Self.bounds(least, most) + suffix
        case .look(let node, let behind, let negated):
            return "(?" + (behind ? "<" : "") + (negated ? "!" : "=") + node.pcre + ")"
        case .anchor(.start): return "^"
        case .anchor(.endOrLastNewline): return "$"
        case .anchor(.end): return "\\z"
        case .anchor(.wordBoundary): return "(?:(?<=\(Self.word))(?!\(Self.word))|(?<!\(Self.word))(?=\(Self.word)))"
        case .anchor(.notWordBoundary): return "(?:(?<=\(Self.word))(?=\(Self.word))|(?<!\(Self.word))(?!\(Self.word)))"
        case .atomic(let node): return "(?>" + node.pcre + ")"
        }
    }

    private static let word = "[\\p{L}\\p{N}_]"

    /// As one item of a sequence.
    private var pcreAtom: String {
        if case .alternatives = self { return "(?:" + pcre + ")" }
        return pcre
    }

    /// As the operand of a quantifier.
    private var pcreGroup: String {
        switch self {
        case .one, .category, .choice: return pcre
        default: return "(?:" + pcre + ")"
        }
    }

    private static func bounds(_ least: Int, _ most: Int?) -> String {
        switch (least, most) {
        case (0, nil): return "*"
        case (1, nil): return "+"
        case (0, 1): return "?"
        case (_, nil): return "{\(least),}"
        case (_, let most?): return "{\(least),\(most)}"
        }
    }

    private static func escaped(_ code: UInt32) -> String {
        switch code {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: return String(Unicode.Scalar(UInt8(code)))
        default: return "\\x{" + String(code, radix: 16) + "}"
        }
    }

    private static func classText(_ set: CodePointSet, _ categories: [PatternCategory], negated: Bool) -> String {
        // valid UTF-8 holds no surrogates, and PCRE2 refuses to name them
        let ranges = set.ranges.flatMap { range -> [ClosedRange<UInt32>] in
            var parts: [ClosedRange<UInt32>] = []
            if range.lowerBound < 0xd800 { parts.append(range.lowerBound...min(range.upperBound, 0xd7ff)) }
            if range.upperBound > 0xdfff { parts.append(max(range.lowerBound, 0xe000)...range.upperBound) }
            return parts
        }
        if ranges.isEmpty, categories.isEmpty { return negated ? "[\\x{0}-\\x{10ffff}]" : "(?!)" }
        if !negated, categories.isEmpty, ranges.count == 1, ranges[0].count == 1 { return escaped(ranges[0].lowerBound) }
        var text = negated ? "[^" : "["
        for range in ranges {
            text += escaped(range.lowerBound)
            if range.count > 1 { text += "-" + escaped(range.upperBound) }
        }
        for category in categories { text += category == .digit ? "\\p{Nd}" : "\\p{L}\\p{N}_" }
        return text + "]"
    }
}
