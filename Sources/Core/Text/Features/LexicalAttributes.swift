// Shape, prefix, suffix and lower case of one word. In: its UTF-8 bytes. Out: bytes, or ranges of the word's own bytes.

/// spaCy's lexical attribute functions (spacy/lang/lex_attrs.py, the same in 2.1.9, 2.3.9 and 3.8), on code points, with Python's tables.
package enum LexicalAttributes {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    /// The first code point.
    static func prefix(_ word: Bytes) -> Bytes {
        guard let first = word.first else { return word }
        return Bytes(rebasing: word.prefix(UTF8Walk.length(first)))
    }

    /// The last three code points, or all if there are fewer.
    static func suffix(_ word: Bytes) -> Bytes {
        var place = word.count
        var left = 3
        while place > 0, left > 0 {
            place -= 1
            if word[place] & 0xc0 != 0x80 { left -= 1 }
        }
        return Bytes(rebasing: word[place...])
    }

    /// The orthographic shape: letters become X or x, digits d, runs of one shape character end at four; "LONG" for 100 code points or
    /// more.
    static func shape(_ word: Bytes) -> [UInt8] {
        guard let base = word.baseAddress else { return [] }
        if word.count >= 100, UTF8Walk.count(word) >= 100 { return Array("LONG".utf8) }
        var shape: [UInt8] = []
        shape.reserveCapacity(word.count)
        var last: UInt32 = .max
        var repeats = 0
        var place = 0
        while place < word.count {
            let code = UTF8Walk.decode(base + place)
            place += UTF8Walk.length(base[place])
            let flags = CharacterFlags(rawValue: CharacterTables.flags[Int(code)])
            let shaped: UInt32
            if flags.contains(.alphabetic) {
                shaped = flags.contains(.upper) ? 0x58 : 0x78
            } else {
                shaped = flags.contains(.digit) ? 0x64 : code
            }
            repeats = shaped == last ? repeats + 1 : 0
            last = shaped
            if repeats < 4 { UTF8Walk.append(shaped, to: &shape) }
        }
        return shape
    }

    /// Python's `str.lower`: full case mapping with the final-sigma rule; U+0130 gives "i" and U+0307.
    static func lower(_ word: Bytes) -> [UInt8] {
        guard let base = word.baseAddress else { return [] }
        var result: [UInt8] = []
        result.reserveCapacity(word.count)
        var place = 0
        while place < word.count {
            let byte = base[place]
            if byte < 0x80 {
                result.append(byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte)
                place += 1
                continue
            }
            let code = UTF8Walk.decode(base + place)
            let next = place + UTF8Walk.length(byte)
            switch code {
            case 0x3a3: UTF8Walk.append(isFinalSigma(word, at: place, next: next) ? 0x3c2 : 0x3c3, to: &result)
            case 0x130:
                UTF8Walk.append(0x69, to: &result)
                UTF8Walk.append(0x307, to: &result)
            default: UTF8Walk.append(CharacterTables.lowerOf[code] ?? code, to: &result)
            }
            place = next
        }
        return result
    }

    /// A cased letter before it and none after it, skipping what is case-ignorable (Objects/unicodeobject.c, handle_capital_sigma).
    private static func isFinalSigma(_ word: Bytes, at place: Int, next: Int) -> Bool {
        guard let base = word.baseAddress else { return false }
        func flags(_ place: Int) -> CharacterFlags { CharacterFlags(rawValue: CharacterTables.flags[Int(UTF8Walk.decode(base + place))]) }
        var before = place
        var casedBefore = false
        while before > 0 {
            before -= 1
            while before > 0, base[before] & 0xc0 == 0x80 { before -= 1 }
            let seen = flags(before)
            if seen.contains(.caseIgnorable) { continue }
            casedBefore = seen.contains(.cased)
            break
        }
        guard casedBefore else { return false }
        var after = next
        while after < word.count {
            let seen = flags(after)
            if !seen.contains(.caseIgnorable) { return !seen.contains(.cased) }
            after += UTF8Walk.length(base[after])
        }
        return true
    }
}
