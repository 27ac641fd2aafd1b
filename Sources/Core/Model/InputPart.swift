// Splits the mixer's input into parts. In: a spec. Out: parts that are looked up, and multiplied with their own columns, once per distinct
// id.
import Shards

/// A range of columns of the mixer's input whose values depend on one id: a table's output, one byte of a characters input, or the static
/// vectors. Parts are numbered: tables that travel by row, other tables, bytes, static vectors.
package struct InputPart: Sendable, Equatable {
    /// The key by which a word is looked up.
    package enum Source: Sendable, Equatable {
        /// An id column of the word.
        case column(Int)
        /// An attribute of the token: its bit in the key.
        case token(bit: UInt64)
        /// A byte of the word's text.
        case byte(Int)
        /// The word's vector rows.
        case vectors
    }

    package let source: Source
    /// The parameter that holds its values or weights, and where in it this part begins.
    package let tensor: String
    package let tensorStart: Int
    /// Columns of the mixer's input.
    package let width: Int
    /// The first of them.
    package let column: Int
    /// One mask for the whole update.
    package let dropout: Bool
    /// Of a hash embedding.
    package let rows: Int
    package let seed: UInt32
    /// Its table's gradient travels by row.
    package let isSparse: Bool

    /// Whether every word has a value here; not every word has a vector.
    package var isForEveryWord: Bool { source != .vectors }
}

extension FeatureSchema.TokenColumn {
    /// The bit of a unique word's key that holds it.
    package var keyBit: UInt64 { self == .spacy ? 1 : 2 }
}

extension ModelSpec {
    /// Width of the tables whose gradients travel by row: the first table's. Tables of another width travel whole.
    var sparseWidth: Int? { tables.first?.width }

    /// Columns of the mixer's input.
    package var mixerColumns: Int {
        inputs.reduce(0) { sum, input in
            switch input {
            case .table(let table): sum + table.width
            case .characters(let characters): sum + characters.bytes * characters.width
            case .vectors(let vectors): sum + vectors.output
            }
        }
    }

    /// The parts in their order.
    package var parts: [InputPart] {
        let (schema, sparse) = (schema, sparseWidth)
        var (tables, others, bytes, vectors): ([InputPart], [InputPart], [InputPart], [InputPart]) = ([], [], [], [])
        var column = 0
        var seen: [String: Int] = [:]
        for input in inputs {
            switch input {
            case .table(let table):
                let times = seen[table.attribute, default: 0] + 1
                seen[table.attribute] = times
                let name = table.attribute.lowercased() + (times > 1 ? String(times) : "")
                let source: InputPart.Source
                if let token = FeatureSchema.TokenColumn(rawValue: table.attribute) {
                    source = .token(bit: token.keyBit)
                } else {
                    source = .column(schema.column(of: table.attribute) ?? 0)
                }
                let part = InputPart(
                    source: source, tensor: "embed.\(name).E", tensorStart: 0, width: table.width, column: column, dropout: table.dropout,
                    rows: table.rows, seed: table.seed, isSparse: table.width == sparse)
                if part.isSparse { tables.append(part) } else { others.append(part) }
                column += table.width
            case .characters(let characters):
                for byte in 0..<characters.bytes {
                    bytes.append(
                        InputPart(
                            source: .byte(byte), tensor: "embed.chars.E", tensorStart: byte * 256 * characters.width,
                            width: characters.width, column: column, dropout: false, rows: 256, seed: 0, isSparse: false))
                    column += characters.width
                }
            case .vectors(let input):
                vectors.append(
                    InputPart(
                        source: .vectors, tensor: "embed.vectors.W", tensorStart: 0, width: input.output, column: column,
                        dropout: input.dropout, rows: 0, seed: 0, isSparse: false))
                column += input.output
            }
        }
        return tables + others + bytes + vectors
    }

    /// The characters among the inputs.
    var charactersInput: Characters? {
        for case .characters(let characters) in inputs { return characters }
        return nil
    }

    /// D.
    package var depth: Int { encoder.convolutions.count }

    /// Whether the first convolution goes through unique words: its input is the same wherever a word occurs.
    package var convolvesWords: Bool {
        encoder.padding.kind == .embeddedZeros && mixer.dropout != .token && encoder.convolutions.first?.activation == .maxout
    }

    /// Padding rows that are computed on each side of a document: no loss reaches more than one per convolution.
    package var paddingRows: Int { encoder.padding.kind == .none ? 0 : min(encoder.padding.rows, depth) }

    /// Rows beyond these, one on each side, that stand for the zeros outside a document.
    package var outsideRows: Int { paddingRows < depth ? 1 : 0 }

    /// Outputs of the head.
    package var outputCount: Int {
        switch objective {
        case .characters(let characters): 256 * characters.bytes
        case .vectors(let vectors): vectors.width
        }
    }

    /// Width and pieces of the head's hidden layer, and whether it has dropout.
    package var head: (hidden: Int, pieces: Int, dropout: Bool) {
        switch objective {
        case .characters(let head): (head.hidden, head.pieces, head.headDropout)
        case .vectors(let head): (head.hidden, head.pieces, head.headDropout)
        }
    }
}
