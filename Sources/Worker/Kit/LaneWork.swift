// One lane on this worker. In: mapped shards, parameters. Out: the lane's gradient for an update.
import Base
import Numerics
import Protocol
import Shards
import Synchronization
import Text
import Transport

/// The parameters of one round as received: the message's own bytes, or the coordinator's memory. Halves are converted to floats here.
final class ReceivedParameters: @unchecked Sendable {
    let round: Round
    let floats: UnsafePointer<Float>
    private let bytes: any PayloadBytes
    private let shared: (reference: SharedReference, memory: SharedMemory)?
    private let widened: UnsafeMutablePointer<Float>?

    /// - Parameter shared: where `bytes` are, if they are not in a message.
    /// - Returns: nil if the bytes are not parameters of this layout.
    init?(
        round: Round, bytes: any PayloadBytes, coding: ParameterCoding, shared: (reference: SharedReference, memory: SharedMemory)?
    ) {
        guard bytes.count == coding.byteCount, let base = bytes.data.baseAddress, Int(bitPattern: base) % 4 == 0 else { return nil }
        self.round = round
        self.bytes = bytes
        self.shared = shared
        guard coding.precision != .float32 else {
            widened = nil
            floats = base.assumingMemoryBound(to: Float.self)
            return
        }
        let room = UnsafeMutablePointer<Float>.allocate(capacity: coding.count)
        coding.decode(base, to: room)
        widened = room
        floats = UnsafePointer(room)
    }

    deinit { widened?.deallocate() }

    /// Whether they are unchanged: the coordinator reuses its memory long after their update is over.
    var areWhole: Bool {
        shared.map { SharedParameters.isWhole($0.reference, in: $0.memory, byteCount: bytes.count) } ?? true
    }
}

/// What a lane's job gave.
typealias LaneResult = WorkerStateMachine.LaneResult

/// An open lane. One job at a time holds it.
final class LaneWork: @unchecked Sendable {
    let lane: LaneID
    fileprivate let lock = ThreadLock()
    private let reader: LaneReader
    private let heldOut: [DocumentView]
    fileprivate let batch = MicroBatch()
    /// (epoch, update in it) of what `batch` holds.
    private var batchIs: (epoch: UInt64, update: UInt64)?
    private let words = Atomic<Int>(0)

    init(lane: LaneID, reader: LaneReader) {
        self.lane = lane
        self.reader = reader
        heldOut = reader.heldOut
    }

    /// Words of the micro-batch that was built last: the cost of the next gradient, if that was built ahead.
    var wordCount: Int { words.load(ordering: .relaxed) }

    /// Builds the micro-batch of an update, which does not depend on parameters. The caller holds the lock.
    fileprivate func build(epoch: UInt64, updateInEpoch: UInt64, update: UInt64, with builder: MicroBatchBuilder) {
        if let batchIs, batchIs == (epoch, updateInEpoch) { return }
        let documents = reader.documents(epoch: epoch, update: updateInEpoch)
        builder.build(documents, epoch: epoch, update: update, into: batch)
        batchIs = (epoch, updateInEpoch)
        words.store(batch.wordCount, ordering: .relaxed)
    }

    /// Scores the lane's held-out documents. The lane's gradient and micro-batch are not touched.
    func score(_ parameters: ReceivedParameters, _ evaluator: Evaluator) -> LaneResult? {
        let statistics = evaluator.score(heldOut, parameters: parameters.floats)
        return parameters.areWhole ? LaneResult(statistics) : nil
    }

    /// Builds the next update's micro-batch while parameters travel.
    func buildAhead(epoch: UInt64, updateInEpoch: UInt64, update: UInt64, _ builder: MicroBatchBuilder) {
        guard lock.tryLock() else { return }
        defer { lock.unlock() }
        build(epoch: epoch, updateInEpoch: updateInEpoch, update: update, with: builder)
    }
}

/// Lanes that one thread computes at once: all those below a node, or a single one.
struct LaneGroup {
    let node: TreeNode
    let tree: ReductionTree
    /// In their order.
    let lanes: [LaneWork]

    /// Computes the sum of the lanes' gradients on the calling thread; nil when the parameters are gone.
    /// - Parameters:
    ///   - sharesWeights: this worker computes other lanes of this update, too.
    ///   - gradient: is written if some token was selected.
    func compute(
        _ order: Order, _ parameters: ReceivedParameters, _ builder: MicroBatchBuilder, _ engine: GradientEngine, sharesWeights: Bool,
        into gradient: GradientBuffer
    ) -> [LaneResult]? {
        for lane in lanes { lane.lock.lock() }
        defer { for lane in lanes { lane.lock.unlock() } }
        for lane in lanes {
            lane.build(epoch: UInt64(order.epoch), updateInEpoch: order.updateInEpoch, update: order.update, with: builder)
        }
        let statistics = engine.gradient(
            of: lanes.map(\.batch), node: node, tree: tree, parameters: parameters.floats, version: sharesWeights ? order.update : nil,
            into: gradient)
        // A lane's own: several are not computed at once if gradients are rounded.
        gradient.round()
        return parameters.areWhole ? statistics.map(LaneResult.init) : nil
    }
}

extension WorkerStateMachine.LaneResult {
    init(_ statistics: ContributionStatistics) {
        self.init(
            selected: UInt64(statistics.selectedCount), words: UInt64(statistics.wordCount), loss: statistics.lossSum)
    }
}
