// The numbers of a run on the coordinator. In: reduced gradients. Out: parameters, averages, sums for the log, and a checkpoint of any
// version.
import Base
import Dispatch
import Formats
import FoundationEssentials
import Glibc
import Model
import Numerics
import Protocol
import Transport

/// Parameters, optimizer and accumulators. One thread uses it; `snapshot` gives others a copy.
package final class TrainingState {
    package let settings: TrainingSettings
    package let layout: ParameterLayout
    package let spec: ModelSpec
    package let coding: GradientCoding
    package let optimizer: AdamOptimizer
    package let buffers: OptimizerState
    private let memory: GradientMemory
    private let shared: SharedParameters?
    package let parameterCoding: ParameterCoding
    /// For versions of the parameters.
    private var pool: MessageBufferPool
    /// For what travels, if that has another format.
    private var halves: MessageBufferPool
    /// Holds the current version of the parameters once it has been broadcast.
    private var current: MessageBuffer?
    /// Digests of its blocks, if it travels unchanged.
    private var digests: [UInt64]?
    /// How many threads apply an update.
    private let threads: Int
    /// Parts of the layers that one thread sums at a time.
    private let slices: [(layer: Int, range: Range<Int>)]

    /// Updates done.
    package private(set) var update: UInt64 = 0
    package private(set) var wordCount: UInt64 = 0
    package private(set) var loss = 0.0
    package private(set) var epochLoss = 0.0
    package private(set) var selectedCount: UInt64 = 0
    package private(set) var epochSelectedCount: UInt64 = 0

    /// Starts from fresh weights; `load` may replace them.
    /// - Parameter sharesMemory: whether workers on this host are to read the parameters where they are made.
    package init(settings: TrainingSettings, spec: ModelSpec, sharesMemory: Bool = false) {
        self.settings = settings
        self.spec = spec
        layout = ParameterLayout(spec: spec)
        coding = GradientCoding(layout: layout, precision: settings.wirePrecision)
        buffers = OptimizerState(count: layout.count)
        optimizer = AdamOptimizer(layout: layout, settings: spec.optimizer)
        parameterCoding = ParameterCoding(count: layout.count, precision: settings.wirePrecision)
        let byteCount = parameterCoding.byteCount
        // Without shared memory everything is sent in messages.
        shared = sharesMemory ? try? SharedParameters(byteCount: byteCount) : nil
        let places = shared?.buffers(byteCount: byteCount) ?? []
        let travelAsTheyAre = settings.wirePrecision == .float32
        pool = MessageBufferPool(byteCount: layout.count * 4, buffers: travelAsTheyAre ? places : [])
        halves = MessageBufferPool(byteCount: byteCount, buffers: travelAsTheyAre ? [] : places)
        slices = Self.slices(optimizer.layers, width: coding.width)
        memory = GradientMemory(
            count: layout.count, partCount: max(slices.map(\.range.count).max() ?? 0, Self.stepLength + 2 * coding.width))
        threads = layout.count < 1 << 17 ? 1 : ProcessInfo.processInfo.activeProcessorCount
        layout.initialize(buffers.parameters, seed: settings.seed)
    }

    /// Parts of about 128 KB, which stay in a second-level cache; each is a whole number of table rows and of blocks of a norm, from the
    /// layer's first float on.
    private static func slices(_ layers: [Range<Int>], width: Int) -> [(layer: Int, range: Range<Int>)] {
        var (unit, rest) = (AdamOptimizer.normBlock, width)
        while rest != 0 { (unit, rest) = (rest, unit % rest) }
        let step = AdamOptimizer.normBlock / unit * width
        let length = max(1, (1 << 15) / step) * step
        return layers.enumerated().flatMap { layer, range in
            stride(from: range.lowerBound, to: range.upperBound, by: length).map { (layer, $0..<min($0 + length, range.upperBound)) }
        }
    }

    /// The descriptor of the memory that holds the parameters, for workers on this host.
    package var sharedDescriptor: Int32? { shared?.memory.descriptor }

    /// Replaces parameters by those of a file.
    package func load(_ weights: InitialWeights, part: ParameterLayout.Part, place: String) throws(InputError) {
        try layout.load(weights.tensors, into: buffers.parameters, part: part, place: place)
    }

    /// Continues from a checkpoint.
    package func restore(_ checkpoint: Checkpoint, place: String) throws(InputError) {
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
        lastEpochLossPerWord = state.extra[Self.lastEpochKey].flatMap(Double.init)
    }

    /// What a checkpoint calls `lastEpochLossPerWord`.
    private static let lastEpochKey = "last_epoch_loss_per_word"

    /// One version of the parameters, ready to be sent.
    package struct Broadcast {
        /// The parameters as they travel: any number of sockets can send them without a copy.
        package let message: ZMQMessage
        /// `Digest64.hash(blocks:)` of them.
        package let hash: UInt64
        /// Refers to them between processes that share this memory.
        package let reference: SharedReference?
    }

    /// The current version.
    package func broadcast() -> Broadcast {
        let buffer: MessageBuffer
        if let current {
            buffer = current
        } else {
            buffer = pool.next()
            shared?.withdraw(buffer)
            buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(start: buffers.parameters, count: layout.count * 4))
            (current, digests) = (buffer, nil)
        }
        return broadcast(encoded(buffer), digests)
    }

    /// The part of the current version that is scored and saved: the averages, or without averages the parameters.
    package func broadcastForEvaluation() -> Broadcast {
        guard spec.optimizer.averages else { return broadcast() }
        let buffer = pool.next()
        shared?.withdraw(buffer)
        buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(start: buffers.averages, count: layout.count * 4))
        return broadcast(encoded(buffer), nil)
    }

    /// The version as it travels.
    private func encoded(_ version: MessageBuffer) -> MessageBuffer {
        guard parameterCoding.precision != .float32 else { return version }
        let buffer = halves.next()
        shared?.withdraw(buffer)
        guard let body = buffer.bytes.baseAddress else { return buffer }
        let (coding, floats, block) = (parameterCoding, version.bytes.assumingMemoryBound(to: Float.self), 1 << 16)
        guard let base = floats.baseAddress else { return buffer }
        inParallel((coding.count + block - 1) / block) {
            coding.encode(base, $0 * block..<min(coding.count, ($0 + 1) * block), to: body)
        }
        return buffer
    }

    /// - Parameter digests: of the buffer's blocks, if known.
    private func broadcast(_ buffer: MessageBuffer, _ digests: [UInt64]?) -> Broadcast {
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        let hash = Digest64.combine(
            digests ?? inParallel(Digest64.blockCount(bytes.count)) { Digest64.hash(block: $0, of: bytes) })
        return Broadcast(message: ZMQMessage(sharing: buffer), hash: hash, reference: shared?.publish(buffer, update: update))
    }

    /// Runs independent parts.
    private func inParallel(_ count: Int, _ body: @escaping (Int) -> Void) {
        guard threads > 1 else {
            for index in 0..<count { body(index) }
            return
        }
        nonisolated(unsafe) let body = body
        DispatchQueue.concurrentPerform(iterations: count) { body($0) }
    }

    /// Runs independent parts, and returns their results.
    private func inParallel<Value>(_ count: Int, _ body: @escaping (Int) -> Value) -> [Value] {
        [Value](unsafeUninitializedCapacity: count) { values, initialized in
            nonisolated(unsafe) let base = values.baseAddress
            inParallel(count) { index in if let base { (base + index).initialize(to: body(index)) } }
            initialized = count
        }
    }

    /// What a worker sent for a node of the tree.
    package typealias ReceivedNode = (node: TreeNode, contribution: Contribution, payload: (any PayloadBytes)?)

    /// Why an update was not applied. In that case nothing has changed: parameters, moments, averages and figures are those of the previous
    /// version.
    package enum UpdateError: Error {
        /// A payload does not decode.
        case undecodable(WireError)
        /// A loss or the norm of the reduced gradient is not a finite number. `nodes`: those with such figures; empty if only the sum has
        /// one.
        case notFinite(nodes: [TreeNode])
    }

    /// Adds the received nodes along the tree and applies the optimizer.
    package func apply(_ nodes: [ReceivedNode]) throws(UpdateError) {
        var found: [TreeNode: TreeOperand<GradientView>] = [:]
        var copies: [MessageBuffer] = []
        for entry in nodes {
            guard let payload = entry.payload else {
                found[entry.node] = .absent
                continue
            }
            var data = payload.data
            if Int(bitPattern: data.baseAddress) % 8 != 0 {
                let copy = MessageBuffer(byteCount: data.count)
                copy.bytes.copyMemory(from: data)
                copies.append(copy)
                data = UnsafeRawBufferPointer(copy.bytes)
            }
            do throws(WireError) { found[entry.node] = .value(try coding.view(payload: data)) } catch { throw .undecodable(error) }
        }
        let tree = ReductionTree(lanes: settings.lanes)
        let gradient = UpdateGradient(GradientSum(coding, tree, tree.root) { found[$0] ?? .children }, memory: memory)
        let step = optimizer.begin(buffers, words: nodes.reduce(0) { $0 &+ $1.contribution.words })
        let squares: [[Double]] = inParallel(slices.count) { [self] slice in
            let range = slices[slice].range
            return gradient.first(range) { optimizer.squares(step, range, gradient: $0, state: buffers) }
        }
        var ofLayer = [[Double]](repeating: [], count: optimizer.layers.count)
        for (slice, squares) in zip(slices, squares) { ofLayer[slice.layer] += squares }
        let norms = ofLayer.map(optimizer.norm)
        // Before anything is written: otherwise the next checkpoints would hold values from which no smaller learning rate recovers.
        guard norms.allSatisfy(\.isFinite), nodes.allSatisfy({ $0.contribution.losses.allSatisfy { Double(bitPattern: $0).isFinite } })
        else { throw .notFinite(nodes: nodes.filter { !isFinite($0) }.map(\.node)) }
        let next = pool.next()
        shared?.withdraw(next)
        digests = nil
        if let base = next.bytes.assumingMemoryBound(to: Float.self).baseAddress {
            let bytes = next.bytes
            let hashes = inParallel(Digest64.blockCount(bytes.count)) { [self] in stepBlock($0, step, norms, gradient, bytes, base) }
            if parameterCoding.precision == .float32 { digests = hashes }
            optimizer.finish(step, buffers)
            buffers.adopt(parameters: base)
        }
        current = next
        withExtendedLifetime((nodes, copies)) {}
        count(nodes.map(\.contribution))
    }

    /// Floats that a step takes at a time: their gradient stays in a first-level cache.
    private static let stepLength = 4096

    /// Computes one block of the next version, and hashes it while it is in the cache.
    private func stepBlock(
        _ index: Int, _ step: AdamOptimizer.Step, _ norms: [Double], _ gradient: UpdateGradient, _ bytes: UnsafeMutableRawBufferPointer,
        _ next: UnsafeMutablePointer<Float>
    ) -> UInt64 {
        let length = Digest64.block / MemoryLayout<Float>.stride
        let block = index * length..<min(layout.count, (index + 1) * length)
        for (layer, range) in optimizer.layers.enumerated() where range.overlaps(block) {
            let own = range.clamped(to: block)
            for start in stride(from: own.lowerBound, to: own.upperBound, by: Self.stepLength) {
                let part = start..<min(start + Self.stepLength, own.upperBound)
                gradient.again(part) {
                    optimizer.apply(step, layer: layer, part, norm: norms[layer], gradient: $0, state: buffers, next: next)
                }
            }
        }
        return parameterCoding.precision == .float32 ? Digest64.hash(block: index, of: UnsafeRawBufferPointer(bytes)) : 0
    }

    private func isFinite(_ entry: ReceivedNode) -> Bool {
        entry.contribution.losses.allSatisfy { Double(bitPattern: $0).isFinite }
            && entry.payload.map { coding.isFinite(payload: $0.data) } ?? true
    }

    private func count(_ contributions: [Contribution]) {
        var lossOfUpdate = 0.0
        for contribution in contributions {
            for bits in contribution.losses { lossOfUpdate += Double(bitPattern: bits) }
            wordCount &+= contribution.words
            selectedCount &+= contribution.selected
            epochSelectedCount &+= contribution.selected
        }
        let selected = contributions.reduce(0) { $0 &+ $1.selected }
        if selected > 0 { lastLossPerWord = lossOfUpdate / Double(selected) }
        loss += lossOfUpdate
        epochLoss += lossOfUpdate
        update += 1
    }

    /// Loss per selected word of the last update.
    package private(set) var lastLossPerWord = 0.0

    /// Loss per selected word of the current epoch; before its first update, of the previous one.
    package var epochLossPerWord: Double {
        epochSelectedCount == 0 ? lastEpochLossPerWord ?? 0 : epochLoss / Double(epochSelectedCount)
    }
    /// nil before the end of an epoch.
    private var lastEpochLossPerWord: Double?

    /// Numbers the first update of a fresh run: `--epoch-start` epochs precede it, so that nothing is drawn twice.
    package func start(at update: UInt64) { self.update = update }

    /// A line of log.jsonl: spaCy's keys (2.3 `cli/pretrain.py`), and the epoch's loss per selected word.
    /// - Parameter more: keys that follow these, with JSON values.
    package func logLine(epoch: UInt64, more: [(key: String, value: String)] = []) -> String {
        let perWord = epochLossPerWord
        let rest = more.map { ",\"\($0.key)\":\($0.value)" }.joined()
        return "{\"nr_word\":\(wordCount),\"loss\":\(loss),\"epoch_loss\":\(epochLoss),\"epoch\":\(epoch),"
            + "\"loss_per_selected_word\":\(perWord)\(rest)}"
    }

    /// Called after an epoch's last update has been logged.
    package func endEpoch() {
        lastEpochLossPerWord = epochLossPerWord
        (epochLoss, epochSelectedCount) = (0, 0)
    }

    /// A copy of this version, for the helper thread.
    package func snapshot() -> Snapshot { Snapshot(self) }

    /// One version of everything, copied.
    package final class Snapshot: @unchecked Sendable {
        let layout: ParameterLayout
        let spec: ModelSpec
        package var state = CheckpointState()
        private let floats: UnsafeMutablePointer<Float>

        init(_ training: TrainingState) {
            layout = training.layout
            spec = training.spec
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
            if let last = training.lastEpochLossPerWord { state.extra[TrainingState.lastEpochKey] = "\(last)" }
        }

        deinit { floats.deallocate() }

        /// What saved files hold: the averages, or without averages the parameters; without the head.
        package func savedTensors() -> [NamedTensor] {
            layout.export(floats + (spec.optimizer.averages ? 3 : 0) * layout.count, part: .tok2vec)
        }

        /// `modelN.bin` of spaCy 2.
        package func modelFile() throws(InputError) -> [UInt8] {
            guard spec.weightsFile == .thinc7 else {
                throw InputError("the model's weights file is a template", at: "model", remedy: "report this as a bug")
            }
            return try ThincTok2Vec(tensors: savedTensors(), seeds: spec.tables.map(\.seed), place: "model").encoded()
        }

        package func checkpoint(configuration: String, tables: [NamedWords]) -> Checkpoint {
            var checkpoint = Checkpoint(spec: spec)
            checkpoint.parameters = layout.export(floats)
            checkpoint.moment1 = layout.export(floats + layout.count)
            checkpoint.moment2 = layout.export(floats + 2 * layout.count)
            checkpoint.averages = layout.export(floats + 3 * layout.count)
            checkpoint.tables = tables
            checkpoint.state = state
            checkpoint.configuration = configuration
            return checkpoint
        }
    }
}
