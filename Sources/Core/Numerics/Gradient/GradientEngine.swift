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
    /// Tensors that are accumulated, for each lane: all but weights, which products overwrite, and tables that travel by row, of which rows
    /// are overwritten.
    private let cleared: [ParameterLayout.Tensor]
    private let arena = Arena()
    private let packed: PackedWeightsStore
    private let idle: (any IdleThreads)?
    private let sums = LaneMatrixSum()
    private let expected: ExpectedRows
    private let coding: GradientCoding
    /// Several lanes in one, and what all but the first have of their own: memory for each but tables, of which little is used.
    private var joined = MicroBatchContent()
    private var others: [MutableFloats] = []
    /// Of the current pass, with the bits of the table rows that it writes: kept, since a step should not allocate.
    private var gradients: [MutableFloats] = []
    private var written: [UInt64]
    /// Where `profileStep` collects; nil in training.
    var account: KernelAccount?

    /// - Parameters:
    ///   - vectors: the vectors table: input, targets, or both; its width is `spec.vectorWidth`. Nil if the spec needs none.
    ///   - wordsPerLane: words of a lane in an update, on average. The order of additions depends on it.
    ///   - packed: shared by the engines of a worker.
    ///   - idle: the worker's other threads; products are cut for those that wait.
    package init(
        spec: ModelSpec, layout: ParameterLayout, vectors: (any VectorRows)?, wordsPerLane: Int, packed: PackedWeightsStore = .init(),
        idle: (any IdleThreads)? = nil
    ) {
        precondition(
            spec.vectorWidth == nil || vectors?.width == spec.vectorWidth,
            "vectors of width \(vectors?.width ?? 0), the spec says \(spec.vectorWidth ?? 0)")
        self.spec = spec
        self.layout = layout
        self.packed = packed
        self.idle = idle
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
        written = Array(repeating: 0, count: coding.bitmapWords)
        expected = ExpectedRows(words: wordsPerLane, spec: spec)
    }

    deinit { for other in others { other.deallocate() } }

    /// Overwrites `gradient` (`layout.count` floats) with the sum of the gradients of the micro-batch's selected tokens; parameters that
    /// none of them reaches get +0.0. The same bits for the same arguments, on hosts of one numeric fingerprint.
    /// - Parameter version: of the parameters: their weights are then packed once for all micro-batches with the same number, of all
    ///   engines that share them, which pays off with two or more. Nil: for this micro-batch alone.
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

    /// The same, into a buffer that this engine or another has filled before. Without a selected token the buffer stays as it is.
    package func gradient(
        of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>, version: UInt64? = nil, into buffer: GradientBuffer
    ) -> ContributionStatistics {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        holdRows(buffer, of: batch.content)
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
        while others.count < present.count - 1 { others.append(.allocate(capacity: max(1, coding.restCount))) }
        let first = tree.lanes(below: node).lowerBound.rawValue
        joined.join(present.map { batches[$0] }, merges: tree.merges(of: present.map { LaneID(first + $0) }, below: node))
        holdRows(buffer, of: joined)
        let losses = run(joined, parameters, version, buffer.floats)
        account.measure(.laneSums, bytes: 0) { addLanes(merges: joined.merges) }
        var next = losses.makeIterator()
        return batches.map { statistics(of: $0, $0.selectedCount > 0 ? next.next() ?? 0 : 0) }
    }

    private func statistics(of batch: borrowing MicroBatch, _ loss: Double) -> ContributionStatistics {
        ContributionStatistics(lossSum: loss, selectedCount: batch.selectedCount, wordCount: batch.wordCount)
    }

    /// Adds what each lane has of its own to the first one's.
    private func addLanes(merges: [Int32]) {
        var last = -1
        for (lane, count) in merges.enumerated() {
            last += 1
            gradients[last] = gradients[lane]
            for _ in 0..<count {
                last -= 1
                let (source, target) = (gradients[last + 1], gradients[last])
                for tensor in cleared { add(Floats(source) + tensor.offset, to: target + tensor.offset, count: tensor.count) }
            }
        }
    }

    /// Tells a buffer which table rows a pass will write.
    private func holdRows(_ buffer: GradientBuffer, of content: MicroBatchContent) {
        account.measure(.clear, bytes: 0) {
            written.withUnsafeMutableBufferPointer { written in
                written.update(repeating: 0)
                for (part, first) in zip(content.parts, tableRows) {
                    for row in part.rows { written[(first + Int(row)) >> 6] |= 1 << UInt64((first + Int(row)) & 63) }
                }
            }
            buffer.hold(rows: written)
        }
    }

    /// The loss of the micro-batch's selected tokens, forward only. The same bits as `gradient` gives for the same batch.
    package func loss(of batch: borrowing MicroBatch, parameters: UnsafePointer<Float>) -> ContributionStatistics {
        guard batch.selectedCount > 0 else { return ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: batch.wordCount) }
        // The forward pass writes no gradient; packed weights are for training.
        let pass = pass(batch.content, parameters, version: nil, gradients: [])
        mixer.forward(pass)
        guard let embedded = mixer.embedded else { preconditionFailure("the mixer has no memory") }
        let loss = objective.loss(pass, input: encoder.forward(pass, embedded: embedded))
        return statistics(of: batch, loss)
    }

    /// Other rows of the tables than the micro-batch's are zero.
    /// - Parameter gradient: of the first lane, and of all lanes' weights and tables.
    /// - Returns: each lane's loss.
    private func run(_ content: MicroBatchContent, _ parameters: Floats, _ version: UInt64?, _ gradient: MutableFloats) -> [Double] {
        gradients.removeAll(keepingCapacity: true)
        gradients.append(gradient)
        for other in others.prefix(content.laneCount - 1) { gradients.append(other - coding.rows * coding.width) }
        let pass = pass(content, parameters, version: version, gradients: gradients)
        account.measure(.clear, bytes: content.laneCount * cleared.reduce(0) { $0 + 4 * $1.count }) {
            for gradient in gradients {
                for tensor in cleared { (gradient + tensor.offset).update(repeating: 0, count: tensor.count) }
            }
        }
        mixer.forward(pass)
        guard let embedded = mixer.embedded, let dEmbedded = mixer.dEmbedded else { preconditionFailure("the mixer has no memory") }
        let rows = encoder.forward(pass, embedded: embedded)
        let losses = objective.run(pass, input: rows, dInput: encoder.dOutput)
        encoder.backward(pass, embedded: embedded, dEmbedded: dEmbedded)
        mixer.backward(pass)
        return losses
    }

    private func pass(_ content: MicroBatchContent, _ parameters: Floats, version: UInt64?, gradients: [MutableFloats]) -> Pass {
        Pass(
            batch: content, parameters: parameters, gradients: gradients, sums: sums, expected: expected, scratch: carve(content),
            products: products,
            weights: WeightProducts(
                products: products, parameters: parameters, packed: version.map { (packed.weights(version: $0), $0) }, idle: idle),
            idle: idle, account: account)
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

    /// Operations of the products that a gradient of `batch` needs (see `StepProfile.neededOperations`).
    func neededOperations(_ batch: MicroBatchContent) -> Double {
        guard batch.selectedCount > 0 else { return 0 }
        let products = mixer.neededProducts(batch) + encoder.neededProducts(batch) + objective.neededProducts(batch)
        // The vectors' own gradient is not needed: they are fixed.
        let vectors = spec.vectorsInput.map { (batch.parts.last?.count ?? 0) * $0.output * $0.width } ?? 0
        return 6 * Double(products) + 4 * Double(vectors)
    }
}
