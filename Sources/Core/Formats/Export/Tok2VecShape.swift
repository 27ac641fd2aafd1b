// The settings that a set of tensors was made with. In: names and shapes from a file. Out: width, depth, pieces, rows, vectors or not.
import Model

/// What decides the shapes of a tok2vec's tensors. Files do not state it; it is inferred from their tensors.
package struct Tok2VecShape: Equatable, Sendable {
    /// Width of the embeddings and convolutions.
    package var width: Int
    /// Number of convolutions.
    package var depth: Int
    /// Maxout pieces of the convolutions.
    package var pieces: Int
    /// Rows of the first embedding table; the others have half as many.
    package var rows: Int
    /// Width of the static vectors that are an input; nil without `--use-vectors`.
    package var vectorWidth: Int?
    /// Static vectors are an input.
    package var useVectors: Bool { vectorWidth != nil }

    /// Any numbers; `isPlausible` checks them.
    package init(width: Int, depth: Int, pieces: Int, rows: Int, vectorWidth: Int?) {
        self.width = width
        self.depth = depth
        self.pieces = pieces
        self.rows = rows
        self.vectorWidth = vectorWidth
    }

    /// What a run of these settings has.
    package init(_ settings: TrainingSettings) {
        self.init(
            width: settings.width, depth: settings.depth, pieces: settings.pieces, rows: settings.rows,
            vectorWidth: settings.useVectors ? settings.vectorWidth : nil)
    }

    /// A file that exceeds these counts as damaged: they keep every product of sizes within an Int.
    static let limits = (width: 1 << 16, depth: 1 << 10, pieces: 1 << 10, rows: 1 << 28, vectorWidth: 1 << 20)

    var isPlausible: Bool {
        let limits = Self.limits
        return (1...limits.width).contains(width) && (1...limits.depth).contains(depth) && (1...limits.pieces).contains(pieces)
            && (2...limits.rows).contains(rows) && (1...limits.vectorWidth).contains(vectorWidth ?? 1)
    }

    /// Infers the settings from the shapes of named tensors, which need not fit together; nil if a tensor that is needed for this is
    /// missing or has an impossible shape.
    package init?(inferringFrom shapes: [String: [Int]]) {
        guard let table = shapes["embed.norm.E"], table.count == 2 else { return nil }
        var depth = 0
        while shapes["encode.\(depth).W"] != nil { depth += 1 }
        guard let first = shapes["encode.0.W"], first.count == 3 else { return nil }
        let vectors = shapes["embed.vectors.W"]
        guard vectors == nil || vectors?.count == 2 else { return nil }
        self.init(width: table[1], depth: depth, pieces: first[1], rows: table[0], vectorWidth: vectors?[1])
        guard isPlausible else { return nil }
    }

    /// Names and shapes of the tensors of `modelN.bin`, in the order of `ParameterLayout`, without the head.
    package func tensors() -> [(name: String, shape: [Int])] {
        layout().tensors.filter { !$0.isHead }.map { ($0.name, $0.shape) }
    }

    func layout() -> ParameterLayout {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.pieces, settings.rows) = (width, depth, pieces, rows)
        settings.useVectors = useVectors
        settings.vectorWidth = vectorWidth ?? settings.vectorWidth
        return ParameterLayout(spec: .spacy2(settings))
    }

    /// The options of `pretrain` that turn `other` into this shape, as typed on a command line; empty when they are equal.
    func options(from other: Tok2VecShape) -> [String] {
        var options: [String] = []
        if width != other.width { options.append("--width \(width)") }
        if depth != other.depth { options.append("--conv-depth \(depth)") }
        if pieces != other.pieces { options.append("--cnn-pieces \(pieces)") }
        if rows != other.rows { options.append("--embed-rows \(rows)") }
        if useVectors, !other.useVectors { options.append("--use-vectors") }
        if !useVectors, other.useVectors { options.append("no --use-vectors") }
        if let vectorWidth, let wanted = other.vectorWidth, vectorWidth != wanted {
            options.append("a vectors model of width \(vectorWidth)")
        }
        return options
    }
}
