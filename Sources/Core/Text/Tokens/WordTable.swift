// The distinct words that a thread has seen. In: a word's bytes, and the norm an exception gives it. Out: its number and its features.

/// Words keyed by (ORTH, NORM): first the lexemes, whose norm follows from their text, then tokens of exceptions with another norm.
final class WordTable {
    private let model: VectorsModel
    /// Every verbatim text, with the word number of its lexeme.
    private let texts = ByteTable()
    /// (text number, norm id) of tokens with a norm of their own.
    private var overridden: [NormKey: UInt32] = [:]
    private(set) var features: [WordAttributes] = []
    /// The text number of each word: words of one number share their ORTH.
    private(set) var textOf: [UInt32] = []
    /// Norms from exceptions, as text; those of lexemes are computed again when they are printed.
    private var normText: [UInt32: [UInt8]] = [:]

    private struct NormKey: Hashable {
        var text: UInt32
        var norm: UInt64
    }

    init(model: VectorsModel) {
        self.model = model
    }

    var count: Int { features.count }
    var memory: Int { texts.memory + features.count * (MemoryLayout<WordAttributes>.stride + 8) }

    /// The text of word `number`. Valid until the next new word.
    @inline(__always)
    func text(_ number: Int) -> UnsafeBufferPointer<UInt8> { texts.key(Int(textOf[number])) }

    /// The norm of word `number` as text.
    func norm(_ number: Int) -> [UInt8] {
        normText[UInt32(number)] ?? model.lexicon.norm(text(number))
    }

    /// The word with its lexeme's norm; `bytes` must not be empty.
    @inline(__always)
    func word(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32 {
        let known = texts.find(bytes)
        return known >= 0 ? UInt32(truncatingIfNeeded: known) : newText(bytes)
    }

    private func newText(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32 {
        let number = UInt32(features.count)
        features.append(model.lexicon.features(bytes))
        textOf.append(UInt32(texts.count))
        texts.insert(bytes, value: number)
        return number
    }

    /// The word of an exception's token.
    func word(_ token: ExceptionToken) -> UInt32 {
        let lexeme = token.orth.withUnsafeBufferPointer { word($0) }
        guard let norm = token.norm else { return lexeme }
        let id = norm.withUnsafeBufferPointer { model.lexicon.ids.id($0) }
        var changed = features[Int(lexeme)]
        guard changed.norm != id else { return lexeme }
        let key = NormKey(text: textOf[Int(lexeme)], norm: id)
        if let known = overridden[key] { return known }
        let number = UInt32(features.count)
        changed.norm = id
        features.append(changed)
        textOf.append(key.text)
        overridden[key] = number
        normText[number] = norm
        return number
    }
}
