// The single source of truth for parameter names, shapes and places. In: a spec. Out: offsets into one flat float buffer, and spaCy's view
// of it.

/// Where every parameter lives in a flat buffer of `count` floats. Parameters, gradients, both moments and averages share it.
///
/// Files have spaCy's axes; memory has the kernels': Maxout weights are piece-major, so that the max over pieces is a straight vector loop.
/// Where the first convolution goes through unique words, its weights are also window-major, so that each third of the window is one block
/// that multiplies the words' embeddings. Shape legend: O outputs, P Maxout pieces, I inputs, K = 3 window positions (previous, current,
/// next).
package struct ParameterLayout: Sendable, Equatable {
    /// How the axes of a tensor are ordered in memory.
    package enum Order: Sendable, Equatable {
        /// As in the file.
        case same
        /// File (O, P, I), memory (P, O, I). A bias has I = 1.
        case pieceMajor
        /// File (O, P, K * I), memory (K, P, O, I).
        case windowMajor
    }

    /// One parameter tensor.
    package struct Tensor: Sendable, Equatable {
        /// Name without the prefixes that a checkpoint adds.
        package let name: String
        /// spaCy's shape, row-major in files.
        package let shape: [Int]
        /// First float in the flat buffer.
        package let offset: Int
        /// Number of floats.
        package let count: Int
        /// How the axes are ordered in memory.
        package let order: Order
        /// Index into `layers`.
        package let layer: Int
        /// An embedding table of shape (rows, width) whose gradients travel by row: a small micro-batch touches few. All have one width.
        package let isTable: Bool
        /// Part of the training head: kept in checkpoints, not in `modelN.bin`.
        package var isHead: Bool { name.hasPrefix("head.") }
        /// Its floats in the flat buffer.
        package var range: Range<Int> { offset..<offset + count }
    }

    /// One block for clipping: what thinc 7 calls a layer (W and b, G and b), or a single tensor, as the spec says.
    package struct Layer: Sendable, Equatable {
        /// "embed.norm", "mixer", "mixer.norm", "encode.0", "head.output" ...; followed by the tensor's own name if it is a tensor.
        package let name: String
        /// The tensors' floats, contiguous.
        package let range: Range<Int>
    }

    /// In the order of the buffer: tables, characters, static vectors, mixer, convolutions, head.
    package let tensors: [Tensor]
    /// In the order of the buffer; they cover it without gaps.
    package let layers: [Layer]
    /// Floats in the flat buffer.
    package let count: Int
    private let indices: [String: Int]

    /// - Parameter spec: has been validated.
    package init(spec: ModelSpec) {
        var plan = LayoutPlan(blocks: spec.optimizer.block)
        let (width, parts) = (spec.width, spec.parts)
        for part in parts {
            switch part.source {
            case .column, .token:
                plan.layer(String(part.tensor.dropLast(2)), [("E", [part.rows, part.width], .same)], isTable: part.isSparse)
            case .byte(let place):
                guard place == 0, let characters = spec.charactersInput else { continue }
                plan.layer("embed.chars", [("E", [characters.bytes, 256, characters.width], .same)])
            case .vectors: plan.layer("embed.vectors", [("W", [part.width, spec.vectorsInput?.width ?? 0], .same)])
            }
        }
        plan.maxout("mixer", outputs: width, pieces: spec.mixer.pieces, inputs: spec.mixerColumns)
        for (index, convolution) in spec.encoder.convolutions.enumerated() {
            switch convolution.activation {
            case .maxout:
                let order = index == 0 && spec.convolvesWords ? Order.windowMajor : .pieceMajor
                plan.maxout("encode.\(index)", outputs: width, pieces: convolution.maps, inputs: 3 * width, order: order)
            case .mish: plan.mish("encode.\(index)", outputs: width, inputs: 3 * width)
            }
        }
        let head = spec.head
        plan.maxout("head.hidden", outputs: head.hidden, pieces: head.pieces, inputs: width)
        plan.layer("head.output", [("W", [spec.outputCount, head.hidden], .same), ("b", [spec.outputCount], .same)])
        (tensors, layers, count) = (plan.tensors, plan.layers, plan.count)
        indices = Dictionary(uniqueKeysWithValues: plan.tensors.enumerated().map { ($1.name, $0) })
    }

    /// The tensor of that name, or nil.
    package func tensor(named name: String) -> Tensor? { indices[name].map { tensors[$0] } }

    /// The embedding tables whose gradients travel by row: they come first.
    package var tables: [Tensor] { tensors.filter(\.isTable) }

    /// Offset of a tensor that this layout is known to have.
    package func offset(_ name: String) -> Int {
        guard let index = indices[name] else { preconditionFailure("no tensor \(name)") }
        return tensors[index].offset
    }
}

/// Collects layers while a layout is built.
private struct LayoutPlan {
    typealias Order = ParameterLayout.Order
    let blocks: OptimizerSpec.Block
    var tensors: [ParameterLayout.Tensor] = []
    var layers: [ParameterLayout.Layer] = []
    var count = 0

    mutating func layer(_ name: String, _ parts: [(suffix: String, shape: [Int], order: Order)], isTable: Bool = false) {
        var start = count
        for (index, part) in parts.enumerated() {
            let size = part.shape.reduce(1, *)
            tensors.append(
                ParameterLayout.Tensor(
                    name: "\(name).\(part.suffix)", shape: part.shape, offset: count, count: size, order: part.order, layer: layers.count,
                    isTable: isTable))
            count += size
            guard blocks == .parameter || index == parts.count - 1 else { continue }
            layers.append(ParameterLayout.Layer(name: blocks == .layer ? name : "\(name).\(part.suffix)", range: start..<count))
            start = count
        }
    }

    /// A Maxout and the LayerNorm after it: two layers, as in thinc.
    mutating func maxout(_ name: String, outputs: Int, pieces: Int, inputs: Int, order: Order = .pieceMajor) {
        layer(name, [("W", [outputs, pieces, inputs], order), ("b", [outputs, pieces], .pieceMajor)])
        layer("\(name).norm", [("G", [outputs], .same), ("b", [outputs], .same)])
    }

    /// A Mish, of one map for each output, and the LayerNorm after it.
    mutating func mish(_ name: String, outputs: Int, inputs: Int) {
        layer(name, [("W", [outputs, inputs], .same), ("b", [outputs], .same)])
        layer("\(name).norm", [("G", [outputs], .same), ("b", [outputs], .same)])
    }
}
