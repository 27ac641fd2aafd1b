// What the trainer sees of a document, as text. In: JSON lines of a corpus. Out: JSON lines of tokens and their attributes.
import Shards

/// Prints documents for `t2v-coordinator features`: all of them, in order, even those that the trainer would leave out for their length.
/// Owned by one thread.
package final class FeaturesPrinter {
    private let model: VectorsModel
    private let preparer: ShardPreparer

    /// A printer that has seen no words yet.
    package init(model: VectorsModel) {
        self.model = model
        preparer = ShardPreparer(model: model, schema: .spacy2, minLength: 0, maxLength: .max)
    }

    /// The lines for the records of `jsonl`, each ending in a line feed: {"tokens":[...],"norm":[...],"prefix":[...],"suffix":[...],
    /// "shape":[...],"row":[...]}, compact, with characters beyond ASCII as they are. Empty records give no line.
    /// - Throws: `ShardPreparationError` with the first line that cannot be used; nothing is printed then.
    package func lines(jsonl: UnsafeRawBufferPointer) throws(ShardPreparationError) -> [UInt8] {
        var output: [UInt8] = []
        try preparer.forEachRecord(jsonl) { line, record, tokenizer throws(ShardPreparationError) in
            guard let record else { return }
            try ShardPreparer.tokenize(record, line: line, with: tokenizer)
            append(tokenizer, to: &output)
        }
        return output
    }

    private func append(_ tokenizer: Tokenizer, to output: inout [UInt8]) {
        let words = tokenizer.tokens.map { Int($0 & ~Tokenizer.spaceBit) }
        let table = tokenizer.words
        func list(_ key: StaticString, _ value: (Int, inout [UInt8]) -> Void) {
            key.withUTF8Buffer { output += $0 }
            for (index, word) in words.enumerated() {
                if index > 0 { output.append(0x2c) }
                value(word, &output)
            }
        }
        list("{\"tokens\":[") { word, output in Self.append(json: Array(table.text(word)), to: &output) }
        list("],\"norm\":[") { word, output in Self.append(json: table.norm(word), to: &output) }
        list("],\"prefix\":[") { word, output in Self.append(json: model.lexicon.affixes(table.text(word)).prefix, to: &output) }
        list("],\"suffix\":[") { word, output in Self.append(json: model.lexicon.affixes(table.text(word)).suffix, to: &output) }
        list("],\"shape\":[") { word, output in Self.append(json: model.lexicon.affixes(table.text(word)).shape, to: &output) }
        list("],\"row\":[") { word, output in output += String(table.features[word].row).utf8 }
        output += "]}\n".utf8
    }

    /// As Python's `json.dumps(..., ensure_ascii=False)`.
    static func append(json text: [UInt8], to output: inout [UInt8]) {
        let hexadecimal = Array("0123456789abcdef".utf8)
        output.append(0x22)
        for byte in text {
            switch byte {
            case 0x22, 0x5c: output += [0x5c, byte]
            case 0x0a: output += "\\n".utf8
            case 0x0d: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case 0x08: output += "\\b".utf8
            case 0x0c: output += "\\f".utf8
            case 0..<0x20: output += "\\u00".utf8 + [hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
            default: output.append(byte)
            }
        }
        output.append(0x22)
    }
}
