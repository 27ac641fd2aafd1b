// Python's regular expressions, parsed. In: a pattern of a model's tokenizer file. Out: its tree, or an error that names what is not
// supported.
import Base

/// A recursive-descent parser of the syntax of Python's `re` (re/_parser.py), without back references, conditionals and the flags a, L, m,
/// x.
struct PatternParser {
    private let scalars: [UInt32]
    private var place = 0
    private var ignoresCase = false
    private var dotMatchesAll = false
    private var depth = 0
    private let name: String

    /// - Parameter name: file and key of the pattern, for errors.
    init(_ pattern: String, name: String) {
        scalars = pattern.unicodeScalars.map(\.value)
        self.name = name
    }

    static func parse(_ pattern: String, name: String) throws(InputError) -> PatternNode {
        var parser = PatternParser(pattern, name: name)
        let node = try parser.alternatives()
        guard parser.place == parser.scalars.count else { throw parser.refuse("an unbalanced parenthesis") }
        return node
    }

    private func refuse(_ what: String) -> InputError {
        InputError(
            "the pattern has \(what) at character \(place), which is not supported", at: name,
            remedy: "use a model whose tokenizer does not have it, or give `tokens` instead of `text`")
    }

    private func peek(_ ahead: Int = 0) -> UInt32? { place + ahead < scalars.count ? scalars[place + ahead] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek() == character.value else { return false }
        place += 1
        return true
    }

    private mutating func take(_ text: String) -> Bool {
        let wanted = text.unicodeScalars.map(\.value)
        guard scalars[place...].starts(with: wanted) else { return false }
        place += wanted.count
        return true
    }

    private mutating func alternatives() throws(InputError) -> PatternNode {
        guard depth < 200 else { throw refuse("more than 200 nested groups") }
        depth += 1
        defer { depth -= 1 }
        var branches = [try sequence()]
        while take("|" as Unicode.Scalar) { branches.append(try sequence()) }
        return branches.count == 1 ? branches[0] : .alternatives(branches)
    }

    private mutating func sequence() throws(InputError) -> PatternNode {
        var items: [PatternNode] = []
        while let next = peek(), next != 0x7c, next != 0x29 {
            guard let atom = try atom() else { continue }
            items.append(try quantified(atom))
        }
        return items.count == 1 ? items[0] : .sequence(items)
    }

    private mutating func quantified(_ atom: PatternNode) throws(InputError) -> PatternNode {
        guard let bounds = try quantifier() else { return atom }
        let kind: PatternRepeat = take("?" as Unicode.Scalar) ? .lazy : take("+" as Unicode.Scalar) ? .possessive : .greedy
        if peek() == 0x2a || peek() == 0x2b || peek() == 0x3f { throw refuse("a repeated quantifier") }
        return .repeated(atom, least: bounds.least, most: bounds.most, kind: kind)
    }

    /// `*`, `+`, `?` or a brace that Python takes as a quantifier; any other brace is a literal and stays unread.
    private mutating func quantifier() throws(InputError) -> (least: Int, most: Int?)? {
        if take("*" as Unicode.Scalar) { return (0, nil) }
        if take("+" as Unicode.Scalar) { return (1, nil) }
        if take("?" as Unicode.Scalar) { return (0, 1) }
        let start = place
        guard take("{" as Unicode.Scalar) else { return nil }
        let least = number()
        let comma = take("," as Unicode.Scalar)
        let most = comma ? number() : least
        guard take("}" as Unicode.Scalar), least != nil || comma else {
            place = start
            return nil
        }
        guard most ?? 0 <= 65535, least ?? 0 <= 65535, most.map({ $0 >= least ?? 0 }) ?? true else {
            throw refuse("a quantifier out of range")
        }
        return (least ?? 0, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = peek(), digit >= 0x30, digit <= 0x39 {
            value = min((value ?? 0) * 10 + Int(digit - 0x30), 1 << 20)
            place += 1
        }
        return value
    }

    /// One item, or nil for a comment or a group of flags.
    private mutating func atom() throws(InputError) -> PatternNode? {
        guard let next = peek() else { throw refuse("an early end") }
        switch next {
        case 0x28: return try group()
        case 0x5b: return try characterClass()
        case 0x5c: return try escape()
        case 0x2e:
            place += 1
            return dotMatchesAll ? .one(CodePointSet([0...CodePointSet.last])) : .one(CodePointSet([0x0a...0x0a]).complement)
        case 0x5e:
            place += 1
            return .anchor(.start)
        case 0x24:
            place += 1
            return .anchor(.endOrLastNewline)
        case 0x2a, 0x2b, 0x3f: throw refuse("a quantifier with nothing before it")
        default:
            place += 1
            return literal(next)
        }
    }

    private func literal(_ code: UInt32) -> PatternNode {
        let set = CodePointSet([code...code])
        return .one(ignoresCase ? set.ignoringCase : set)
    }

    private mutating func group() throws(InputError) -> PatternNode? {
        if take("(?#") {
            while peek() != nil, peek() != 0x29 { place += 1 }
            try close()
            return nil
        }
        for (opening, behind, negated) in [("(?=", false, false), ("(?!", false, true), ("(?<=", true, false), ("(?<!", true, true)] {
            guard take(opening) else { continue }
            return .look(try inside(), behind: behind, negated: negated)
        }
        if take("(?:") { return try inside() }
        if take("(?>") { return .atomic(try inside()) }
        if take("(?P<") {
            while peek() != nil, peek() != 0x3e { place += 1 }
            guard take(">" as Unicode.Scalar) else { throw refuse("an unfinished group name") }
            return try inside()
        }
        if take("(?") { return try flags() }
        _ = take("(" as Unicode.Scalar)
        return try inside()
    }

    /// The rest of a group and its parenthesis; flags set within end with it.
    private mutating func inside() throws(InputError) -> PatternNode {
        let outer = (ignoresCase, dotMatchesAll)
        let node = try alternatives()
        (ignoresCase, dotMatchesAll) = outer
        try close()
        return node
    }

    private mutating func close() throws(InputError) {
        guard take(")" as Unicode.Scalar) else { throw refuse("an unclosed group") }
    }

    /// `(?iu)` for the rest of the pattern, or `(?i:...)` and `(?-i:...)` for a group.
    private mutating func flags() throws(InputError) -> PatternNode? {
        let outer = (ignoresCase, dotMatchesAll)
        var on = true
        while let next = peek() {
            place += 1
            switch next {
            case 0x2d: on = false
            case 0x69: ignoresCase = on
            case 0x73: dotMatchesAll = on
            case 0x75: break
            case 0x29: return nil
            case 0x3a:
                let node = try alternatives()
                (ignoresCase, dotMatchesAll) = outer
                try close()
                return node
            default:
                place -= 1
                throw refuse("a group or flag of another kind")
            }
        }
        throw refuse("an unclosed group")
    }

    private mutating func escape() throws(InputError) -> PatternNode {
        place += 1
        guard let next = peek(), let scalar = Unicode.Scalar(next) else { throw refuse("a backslash at its end") }
        switch scalar {
        case "d", "D", "w", "W":
            place += 1
            return .category(scalar == "d" || scalar == "D" ? .digit : .word, negated: scalar == "D" || scalar == "W")
        case "s", "S":
            place += 1
            return .one(scalar == "s" ? .space : CodePointSet.space.complement)
        case "A", "Z", "b", "B":
            place += 1
            return .anchor(scalar == "A" ? .start : scalar == "Z" ? .end : scalar == "b" ? .wordBoundary : .notWordBoundary)
        default:
            place -= 1
            return literal(try escapedCharacter())
        }
    }

    /// The character that an escape stands for; `place` is at the backslash.
    private mutating func escapedCharacter() throws(InputError) -> UInt32 {
        place += 1
        guard let next = peek(), let scalar = Unicode.Scalar(next) else { throw refuse("a backslash at its end") }
        place += 1
        switch scalar {
        case "x": return try hexadecimal(2)
        case "u": return try hexadecimal(4)
        case "U": return try hexadecimal(8)
        case "n": return 0x0a
        case "t": return 0x09
        case "r": return 0x0d
        case "f": return 0x0c
        case "v": return 0x0b
        case "a": return 0x07
        case "0": return octal()
        case "1"..."9", "a"..."z", "A"..."Z":
            place -= 1
            throw refuse("the escape \\\(scalar)")
        default: return next
        }
    }

    /// After `\0`: at most two octal digits, as in Python (3.12 `re/_parser.py`, `_escape`).
    private mutating func octal() -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<2 {
            guard let next = peek(), (0x30...0x37).contains(next) else { break }
            value = value << 3 | (next - 0x30)
            place += 1
        }
        return value
    }

    private mutating func hexadecimal(_ digits: Int) throws(InputError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let next = peek(), let scalar = Unicode.Scalar(next), let digit = Character(scalar).hexDigitValue, value >> 28 == 0 else {
                throw refuse("an unfinished escape")
            }
            value = value << 4 | UInt32(digit)
            place += 1
        }
        guard value <= CodePointSet.last else { throw refuse("a code point beyond U+10FFFF") }
        return value
    }
}

extension PatternParser {
    /// `[...]`. A closing bracket in the first place is a member; ranges and escapes are as in Python.
    private mutating func characterClass() throws(InputError) -> PatternNode {
        place += 1
        let negated = take("^" as Unicode.Scalar)
        var ranges: [ClosedRange<UInt32>] = []
        var categories: [PatternCategory] = []
        var extra = CodePointSet.empty
        var isFirst = true
        while true {
            guard let next = peek() else { throw refuse("an unclosed class") }
            if next == 0x5d, !isFirst { break }
            isFirst = false
            if next == 0x5c, let named = peek(1), let scalar = Unicode.Scalar(named), "dDwWsS".unicodeScalars.contains(scalar) {
                place += 2
                switch scalar {
                case "d": categories.append(.digit)
                case "w": categories.append(.word)
                case "s": extra = extra.union(.space)
                case "S": extra = extra.union(CodePointSet.space.complement)
                case "W": extra = extra.union(CodePointSet.word.complement)
                default: throw refuse("\\D in a class")
                }
                if peek() == 0x2d, peek(1) != 0x5d { throw refuse("a range that begins with a category") }
                continue
            }
            let low = try member()
            if peek() == 0x2d, let after = peek(1), after != 0x5d {
                place += 1
                let high = try member()
                guard low <= high else { throw refuse("a reversed range") }
                ranges.append(low...high)
            } else {
                ranges.append(low...low)
            }
        }
        place += 1
        var set = CodePointSet(ranges)
        if ignoresCase { set = set.ignoringCase }
        set = set.union(extra)
        if categories.isEmpty { return .one(negated ? set.complement : set) }
        return .choice(set, categories, negated: negated)
    }

    private mutating func member() throws(InputError) -> UInt32 {
        guard let next = peek() else { throw refuse("an unclosed class") }
        if next == 0x5c {
            if peek(1) == 0x62 {
                place += 2
                return 0x08
            }
            return try escapedCharacter()
        }
        place += 1
        return next
    }
}
