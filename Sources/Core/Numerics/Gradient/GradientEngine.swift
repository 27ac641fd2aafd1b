// From a micro-batch to its contribution. In: micro-batch, parameters, vectors. Out: the un-normalized gradient sum and the loss.
//
// Exact, but limited to what a selected token's loss can reach: see MicroBatch. What repeats is multiplied once: the mixer's product by
// part (many words share a suffix, say), and if possible the first convolution's by unique word.
import Model
import Shards

/// Rows of the vectors table.
package protocol VectorRows: Sendable {
    /// Floats of a row.
    var width: Int { get }
    /// `width` floats, valid as long as the table exists. `row` is one that a micro-batch refers to.
    func pointer(row: Int) -> UnsafePointer<Float>
}

/// The figures that accompany a gradient.
package struct ContributionStatistics: Sendable, Equatable {
    /// Sum of the losses of the selected tokens.
    package var lossSum: Double
    /// Tokens that gave a loss.
    package var selectedCount: Int
    /// All tokens of the micro-batch.
    package var wordCount: Int

    /// Statistics of one contribution.
    package init(lossSum: Double, selectedCount: Int, wordCount: Int) {
        self.lossSum = lossSum
        self.selectedCount = selectedCount
        self.wordCount = wordCount
    }
}

/// Computes contributions on the calling thread, with one BLAS thread. One engine per compute thread: it owns its memory.
package final class GradientEngine {
    let spec: ModelSpec
    let layout: ParameterLayout
    let mixer: Mixer
    let encoder: any EncoderLayer
    let objective: any ObjectiveLayer
    private let products: MatrixMultiply
    /// First rows of the tables whose gradients travel by row.
    private let tableRows: [Int]
    /// Tensors that are accumulated, except tables that travel by row: all but weights, which products overwrite.
    private let cleared: [ParameterLayout.Tensor]
    private let arena = Arena()
    private let packed = PackedWeights()
    /// Where `profileStep` collects; nil in training.
    var account: KernelAccount?

    /// - Parameter vectors: the vectors table: input, targets, or both; its width is `spec.vectorWidth`. Nil if the spec needs none.
    package init(spec: ModelSpec, layout: ParameterLayout, vectors: (any VectorRows)?) {
        precondition(
            spec.vectorWidth == nil || vectors?.width == spec.vectorWidth,
            "vectors of width \(vectors?.width ?? 0), the spec says \(spec.vectorWidth ?? 0)")
        self.spec = spec
        self.layout = layout
        products = MatrixMultiply(spec.arithmetic)
        mixer = Mixer(spec: spec, layout: layout, vectors: vectors)
        encoder = WindowEncoder(spec: spec, layout: layout)
        switch spec.objective {
        case .characters(let characters): objective = CharactersHead(spec: spec, objective: characters, layout: layout)
        case .vectors(let target):
            guard let vectors else { preconditionFailure("the objective needs vectors") }
            objective = VectorsHead(spec: spec, objective: target, layout: layout, vectors: vectors)
        }
        tableRows = layout.tables.map { $0.offset / max(1, $0.shape[1]) }
        cleared = layout.tensors.filter { !$0.isTable && !$0.name.hasSuffix(".W") }
    }

    /// Overwrites `gradient` (`layout.count` floats) with the sum of the gradients of the micro-batch's selected tokens; parameters that
    /// none of them reaches get +0.0. The same bits for the same arguments, on hosts of one numeric fingerprint.
    /// - Parameter version: of the parameters: their weights are then packed once for all micro-batches with the same number, which pays
    ///   off with two or more. Nil: for this micro-batch alone.
    package func gradient(
        of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>, version: UInt64? = nil,
        into gradient: UnsafeMutablePointer<Float>
    ) -> ContributionStatistics {
        guard batch.selectedCount > 0 else {
            gradient.update(repeating: 0, count: layout.count)
            return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount)
        }
        account.measure(.clear, bytes: layout.tables.reduce(0) { $0 + 4 * $1.count }) {
            for tensor in layout.tables { (gradient + tensor.offset).update(repeating: 0, count: tensor.count) }
        }
        return run(batch, parameters, version, gradient)
    }

    /// The same, into a buffer that this engine or another has filled before: only rows that were touched are zeroed. Without a selected
    /// token the buffer stays as it is.
    package func gradient(
        of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>, version: UInt64? = nil, into buffer: GradientBuffer
    ) -> ContributionStatistics {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        let parts = batch.content.parts
        account.measure(.clear, bytes: tableRows.indices.reduce(0) { $0 + 4 * spec.width * parts[$1].touched.count }) {
            buffer.clearRows()
            for (index, first) in tableRows.enumerated() {
                for row in parts[index].touched { buffer.touch(row: first + Int(row)) }
            }
        }
        return run(batch, parameters, version, buffer.floats)
    }

    /// The loss of the micro-batch's selected tokens, forward only. The same bits as `gradient` gives for the same batch.
    package func loss(of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>) -> ContributionStatistics {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        let content = batch.content
        let scratch = carve(content)
        // The forward pass writes no gradient; packed weights are for training.
        let pass = Pass(
            batch: content, parameters: parameters, gradient: scratch.row, scratch: scratch, products: products,
            weights: WeightProducts(products: products, parameters: parameters, packed: nil), account: nil)
        mixer.forward(pass)
        guard let embedded = mixer.embedded else { preconditionFailure("the mixer has no memory") }
        let loss = objective.loss(pass, input: encoder.forward(pass, embedded: embedded))
        return ContributionStatistics(lossSum: loss, selectedCount: batch.selectedCount, wordCount: batch.wordCount)
    }

    /// Untouched rows of the tables are zero.
    private func run(_ batch: borrowing MicroBatch, _ parameters: Floats, _ version: UInt64?, _ gradient: MutableFloats)
        -> ContributionStatistics
    {
        let content = batch.content
        let weights = WeightProducts(products: products, parameters: parameters, packed: version.map { (packed, $0) })
        let pass = Pass(
            batch: content, parameters: parameters, gradient: gradient, scratch: carve(content), products: products, weights: weights,
            account: account)
        clear(gradient)
        mixer.forward(pass)
        guard let embedded = mixer.embedded, let dEmbedded = mixer.dEmbedded else { preconditionFailure("the mixer has no memory") }
        let rows = encoder.forward(pass, embedded: embedded)
        let loss = objective.run(pass, input: rows, dInput: encoder.dOutput)
        encoder.backward(pass, embedded: embedded, dEmbedded: dEmbedded)
        mixer.backward(pass)
        return ContributionStatistics(lossSum: loss, selectedCount: batch.selectedCount, wordCount: batch.wordCount)
    }

    private func carve(_ batch: MicroBatchContent) -> Scratch {
        var made: Scratch?
        arena.layout { carver in
            var sizes = Scratch.Sizes()
            mixer.carve(batch, &sizes, &carver)
            encoder.carve(batch, &sizes, &carver)
            objective.carve(batch, &sizes, &carver)
            made = Scratch(sizes, carver: &carver)
        }
        guard let made else { preconditionFailure("the arena calls its closure") }
        return made
    }

    /// Zeroes what is accumulated, except tables that travel by row.
    private func clear(_ gradient: MutableFloats) {
        account.measure(.clear, bytes: cleared.reduce(0) { $0 + 4 * $1.count }) {
            for tensor in cleared { (gradient + tensor.offset).update(repeating: 0, count: tensor.count) }
        }
    }

    /// Operations of the products that a gradient of `batch` needs (see `StepProfile.neededOperations`).
    func neededOperations(_ batch: MicroBatchContent) -> Double {
        guard batch.selectedCount > 0 else { return 0 }
        let products = mixer.neededProducts(batch) + encoder.neededProducts(batch) + objective.neededProducts(batch)
        // The vectors' own gradient is not needed: they are fixed.
        let vectors = spec.vectorsInput.map { (batch.parts.last?.count ?? 0) * $0.output * $0.width } ?? 0
        return 6 * Double(products) + 4 * Double(vectors)
    }
}
