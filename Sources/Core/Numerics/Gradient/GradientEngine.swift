// From a micro-batch to its contribution. In: micro-batch, parameters, vectors. Out: the un-normalized gradient sum and the loss.
//
// Exact, but only what a selected token's loss can reach: see MicroBatch. Two products are taken apart, so that what repeats is multiplied
// once: the mixer's by attribute (a prefix or shape is shared by many words), the first convolution's by unique word.

/// Rows of the vectors table.
public protocol VectorRows: Sendable {
    /// Floats of a row.
    var width: Int { get }
    /// `width` floats, valid as long as the table. `row` is a row that a micro-batch names.
    func pointer(row: Int) -> UnsafePointer<Float>
}

/// What comes with a gradient.
public struct ContributionStatistics: Sendable, Equatable {
    /// Sum of the losses of the selected tokens.
    public var lossSum: Double
    /// Tokens that gave a loss.
    public var selectedCount: Int
    /// All tokens of the micro-batch.
    public var wordCount: Int

    /// Statistics of one contribution.
    public init(lossSum: Double, selectedCount: Int, wordCount: Int) {
        self.lossSum = lossSum
        self.selectedCount = selectedCount
        self.wordCount = wordCount
    }
}

/// Computes contributions on the calling thread, with one BLAS thread. One engine per compute thread: it owns its memory.
public final class GradientEngine {
    let settings: TrainingSettings
    let profile: Profile
    let layout: ParameterLayout
    let vectors: any VectorRows
    /// W, D and the convolutions' P.
    let width: Int
    let depth: Int
    let pieces: Int
    let keepScale: Float
    let offsets: LayerOffsets
    private let smallTensors: [ParameterLayout.Tensor]
    private let arena = Arena()
    /// Intermediates of the last gradient, for tests; overwritten by the next.
    private(set) var lastBuffers: StepBuffers?
    /// Where `profileStep` collects; nil in training.
    var account: KernelAccount?

    /// - Parameter vectors: the vectors table: targets, and input with static vectors; its width is `settings.vectorWidth`.
    public init(settings: TrainingSettings, layout: ParameterLayout, vectors: any VectorRows, profile: Profile = .spacy2) {
        precondition(vectors.width == settings.vectorWidth, "vectors of width \(vectors.width), settings say \(settings.vectorWidth)")
        self.settings = settings
        self.profile = profile
        self.layout = layout
        self.vectors = vectors
        (width, depth, pieces) = (settings.width, settings.depth, settings.pieces)
        keepScale = Dropout(rate: settings.dropout).scale
        offsets = LayerOffsets(layout: layout, settings: settings)
        smallTensors = layout.tensors.filter { !$0.isTable && $0.shape.count < 3 }
    }

    /// Overwrites `gradient` (`layout.count` floats) with the sum of the gradients of the micro-batch's selected tokens; what none of them
    /// reaches is +0.0. The same bits for the same arguments, on hosts of one numeric fingerprint.
    public func gradient(
        of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>, into gradient: UnsafeMutablePointer<Float>
    ) -> ContributionStatistics {
        guard batch.selectedCount > 0 else {
            gradient.update(repeating: 0, count: layout.count)
            return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount)
        }
        measure(.clear, bytes: layout.tables.reduce(0) { $0 + 4 * $1.count }) {
            for tensor in layout.tables { (gradient + tensor.offset).update(repeating: 0, count: tensor.count) }
        }
        return run(batch, parameters, gradient)
    }

    /// The same, into a buffer that this engine or another has filled before: only rows that were touched are zeroed. Without a selected
    /// token the buffer stays as it is.
    public func gradient(of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>, into buffer: GradientBuffer)
        -> ContributionStatistics
    {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        measure(.clear, bytes: batch.content.features.reduce(0) { $0 + 4 * width * $1.touched.count }) {
            buffer.clearRows()
            for (index, table) in offsets.tables.enumerated() {
                for row in batch.content.features[index].touched { buffer.touch(row: table / width + Int(row)) }
            }
        }
        return run(batch, parameters, buffer.floats)
    }

    /// The tables are zero where they are not touched.
    private func run(_ batch: borrowing MicroBatch, _ parameters: Floats, _ gradient: MutableFloats) -> ContributionStatistics {
        let content = batch.content
        let buffers = carve(content)
        lastBuffers = buffers
        let step = Step(batch: content, parameters: parameters, gradient: gradient, buffers: buffers)
        clear(gradient)
        embed(step)
        firstConvolution(step)
        for level in stride(from: 2, through: depth, by: 1) { convolution(step, level: level) }
        let loss = head(step)
        for level in stride(from: depth, through: 2, by: -1) { convolutionBackward(step, level: level) }
        firstConvolutionBackward(step)
        embedBackward(step)
        return ContributionStatistics(lossSum: loss, selectedCount: batch.selectedCount, wordCount: batch.wordCount)
    }

    /// Bytes of memory that the engine holds for intermediates.
    public var arenaBytes: Int { arena.capacity }

    /// What the stages of one gradient pass among themselves.
    struct Step {
        let batch: MicroBatchContent
        let parameters: Floats
        let gradient: MutableFloats
        let buffers: StepBuffers

        /// Two buffers for gradients of hidden rows: a level writes one and the level below the other.
        func dHidden(level: Int) -> MutableFloats { level % 2 == 0 ? buffers.dHidden.0 : buffers.dHidden.1 }
    }

    private func carve(_ batch: MicroBatchContent) -> StepBuffers {
        var made: StepBuffers?
        arena.layout { made = StepBuffers(batch: batch, settings: settings, profile: profile, carver: &$0) }
        guard let made else { preconditionFailure("the arena calls its closure") }
        return made
    }

    /// Zeroes what is added to, tables apart; products overwrite the rest.
    private func clear(_ gradient: MutableFloats) {
        measure(.clear, bytes: smallTensors.reduce(0) { $0 + 4 * $1.count }) {
            for tensor in smallTensors { (gradient + tensor.offset).update(repeating: 0, count: tensor.count) }
        }
    }

    /// The row kernel of a Maxout + LayerNorm.
    func kernel(_ layer: LayerOffsets.Maxout, outputs: Int, pieces: Int, parameters: Floats) -> MaxoutLayerNorm {
        MaxoutLayerNorm(
            outputs: outputs, pieces: pieces, epsilon: profile.layerNormEpsilon, bias: parameters + layer.bias,
            gain: parameters + layer.gain, shift: parameters + layer.shift, keepScale: keepScale)
    }
}

/// Offsets of all tensors, looked up once.
struct LayerOffsets {
    struct Maxout {
        let weights, bias, gain, shift: Int

        init(_ layout: ParameterLayout, _ name: String) {
            weights = layout.offset("\(name).W")
            bias = layout.offset("\(name).b")
            gain = layout.offset("\(name).norm.G")
            shift = layout.offset("\(name).norm.b")
        }
    }

    /// norm, prefix, suffix, shape.
    let tables: [Int]
    /// Projection of static vectors.
    let vectors: Int?
    let mixer: Maxout
    let convolutions: [Maxout]
    let head: Maxout
    let outputWeights: Int
    let outputBias: Int

    init(layout: ParameterLayout, settings: TrainingSettings) {
        tables = layout.tables.map(\.offset)
        vectors = settings.useVectors ? layout.offset("embed.vectors.W") : nil
        mixer = Maxout(layout, "mixer")
        convolutions = (0..<settings.depth).map { Maxout(layout, "encode.\($0)") }
        head = Maxout(layout, "head.hidden")
        outputWeights = layout.offset("head.output.W")
        outputBias = layout.offset("head.output.b")
    }
}
