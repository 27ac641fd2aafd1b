// What the trainer sees of a job's texts. In: a shard's text. Out: JSON lines of tokens, spaces, columns and vector rows.
import Base
import Shards

/// Prints documents for `t2v-coordinator features --job`: all of them, in order, whatever their length; empty ones are left out. Owned by
/// one thread.
package final class JobFeaturesPrinter {
    private let preparer: ShardPreparer
    private let schema: FeatureSchema
    private let columns: [Int]
    private let names: [String]
    private let maker: ColumnMaker
    /// By word number: the columns.
    private var known: [UInt32: WordFeatures] = [:]

    /// A printer that has seen no words yet.
    /// - Parameter model: of a job on the fast path.
    package init(model: VectorsModel, text: TextSettings) {
        let schema = FeatureSchema(attributes: text.columns, vectorsAttribute: text.vectors?.attribute, byteCount: 0)
        self.schema = schema
        names = text.columns.filter { schema.column(of: $0) != nil }
        columns = names.compactMap(schema.column)
        maker = ColumnMaker(schema: schema, lexicon: model.lexicon)
        preparer = ShardPreparer(model: model, schema: schema, minLength: 0, maxLength: .max)
    }

    /// The lines for the records of `text`, each ending in a line feed: {"tokens":[...],"spaces":[...],"ids":{"ORTH":[...],...}}, and with
    /// vectors "rows":[[...],...], compact, with characters beyond ASCII as they are.
    /// - Throws: `ShardPreparationError` with the first line that cannot be used; nothing is printed then.
    package func lines(_ text: UnsafeRawBufferPointer) throws(ShardPreparationError) -> [UInt8] {
        var output: [UInt8] = []
        // Word numbers are those of the tokenizer, which may start over between shards.
        known.removeAll(keepingCapacity: true)
        try preparer.forEachRecord(text) { line, record, tokenizer throws(ShardPreparationError) in
            guard let record else { return }
            try ShardPreparer.tokenize(record, line: line, with: tokenizer)
            if !tokenizer.tokens.isEmpty { append(tokenizer, to: &output) }
        }
        return output
    }

    private func append(_ tokenizer: Tokenizer, to output: inout [UInt8]) {
        let tokens = Array(tokenizer.tokens)
        let table = tokenizer.words
        func list(_ value: (UInt32, inout [UInt8]) -> Void) {
            output.append(UInt8(ascii: "["))
            for (index, token) in tokens.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                value(token, &output)
            }
            output.append(UInt8(ascii: "]"))
        }
        func features(_ token: UInt32) -> WordFeatures {
            let word = token & ~Tokenizer.spaceBit
            if let found = known[word] { return found }
            let made = maker.features(table.features[Int(word)], text: table.text(Int(word)))
            known[word] = made
            return made
        }
        output += "{\"tokens\":".utf8
        list { FeaturesPrinter.append(json: Array(table.text(Int($0 & ~Tokenizer.spaceBit))), to: &$1) }
        output += ",\"spaces\":".utf8
        list { $1.append(UInt8(ascii: $0 & Tokenizer.spaceBit == 0 ? "0" : "1")) }
        output += ",\"ids\":{".utf8
        for (index, column) in columns.enumerated() {
            output += "\(index == 0 ? "" : ",")\"\(names[index])\":".utf8
            list { $1 += String(features($0).ids[column]).utf8 }
        }
        output.append(UInt8(ascii: "}"))
        if schema.hasVectors {
            output += ",\"rows\":".utf8
            list { $1 += "[\(features($0).rows.map(String.init).joined(separator: ","))]".utf8 }
        }
        output += "}\n".utf8
    }
}
