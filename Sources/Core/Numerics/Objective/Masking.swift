// The masked language model's draws. In: seed, epoch, document key, token. Out: which tokens are selected and what replaces them.
import Base
import Shards

/// What the network sees in place of a selected token.
package enum Replacement: Sendable, Equatable {
    /// The literal word `[MASK]` (80%).
    case mask
    /// Another word (10%): its place in the `RandomWordTable`.
    case random(Int)
    /// A distinct word of the document's own shard; never drawn, but tests inject it.
    case word(Int)
    /// The token itself (10%; and always when nothing is hidden).
    case same
}

/// Selects tokens as spaCy's `masked_language_model` does (2.3 `_ml.py`), drawn per (seed, epoch, document, token) instead of from a
/// stream.
struct Masking {
    private let philox: Philox
    /// x is selected if it is below this, x being 32 random bits.
    private let selectBelow: UInt64
    private let hidesNothing: Bool
    private let maskBelow = UInt32(0.8 * 4294967296.0)
    private let wordBelow = UInt32(0.9 * 4294967296.0)
    private let randomWords: RandomWordTable
    private var words: [UInt32] = []

    init(seed: UInt64, probability: Float, epoch: UInt64, randomWords: RandomWordTable, purpose: Philox.Purpose = .select) {
        philox = Philox(seed: seed, purpose: purpose, update: epoch)
        hidesNothing = probability <= 0
        selectBelow = UInt64((Double(probability) * 4294967296.0).rounded())
        self.randomWords = randomWords
    }

    /// Draws for tokens 0..<count of the document with key `document`; `replacement(of:)` gives the results.
    mutating func draw(document: UInt64, count: Int) {
        if hidesNothing { return }
        let groups = (count + 3) / 4
        let needed = groups * Philox.wordsPerGroup
        if words.count < needed { words = [UInt32](repeating: 0, count: max(needed, 2 * words.count)) }
        words.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            philox.fill(start, groups: groups, item: document, index: 0)
        }
    }

    /// What replaces `token`, or nil if it is not selected.
    @inline(__always)
    func replacement(of token: Int) -> Replacement? {
        if hidesNothing { return .same }
        // Word k of the block for this token, in the order of `Philox.fill`.
        let first = 16 * (token / 4) + 2 * (token % 4)
        guard UInt64(words[first]) < selectBelow else { return nil }
        let roll = words[first + 1]
        if roll < maskBelow { return .mask }
        if roll >= wordBelow { return .same }
        let bits = UInt64(words[first + 8]) | UInt64(words[first + 9]) << 32
        return randomWords.index(bits: bits).map(Replacement.random) ?? .same
    }
}
