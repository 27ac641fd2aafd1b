// A text to tokens. In: UTF-8 bytes. Out: word numbers of a `WordTable`. One per thread.

/// spaCy's rule-based tokenizer (spacy/tokenizer.pyx of 2.1.9, 2.3.9 and 3.8.18, by the model's version).
///
/// What a chunk between white space gives is remembered, so that the rules run once per distinct chunk.
final class Tokenizer {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    /// Set in a token of `tokens` that a single space follows.
    static let spaceBit: UInt32 = 1 << 31

    let words: WordTable
    private let splitter: ChunkSplitter
    private var specials: SpecialCases?
    /// Chunks seen so far: the word of a chunk that is a single one, else `manyBit` and the place in `chunkWords` of its number of words,
    /// which the words follow.
    private let chunks = ByteTable()
    private let chunkWords = TokenBuffer()
    private static let manyBit: UInt32 = 1 << 31
    private let scratch = TokenBuffer()
    private let output = TokenBuffer()
    /// The tokens of the last text, with `spaceBit`. Valid until the next text.
    var tokens: UnsafeMutableBufferPointer<UInt32> { output.tokens }

    /// 1 for ASCII white space, 2 for the first bytes of other characters that may be white space, 0 for all else.
    nonisolated(unsafe) private static let byteClass: UnsafePointer<UInt8> = {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        table.initialize(repeating: 0, count: 256)
        for code in 0..<0x80 where CharacterTables.has(.space, UInt32(code)) { table[code] = 1 }
        for code in 0x80..<UInt32(CharacterTables.codePointCount) where CharacterTables.has(.space, code) {
            var bytes: [UInt8] = []
            UTF8Walk.append(code, to: &bytes)
            table[Int(bytes[0])] = 2
        }
        return UnsafePointer(table)
    }()

    /// Nil when memory is short, and for a model without rules.
    init?(model: VectorsModel) {
        words = WordTable(model: model)
        guard let rules = model.rules, let splitter = ChunkSplitter(rules: rules, words: words) else { return nil }
        self.splitter = splitter
        if rules.behaviour.rematchesExceptions {
            guard let phrases = try? phrases(of: rules) else { return nil }
            specials = SpecialCases(phrases: phrases, words: words, splitter: splitter)
        }
    }

    /// Bytes held by words and chunks, for deciding when to start over.
    var memory: Int { words.memory + chunks.memory + 4 * chunkWords.count }

    /// The exceptions that are matched again: all, or with the faster heuristics those with a space or an affix (`add_special_case`).
    private func phrases(of rules: TokenizerRules) throws(PatternFailure) -> [[UInt32]] {
        guard let matcher = PatternMatcher() else { throw PatternFailure(name: "", length: 0) }
        var phrases: [[UInt32]] = []
        for exception in rules.exceptions {
            let candidate = try exception.text.withUnsafeBufferPointer { (text: Bytes) throws(PatternFailure) -> Bool in
                if !rules.fasterHeuristics || text.contains(0x20) { return true }
                for pattern in [rules.prefix, rules.infix, rules.suffix] {
                    // an affix counts by its length, infixes by their number
                    guard let pattern, let match = try matcher.search(pattern, text) else { continue }
                    if pattern === rules.infix || match.end > match.start { return true }
                }
                return false
            }
            guard candidate else { continue }
            try exception.text.withUnsafeBufferPointer { (text: Bytes) throws(PatternFailure) in
                output.removeAll()
                try scan(text, usesExceptions: false)
            }
            phrases.append(tokens.map { $0 & ~Self.spaceBit })
        }
        return phrases
    }

    /// Tokenizes `text`, which is valid UTF-8, into `tokens`.
    func tokenize(_ text: Bytes) throws(PatternFailure) {
        output.removeAll()
        try scan(text, usesExceptions: true)
        specials?.rematch(output)
    }

    /// Sets `tokens` to given words, none of them empty: each has its lexeme's norm, a space follows it, and exceptions do not apply
    /// (spacy/tokens/doc.pyx, `Doc(vocab, words=words)`).
    func take(words list: [String]) {
        output.removeAll()
        for word in list {
            var word = word
            output.append(word.withUTF8 { words.word($0) } | Self.spaceBit)
        }
    }

    /// Cuts where white space begins or ends. A single space after a word is dropped; all other white space is a chunk.
    private func scan(_ text: Bytes, usesExceptions: Bool) throws(PatternFailure) {
        guard let base = text.baseAddress, !text.isEmpty else { return }
        let classes = Self.byteClass
        let count = text.count
        var place = 0
        var start = 0
        var inSpace = Self.isSpace(base)
        while place < count {
            // skip what does not end the chunk
            var length = 1
            while place < count {
                let kind = classes[Int(base[place])]
                if kind == 2 {
                    length = UTF8Walk.length(base[place])
                    if Self.isSpace(base + place) != inSpace { break }
                    place += length
                } else {
                    length = 1
                    // continuation bytes have class 0: within a white-space run only a first byte is looked at
                    if (kind == 1) != inSpace { break }
                    place += 1
                }
            }
            guard place < count else { break }
            if start < place { try add(Bytes(start: base + start, count: place - start), usesExceptions) }
            if base[place] == 0x20 {
                output.markLast(Self.spaceBit)
                start = place + 1
            } else {
                start = place
            }
            inSpace.toggle()
            place += length
        }
        if start < count { try add(Bytes(start: base + start, count: count - start), usesExceptions) }
    }

    @inline(__always)
    private static func isSpace(_ start: UnsafePointer<UInt8>) -> Bool {
        CharacterTables.has(.space, UTF8Walk.decode(start))
    }

    @inline(__always)
    private func add(_ chunk: Bytes, _ usesExceptions: Bool) throws(PatternFailure) {
        guard usesExceptions else { return try splitter.split(chunk, usesExceptions: false, into: output) }
        let known = chunks.find(chunk)
        let value = known >= 0 ? UInt32(truncatingIfNeeded: known) : try newChunk(chunk)
        if value & Self.manyBit == 0 {
            output.append(value)
        } else {
            let start = chunkWords.base + Int(value & ~Self.manyBit)
            output.append(start + 1, Int(start[0]))
        }
    }

    private func newChunk(_ chunk: Bytes) throws(PatternFailure) -> UInt32 {
        scratch.removeAll()
        try splitter.split(chunk, into: scratch)
        var value = scratch.base[0]
        if scratch.count != 1 {
            value = UInt32(chunkWords.count) | Self.manyBit
            chunkWords.append(UInt32(scratch.count))
            chunkWords.append(scratch.base, scratch.count)
        }
        chunks.insert(chunk, value: value)
        return value
    }
}
