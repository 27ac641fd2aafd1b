// From a micro-batch to its contribution. In: micro-batch, parameters, vectors. Out: the un-normalized gradient sum and the loss.
//
// Exact, but limited to what a selected token's loss can reach: see MicroBatch. What repeats is multiplied once: the mixer's product by
// part (many words share a suffix, say), and if possible the first convolution's by unique word.
import Base
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
    private let sums = LaneMatrixSum()
    private let expected: ExpectedRows
    private let coding: GradientCoding
    /// Several lanes in one, and gradients of all but the first.
    private var joined = MicroBatchContent()
    private var others: [LaneGradient] = []
    /// Of the current pass: kept, since a step should not allocate.
    private var gradients: [MutableFloats] = []
    /// Where `profileStep` collects; nil in training.
    var account: KernelAccount?

    /// - Parameters:
    ///   - vectors: the vectors table: input, targets, or both; its width is `spec.vectorWidth`. Nil if the spec needs none.
    ///   - wordsPerLane: words of a lane in an update, on average. The order of additions depends on it.
    package init(spec: ModelSpec, layout: ParameterLayout, vectors: (any VectorRows)?, wordsPerLane: Int) {
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
        coding = GradientCoding(layout: layout)
        expected = ExpectedRows(words: wordsPerLane, spec: spec)
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
        return statistics(of: batch, run(batch.content, parameters, version, gradient)[0])
    }

    /// The same, into a buffer that this engine or another has filled before: only rows that were touched are zeroed. Without a selected
    /// token the buffer stays as it is.
    package func gradient(
        of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>, version: UInt64? = nil, into buffer: GradientBuffer
    ) -> ContributionStatistics {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        clearRows(of: buffer, for: batch)
        return statistics(of: batch, run(batch.content, parameters, version, buffer.floats)[0])
    }

    /// Whether lanes can be computed together. OpenBLAS's rows depend on each other, and unique words belong to one lane.
    static func joinsLanes(_ spec: ModelSpec) -> Bool { spec.arithmetic != .blas && !spec.convolvesWords }

    /// The same for the lanes below a node of the tree, one or several: the sum of their gradients. The same bits as those of the lanes,
    /// one by one, added along the tree: what lanes have in common costs less here, and few gradients go through memory.
    /// - Precondition: `joinsLanes` if there are several; their gradients are not rounded before they are added.
    /// - Parameter batches: of the lanes below `node`, in their order.
    /// - Returns: each lane's statistics.
    package func gradient(
        of batches: [MicroBatch], node: TreeNode, tree: ReductionTree, parameters: UnsafePointer<Float>, version: UInt64?,
        into buffer: GradientBuffer
    ) -> [ContributionStatistics] {
        precondition(batches.count == tree.lanes(below: node).count && (batches.count == 1 || Self.joinsLanes(spec)))
        let present = batches.indices.filter { batches[$0].selectedCount > 0 }
        guard present.count > 1 else {
            return batches.map { gradient(of: $0, parameters: parameters, version: version, into: buffer) }
        }
        while others.count < present.count - 1 { others.append(LaneGradient(coding: coding)) }
        let others = Array(others[..<(present.count - 1)])
        clearRows(of: buffer, for: batches[present[0]])
        account.measure(.clear, bytes: 0) {
            for (other, index) in zip(others, present.dropFirst()) { other.clear(for: batches[index].content, first: tableRows) }
        }
        let first = tree.lanes(below: node).lowerBound.rawValue
        let lanes = present.map { LaneID(first + $0) }
        joined.join(present.map { batches[$0] }, merges: tree.merges(of: lanes, below: node))
        let losses = run(joined, parameters, version, buffer.floats, others)
        account.measure(.laneSums, bytes: 0) { add(others, to: buffer, of: lanes, node, tree) }
        var next = losses.makeIterator()
        return batches.map { statistics(of: $0, $0.selectedCount > 0 ? next.next() ?? 0 : 0) }
    }

    private func statistics(of batch: borrowing MicroBatch, _ loss: Double) -> ContributionStatistics {
        ContributionStatistics(lossSum: loss, selectedCount: batch.selectedCount, wordCount: batch.wordCount)
    }

    /// Adds what each lane has of its own: all but weights.
    private func add(_ others: [LaneGradient], to buffer: GradientBuffer, of lanes: [LaneID], _ node: TreeNode, _ tree: ReductionTree) {
        let views = [buffer.view] + others.map(\.view)
        let sum = GradientSum(coding, tree, node) { node in
            guard node.level == 0 else { return .children }
            return lanes.firstIndex { TreeNode(lane: $0) == node }.map { .value(views[$0]) } ?? .absent
        }
        sum?.write(overFirst: buffer, rest: cleared.map(\.range))
    }

    private func clearRows(of buffer: GradientBuffer, for batch: borrowing MicroBatch) {
        let parts = batch.content.parts
        account.measure(.clear, bytes: tableRows.indices.reduce(0) { $0 + 4 * spec.width * parts[$1].touched.count }) {
            buffer.clearRows()
            for (index, first) in tableRows.enumerated() {
                for row in parts[index].touched { buffer.touch(row: first + Int(row)) }
            }
        }
    }

    /// The loss of the micro-batch's selected tokens, forward only. The same bits as `gradient` gives for the same batch.
    package func loss(of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>) -> ContributionStatistics {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        // The forward pass writes no gradient; packed weights are for training.
        let pass = pass(batch.content, parameters, version: nil, gradients: [], others: [])
        mixer.forward(pass)
        guard let embedded = mixer.embedded else { preconditionFailure("the mixer has no memory") }
        let loss = objective.loss(pass, input: encoder.forward(pass, embedded: embedded))
        return statistics(of: batch, loss)
    }

    /// Untouched rows of the tables are zero.
    /// - Parameters:
    ///   - gradient: of the first lane, and of all lanes' weights.
    ///   - others: of the other lanes.
    /// - Returns: each lane's loss.
    private func run(
        _ content: MicroBatchContent, _ parameters: Floats, _ version: UInt64?, _ gradient: MutableFloats, _ others: [LaneGradient] = []
    ) -> [Double] {
        gradients.removeAll(keepingCapacity: true)
        gradients.append(gradient)
        for other in others { gradients.append(other.floats) }
        let pass = pass(content, parameters, version: version, gradients: gradients, others: others)
        for gradient in gradients { clear(gradient) }
        mixer.forward(pass)
        guard let embedded = mixer.embedded, let dEmbedded = mixer.dEmbedded else { preconditionFailure("the mixer has no memory") }
        let rows = encoder.forward(pass, embedded: embedded)
        let losses = objective.run(pass, input: rows, dInput: encoder.dOutput)
        encoder.backward(pass, embedded: embedded, dEmbedded: dEmbedded)
        mixer.backward(pass)
        return losses
    }

    private func pass(
        _ content: MicroBatchContent, _ parameters: Floats, version: UInt64?, gradients: [MutableFloats], others: [LaneGradient]
    ) -> Pass {
        Pass(
            batch: content, parameters: parameters, gradients: gradients, others: others, sums: sums, expected: expected,
            scratch: carve(content), products: products,
            weights: WeightProducts(products: products, parameters: parameters, packed: version.map { (packed, $0) }), account: account)
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
