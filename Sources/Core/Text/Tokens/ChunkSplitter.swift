// One chunk of text, either all white space or none. In: its bytes. Out: word numbers. The rules of spacy/tokenizer.pyx.

/// Splits chunks by exceptions, affixes and infixes. Owned by one thread.
final class ChunkSplitter {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    private let rules: TokenizerRules
    private let words: WordTable
    private let matcher: PatternMatcher
    /// Texts of the exceptions, numbered as in the rules.
    private let exceptions = ByteTable()
    /// The words of exception i are exceptionWords[exceptionStarts[i]..<exceptionStarts[i + 1]].
    private var exceptionWords: [UInt32] = []
    private var exceptionStarts: [Int] = [0]
    /// Bytes of the longest exception: longer texts are not looked up, so that very long runs are not hashed at every step.
    private var longestException = 0
    /// Which patterns can match at all in texts of certain characters.
    private var reach: [CharacterMask: Reach] = [:]
    private let suffixes = TokenBuffer()

    private struct Reach: OptionSet {
        let rawValue: UInt8
        static let prefix = Reach(rawValue: 1)
        static let suffix = Reach(rawValue: 2)
        static let infix = Reach(rawValue: 4)
        static let tokenMatch = Reach(rawValue: 8)
        static let urlMatch = Reach(rawValue: 16)
    }

    init?(rules: TokenizerRules, words: WordTable) {
        guard let matcher = PatternMatcher() else { return nil }
        self.rules = rules
        self.words = words
        self.matcher = matcher
        for exception in rules.exceptions {
            // if a text occurs twice, the later one counts, as in a Python dict
            longestException = max(longestException, exception.text.count)
            exception.text.withUnsafeBufferPointer { text in
                if exceptions.find(text) < 0 { exceptions.insert(text, value: UInt32(exceptions.count)) }
            }
        }
        var tokens = [[ExceptionToken]](repeating: [], count: exceptions.count)
        for exception in rules.exceptions {
            tokens[exception.text.withUnsafeBufferPointer { exceptions.find($0) }] = exception.tokens
        }
        for list in tokens {
            exceptionWords += list.map { words.word($0) }
            exceptionStarts.append(exceptionWords.count)
        }
    }

    /// The words of the exception with this text, or nil.
    func exception(_ text: Bytes) -> ArraySlice<UInt32>? {
        let number = text.count <= longestException ? exceptions.find(text) : -1
        return number < 0 ? nil : exceptionWords[exceptionStarts[number]..<exceptionStarts[number + 1]]
    }

    @inline(__always)
    private func isException(_ text: Bytes) -> Bool { text.count <= longestException && exceptions.find(text) >= 0 }

    /// Appends the words of `chunk`, which is not empty. `usesExceptions` is false only for the phrases of `SpecialCases`.
    func split(_ chunk: Bytes, usesExceptions: Bool = true, into result: TokenBuffer) throws(PatternFailure) {
        if usesExceptions, let whole = exception(chunk) {
            result.append(whole)
            return
        }
        suffixes.removeAll()
        let middle = try stripAffixes(chunk, usesExceptions, result)
        if !middle.isEmpty {
            if usesExceptions, let known = exception(middle) {
                result.append(known)
            } else {
                try splitMiddle(middle, into: result)
            }
        }
        for suffix in suffixes.tokens.reversed() { result.append(suffix) }
    }

    /// Strips prefixes (into `result`) and suffixes (into `suffixes`) until nothing changes or an exception is left.
    private func stripAffixes(_ chunk: Bytes, _ usesExceptions: Bool, _ result: TokenBuffer) throws(PatternFailure) -> Bytes {
        let behaviour = rules.behaviour
        var text = chunk
        var lastCount = 0
        while !text.isEmpty, text.count != lastCount {
            let reach = reach(text)
            if reach.contains(.tokenMatch), try found(rules.tokenMatch, text) { break }
            if usesExceptions, isException(text) { break }
            lastCount = text.count
            let prefixCount = reach.contains(.prefix) ? try matchedCount(rules.prefix, text, fromEnd: false) : 0
            let behindPrefix = part(text, prefixCount, text.count)
            if prefixCount > 0, !behindPrefix.isEmpty, usesExceptions, isException(behindPrefix) {
                result.append(words.word(part(text, 0, prefixCount)))
                return behindPrefix
            }
            let searched = behaviour.suffixBehindPrefix ? behindPrefix : text
            let suffixCount = reach.contains(.suffix) ? try matchedCount(rules.suffix, searched, fromEnd: true) : 0
            let beforeSuffix = part(text, 0, text.count - suffixCount)
            if suffixCount > 0, !beforeSuffix.isEmpty, usesExceptions, isException(beforeSuffix) {
                suffixes.append(words.word(part(text, text.count - suffixCount, text.count)))
                return beforeSuffix
            }
            if prefixCount > 0 { result.append(words.word(part(text, 0, prefixCount))) }
            if suffixCount > 0, prefixCount == 0 || prefixCount + suffixCount <= text.count {
                suffixes.append(words.word(part(text, text.count - suffixCount, text.count)))
                text = part(text, prefixCount, text.count - suffixCount)
            } else {
                text = behindPrefix
            }
        }
        return text
    }

    private func splitMiddle(_ text: Bytes, into result: TokenBuffer) throws(PatternFailure) {
        let reach = reach(text)
        if reach.contains(.tokenMatch), try found(rules.tokenMatch, text) {
            result.append(words.word(text))
            return
        }
        if reach.contains(.urlMatch), try found(rules.urlMatch, text) {
            result.append(words.word(text))
            return
        }
        guard reach.contains(.infix), let infix = rules.infix else {
            result.append(words.word(text))
            return
        }
        var start = 0
        var from = 0
        var lastWasEmpty = false
        while from <= text.count, let match = try matcher.search(infix, text, from: from, notEmptyAt: lastWasEmpty) {
            // as Python's finditer: the next search begins at this match's end, and finds no second empty match there
            from = match.end
            lastWasEmpty = match.start == match.end
            if match.start == 0 { continue }
            if match.start != start { result.append(words.word(part(text, start, match.start))) }
            if match.start != match.end { result.append(words.word(part(text, match.start, match.end))) }
            start = match.end
        }
        if start < text.count { result.append(words.word(part(text, start, text.count))) }
    }

    @inline(__always)
    private func part(_ text: Bytes, _ start: Int, _ end: Int) -> Bytes {
        Bytes(rebasing: text[start..<end])
    }

    private func found(_ pattern: Pattern?, _ text: Bytes) throws(PatternFailure) -> Bool {
        guard let pattern else { return false }
        return try matcher.search(pattern, text) != nil
    }

    /// The bytes of `text` that an affix removes. spaCy counts the match's code points and removes as many from the end of the string,
    /// wherever the match was: `$` also matches before a final newline.
    private func matchedCount(_ pattern: Pattern?, _ text: Bytes, fromEnd: Bool) throws(PatternFailure) -> Int {
        guard let pattern, let match = try matcher.search(pattern, text) else { return 0 }
        if fromEnd ? match.end == text.count : match.start == 0 { return match.end - match.start }
        var left = UTF8Walk.count(part(text, match.start, match.end))
        if fromEnd {
            var place = text.count
            while left > 0, place > 0 {
                place -= 1
                if text[place] & 0xc0 != 0x80 { left -= 1 }
            }
            return text.count - place
        }
        var place = 0
        while left > 0, place < text.count {
            place += UTF8Walk.length(text[place])
            left -= 1
        }
        return place
    }

    private func reach(_ text: Bytes) -> Reach {
        // a long run may hold anything, and looking costs more than matching
        let mask = text.count <= 256 ? CharacterMask(text) : CharacterMask.everything
        if let known = reach[mask] { return known }
        let characters = mask.codePoints
        var result: Reach = []
        let patterns: [(Pattern?, Reach)] = [
            (rules.prefix, .prefix), (rules.suffix, .suffix), (rules.infix, .infix), (rules.tokenMatch, .tokenMatch),
            (rules.urlMatch, .urlMatch),
        ]
        for (pattern, bit) in patterns where pattern?.tree.canMatch(within: characters) == true { result.insert(bit) }
        reach[mask] = result
        return result
    }
}
