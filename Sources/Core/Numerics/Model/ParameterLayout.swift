// The single truth of parameter names, shapes and places. In: settings. Out: offsets into one flat float buffer, and spaCy's view of it.

/// Where every parameter lives in a flat buffer of `count` floats. Parameters, gradients, both moments and averages share it.
///
/// Files have spaCy's axes; memory has the kernels': Maxout weights are piece-major, so that the max over pieces is a straight vector
/// loop, and the first convolution's are window-major besides, so that each third of the window is one block that multiplies unique words'
/// embeddings. Shape legend: O outputs, P Maxout pieces, I inputs, K = 3 window positions (previous, current, next).
public struct ParameterLayout: Sendable, Equatable {
    /// How the axes of a tensor stand in memory.
    public enum Order: Sendable, Equatable {
        /// As in the file.
        case same
        /// File (O, P, I), memory (P, O, I). A bias has I = 1.
        case pieceMajor
        /// File (O, P, K * I), memory (K, P, O, I).
        case windowMajor
    }

    /// One parameter tensor.
    public struct Tensor: Sendable, Equatable {
        /// Name without the prefixes that a checkpoint adds (design, section 6).
        public let name: String
        /// spaCy's shape, row-major in files.
        public let shape: [Int]
        /// First float in the flat buffer.
        public let offset: Int
        /// Number of floats.
        public let count: Int
        /// How the axes stand in memory.
        public let order: Order
        /// Index into `layers`.
        public let layer: Int
        /// An embedding table of shape (rows, width): a small micro-batch touches few of its rows, so gradients may travel by row.
        public let isTable: Bool
        /// Part of the training head: kept in checkpoints, not in `modelN.bin`.
        public var isHead: Bool { name.hasPrefix("head.") }
        /// Its floats in the flat buffer.
        public var range: Range<Int> { offset..<offset + count }
    }

    /// What thinc calls a layer: its tensors are one block for L2, clipping, Adam's step count and averages.
    public struct Layer: Sendable, Equatable {
        /// "embed.norm", "mixer", "mixer.norm", "encode.0", "head.output" ...
        public let name: String
        /// The tensors' floats, contiguous.
        public let range: Range<Int>
    }

    /// In the order of the buffer: tables, static vectors, mixer, convolutions, head.
    public let tensors: [Tensor]
    /// In the order of the buffer; they cover it without gaps.
    public let layers: [Layer]
    /// Floats in the flat buffer.
    public let count: Int
    private let indices: [String: Int]

    /// - Parameter settings: width, depth, pieces, rows, useVectors and vectorWidth decide; all must be positive, rows at least 2.
    public init(settings: TrainingSettings, profile: Profile = .spacy2) {
        precondition(settings.width > 0 && settings.depth > 0 && settings.pieces > 0 && settings.rows > 1 && settings.vectorWidth > 0)
        var plan = LayoutPlan()
        let (width, half) = (settings.width, settings.rows / 2)
        let tables = [("norm", settings.rows), ("prefix", half), ("suffix", half), ("shape", half)]
        for (feature, rows) in tables {
            plan.layer("embed.\(feature)", [("E", [rows, width], .same)], isTable: true)
        }
        if settings.useVectors { plan.layer("embed.vectors", [("W", [width, settings.vectorWidth], .same)]) }
        let columns = width * (tables.count + (settings.useVectors ? 1 : 0))
        plan.maxout("mixer", outputs: width, pieces: profile.mixerPieces, inputs: columns)
        for index in 0..<settings.depth {
            let order = index == 0 ? Order.windowMajor : .pieceMajor
            plan.maxout("encode.\(index)", outputs: width, pieces: settings.pieces, inputs: 3 * width, order: order)
        }
        plan.maxout("head.hidden", outputs: profile.headWidth, pieces: profile.headPieces, inputs: width)
        let output = settings.vectorWidth
        plan.layer("head.output", [("W", [output, profile.headWidth], .same), ("b", [output], .same)])
        (tensors, layers, count) = (plan.tensors, plan.layers, plan.count)
        indices = Dictionary(uniqueKeysWithValues: plan.tensors.enumerated().map { ($1.name, $0) })
    }

    /// The tensor of that name, or nil.
    public func tensor(named name: String) -> Tensor? { indices[name].map { tensors[$0] } }

    /// The four embedding tables, in the order norm, prefix, suffix, shape.
    public var tables: [Tensor] { tensors.filter(\.isTable) }

    /// Offset of a tensor that this layout is known to have.
    func offset(_ name: String) -> Int {
        guard let index = indices[name] else { preconditionFailure("no tensor \(name)") }
        return tensors[index].offset
    }
}

/// Collects layers while a layout is built.
private struct LayoutPlan {
    typealias Order = ParameterLayout.Order
    var tensors: [ParameterLayout.Tensor] = []
    var layers: [ParameterLayout.Layer] = []
    var count = 0

    mutating func layer(_ name: String, _ parts: [(suffix: String, shape: [Int], order: Order)], isTable: Bool = false) {
        let start = count
        for part in parts {
            let size = part.shape.reduce(1, *)
            tensors.append(
                ParameterLayout.Tensor(
                    name: "\(name).\(part.suffix)", shape: part.shape, offset: count, count: size, order: part.order, layer: layers.count,
                    isTable: isTable))
            count += size
        }
        layers.append(ParameterLayout.Layer(name: name, range: start..<count))
    }

    /// A Maxout and the LayerNorm behind it: two layers, as in thinc.
    mutating func maxout(_ name: String, outputs: Int, pieces: Int, inputs: Int, order: Order = .pieceMajor) {
        layer(name, [("W", [outputs, pieces, inputs], order), ("b", [outputs, pieces], .pieceMajor)])
        layer("\(name).norm", [("G", [outputs], .same), ("b", [outputs], .same)])
    }
}
