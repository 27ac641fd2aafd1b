// Matches exceptions once more over the finished tokens, as spaCy 3.x does. In: a document's word numbers. Out: the same, with spans
// replaced.

/// The phrases of spaCy 3's `_special_matcher`: exceptions, tokenized without exceptions, as sequences of ORTHs.
final class SpecialCases {
    private let words: WordTable
    private let splitter: ChunkSplitter
    /// A trie over text numbers: child of node n by text t.
    private var children: [Edge: Int32] = [:]
    private var isEnd: [Bool] = [false]
    /// By word number: whether a phrase begins with the word's text. Words added after the phrases begin none.
    private var beginsPhrase: [Bool] = []

    private struct Edge: Hashable {
        var node: Int32
        var text: UInt32
    }

    /// - Parameter phrases: the words of each candidate.
    init(phrases: [[UInt32]], words: WordTable, splitter: ChunkSplitter) {
        self.words = words
        self.splitter = splitter
        var firstTexts: Set<UInt32> = []
        for phrase in phrases where !phrase.isEmpty {
            firstTexts.insert(words.textOf[Int(phrase[0])])
            var node: Int32 = 0
            for word in phrase {
                let edge = Edge(node: node, text: words.textOf[Int(word)])
                if let next = children[edge] {
                    node = next
                } else {
                    node = Int32(isEnd.count)
                    children[edge] = node
                    isEnd.append(false)
                }
            }
            isEnd[Int(node)] = true
        }
        beginsPhrase = words.textOf.map { firstTexts.contains($0) }
    }

    /// Replaces each chosen span whose text is an exception by the exception's words. A token is a word number, with `Tokenizer.spaceBit`
    /// if a space follows. Most documents have no span at all.
    func rematch(_ buffer: TokenBuffer) {
        var spans = matches(buffer.tokens)
        guard !spans.isEmpty else { return }
        let tokens = Array(buffer.tokens)
        // longest first, then earliest; a span blocks its tokens even if it is itself blocked (`_filter_special_spans`)
        spans.sort { $0.count != $1.count ? $0.count > $1.count : $0.lowerBound < $1.lowerBound }
        var taken = [Bool](repeating: false, count: tokens.count)
        var chosen: [Range<Int>] = []
        for span in spans {
            if !taken[span.lowerBound], !taken[span.upperBound - 1] { chosen.append(span) }
            for index in span { taken[index] = true }
        }
        chosen.sort { $0.lowerBound < $1.lowerBound }
        var result: [UInt32] = []
        result.reserveCapacity(tokens.count + 8)
        var done = 0
        for span in chosen {
            result += tokens[done..<span.lowerBound]
            done = span.upperBound
            guard let replacement = textOf(tokens[span]).withUnsafeBufferPointer({ splitter.exception($0) }) else {
                result += tokens[span]
                continue
            }
            result += replacement
            result[result.count - 1] |= tokens[span.upperBound - 1] & Tokenizer.spaceBit
        }
        result += tokens[done...]
        buffer.replace(with: result)
    }

    private func matches(_ tokens: UnsafeMutableBufferPointer<UInt32>) -> [Range<Int>] {
        var spans: [Range<Int>] = []
        beginsPhrase.withUnsafeBufferPointer { begins in
            for start in tokens.indices {
                let word = Int(tokens[start] & ~Tokenizer.spaceBit)
                guard word < begins.count, begins[word] else { continue }
                var node: Int32 = 0
                var end = start
                while end < tokens.count {
                    let text = words.textOf[Int(tokens[end] & ~Tokenizer.spaceBit)]
                    guard let next = children[Edge(node: node, text: text)] else { break }
                    node = next
                    end += 1
                    if isEnd[Int(node)] { spans.append(start..<end) }
                }
            }
        }
        return spans
    }

    /// The span's text with the spaces between its tokens, without the one after it.
    private func textOf(_ tokens: ArraySlice<UInt32>) -> [UInt8] {
        var text: [UInt8] = []
        for (index, token) in tokens.enumerated() {
            text += words.text(Int(token & ~Tokenizer.spaceBit))
            if token & Tokenizer.spaceBit != 0, index + 1 < tokens.count { text.append(0x20) }
        }
        return text
    }
}
