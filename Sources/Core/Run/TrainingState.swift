// The numbers of a run on the coordinator. In: reduced gradients. Out: parameters, averages, sums for the log, and a checkpoint of any
// version.
import Foundation

/// Parameters, optimizer and accumulators. One thread uses it; `snapshot` gives others a copy.
public final class TrainingState {
    public let settings: TrainingSettings
    public let layout: ParameterLayout
    public let seeds: EmbeddingSeeds
    public let coding: GradientCoding
    public private(set) var optimizer: AdamOptimizer
    public let buffers: OptimizerState
    private let gradient: UnsafeMutablePointer<Float>
    private var pool: [MessageBuffer] = []
    /// Buffers of contributions below the root, kept for the next update.
    private var operands: [UnsafeMutablePointer<Float>] = []

    /// Updates done.
    public private(set) var update: UInt64 = 0
    public private(set) var wordCount: UInt64 = 0
    public private(set) var loss = 0.0
    public private(set) var epochLoss = 0.0
    public private(set) var selectedCount: UInt64 = 0
    public private(set) var epochSelectedCount: UInt64 = 0

    /// Starts from fresh weights; `load` may replace them.
    public init(settings: TrainingSettings, seeds: EmbeddingSeeds) {
        self.settings = settings
        self.seeds = seeds
        layout = ParameterLayout(settings: settings)
        coding = GradientCoding(layout: layout)
        buffers = OptimizerState(count: layout.count)
        optimizer = AdamOptimizer(layout: layout, settings: settings.optimizer)
        gradient = .allocate(capacity: layout.count)
        gradient.initialize(repeating: 0, count: layout.count)
        layout.initialize(buffers.parameters, seed: settings.seed)
    }

    deinit {
        gradient.deallocate()
        for operand in operands { operand.deallocate() }
    }

    /// Replaces parameters by those of a file.
    public func load(_ weights: InitialWeights, part: ParameterLayout.Part, place: String) throws(InputError) {
        try layout.load(weights.tensors, into: buffers.parameters, part: part, place: place)
    }

    /// Goes on from a checkpoint.
    public func restore(_ checkpoint: Checkpoint, place: String) throws(InputError) {
        try layout.load(checkpoint.parameters, into: buffers.parameters, place: place)
        try layout.load(checkpoint.moment1, into: buffers.moment1, place: place)
        try layout.load(checkpoint.moment2, into: buffers.moment2, place: place)
        try layout.load(checkpoint.averages, into: buffers.averages, place: place)
        buffers.step = UInt64(checkpoint.state.optimizerSteps)
        let state = checkpoint.state
        update = UInt64(state.update)
        (loss, epochLoss) = (state.loss, state.epochLoss)
        (selectedCount, epochSelectedCount) = (UInt64(state.selectedWords), UInt64(state.epochSelectedWords))
        wordCount = UInt64(state.wordCount)
    }

    /// The parameters as a message that any number of sockets can send without a copy, and their hash.
    public func broadcast() -> (message: ZMQMessage, hash: UInt64) {
        let buffer = freeBuffer()
        buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(start: buffers.parameters, count: layout.count * 4))
        return (ZMQMessage(sharing: buffer), Digest64.hash(UnsafeRawBufferPointer(buffer.bytes)))
    }

    /// A buffer that no socket holds any more, or a new one.
    private func freeBuffer() -> MessageBuffer {
        for index in pool.indices where isKnownUniquelyReferenced(&pool[index]) { return pool[index] }
        let buffer = MessageBuffer(byteCount: layout.count * 4)
        if pool.count < 4 { pool.append(buffer) }
        return buffer
    }

    /// Adds the received nodes along the tree and applies the optimizer.
    /// - Throws: `WireError` when a payload does not decode; nothing has changed then.
    public func apply(_ nodes: [(node: TreeNode, contribution: Contribution, payload: ZMQMessage?)]) throws(WireError) {
        let tree = ReductionTree(lanes: settings.lanes)
        if nodes.count == 1, let only = nodes.first {
            if let payload = only.payload {
                try coding.decode(payload.data, into: gradient)
            } else {
                gradient.update(repeating: 0, count: layout.count)
            }
        } else {
            var found: [TreeNode: UnsafeMutablePointer<Float>?] = [:]
            var used = 0
            for entry in nodes {
                guard let payload = entry.payload else {
                    found[entry.node] = .some(nil)
                    continue
                }
                if used == operands.count { operands.append(.allocate(capacity: layout.count)) }
                try coding.decode(payload.data, into: operands[used])
                found[entry.node] = operands[used]
                used += 1
            }
            TreeSum.sum(tree, tree.root, count: layout.count, into: gradient) { node in
                guard let operand = found[node] else { return .children }
                return operand.map { .buffer(UnsafePointer($0)) } ?? .absent
            }
        }
        optimizer.step(gradient: gradient, state: buffers)
        var lossOfUpdate = 0.0
        for entry in nodes {
            for bits in entry.contribution.losses { lossOfUpdate += Double(bitPattern: bits) }
            wordCount += entry.contribution.words
            selectedCount += entry.contribution.selected
            epochSelectedCount += entry.contribution.selected
        }
        let selected = nodes.reduce(0) { $0 + $1.contribution.selected }
        if selected > 0 { lastLossPerWord = lossOfUpdate / Double(selected) }
        loss += lossOfUpdate
        epochLoss += lossOfUpdate
        update += 1
    }

    /// Loss per selected word of the last update.
    public private(set) var lastLossPerWord = 0.0

    /// Numbers the first update of a fresh run: `--epoch-start` epochs are behind it, so that nothing is drawn twice.
    public func start(at update: UInt64) { self.update = update }

    /// A line of log.jsonl: spaCy's keys (2.3 `cli/pretrain.py`), and the epoch's loss per selected word.
    public func logLine(epoch: UInt64) -> String {
        let perWord = epochSelectedCount == 0 ? 0 : epochLoss / Double(epochSelectedCount)
        return "{\"nr_word\":\(wordCount),\"loss\":\(loss),\"epoch_loss\":\(epochLoss),\"epoch\":\(epoch),"
            + "\"loss_per_selected_word\":\(perWord)}"
    }

    /// Called after an epoch's last update has been logged.
    public func endEpoch() { (epochLoss, epochSelectedCount) = (0, 0) }

    /// A copy of this version, for the helper thread.
    public func snapshot() -> Snapshot { Snapshot(self) }

    /// One version of everything, copied.
    public final class Snapshot: @unchecked Sendable {
        let layout: ParameterLayout
        let seeds: EmbeddingSeeds
        public var state = CheckpointState()
        private let floats: UnsafeMutablePointer<Float>

        init(_ training: TrainingState) {
            layout = training.layout
            seeds = training.seeds
            let count = layout.count
            floats = .allocate(capacity: 4 * count)
            let sources = [
                training.buffers.parameters, training.buffers.moment1, training.buffers.moment2, training.buffers.averages,
            ]
            for (index, source) in sources.enumerated() { (floats + index * count).initialize(from: source, count: count) }
            state.update = Int(training.update)
            state.seed = training.settings.seed
            state.lanes = training.settings.lanes
            state.optimizerSteps = Int(training.buffers.step)
            (state.loss, state.epochLoss) = (training.loss, training.epochLoss)
            (state.selectedWords, state.epochSelectedWords) = (Int(training.selectedCount), Int(training.epochSelectedCount))
            state.wordCount = Int(training.wordCount)
        }

        deinit { floats.deallocate() }

        /// `modelN.bin`: the averages, without the head.
        public func modelFile() throws(InputError) -> [UInt8] {
            let tensors = layout.export(floats + 3 * layout.count, part: .tok2vec)
            return try ThincTok2Vec(tensors: tensors, seeds: seeds, place: "model").encoded()
        }

        public func checkpoint(configuration: String, tables: [NamedWords]) -> Checkpoint {
            var checkpoint = Checkpoint()
            checkpoint.parameters = layout.export(floats)
            checkpoint.moment1 = layout.export(floats + layout.count)
            checkpoint.moment2 = layout.export(floats + 2 * layout.count)
            checkpoint.averages = layout.export(floats + 3 * layout.count)
            checkpoint.tables = tables
            checkpoint.state = state
            checkpoint.seeds = seeds
            checkpoint.configuration = configuration
            return checkpoint
        }
    }
}
