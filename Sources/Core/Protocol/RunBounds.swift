// What an honest peer can send in this run. In: decoded messages. Out: an objection, or nothing, before a state machine uses any value.
import Base

/// The sizes of a run, against which every value of a message is checked. No value that passes can overflow or be outside an array.
package struct RunBounds: Sendable, Equatable {
    /// The largest number of threads that a worker's command line allows.
    package static let maximumThreads = 1_024
    /// The number of an update is below this: arithmetic does not overflow, and JSON represents it exactly.
    static let maximumUpdates: UInt64 = 1 << 53

    let tree: ReductionTree
    /// Bytes of each shard's text.
    let textBytes: Numbered<ShardID, UInt64>
    /// Kept words of each lane; nil before the plan is made.
    var laneWords: Numbered<LaneID, UInt64>?
    /// Words of each lane's held-out documents; nil before the plan is made.
    var heldOutWords: Numbered<LaneID, UInt64>?
    /// Bytes of the parameters as they are sent.
    let parameterBytes: UInt64
    /// The largest number of bytes of a gradient as it is sent.
    let gradientBytes: UInt64

    package init(
        lanes: Int, textBytes: [UInt64], laneWords: [UInt64]? = nil, parameterBytes: UInt64 = 0, gradientBytes: UInt64 = 0
    ) {
        (self.parameterBytes, self.gradientBytes) = (parameterBytes, gradientBytes)
        tree = ReductionTree(lanes: lanes)
        self.textBytes = Numbered(textBytes)
        self.laneWords = laneWords.map { Numbered($0) }
    }

    /// No text gives a longer prepared shard: a distinct word (its columns, vector rows and bytes) and a token (4) need at least a byte of
    /// text, a document (8) several.
    package static func mostPreparedBytes(_ textBytes: UInt64) -> UInt64 { min(textBytes, 1 << 40) * 1_024 + 4_096 }

    /// Why the introduction is not valid, or nil.
    static func objection(to hello: Hello) -> String? {
        (1...UInt16(maximumThreads)).contains(hello.threads) ? nil : "a hello with \(hello.threads) threads"
    }

    // MARK: A worker's messages

    /// What no honest worker of this run could have sent; nil for everything else.
    func objection(to message: WorkerMessage, _ payload: Payload?) -> String? {
        switch message {
        case .chunk(let chunk): return objection(to: chunk, payload)
        case .contribution(let contribution): return objection(to: contribution, payload)
        case _ where payload != nil: return "a payload where none belongs"
        case .hello(let hello): return Self.objection(to: hello)
        case .prepared(let shard, let size, _):
            guard let text = textBytes(of: shard) else { return "a message about shard \(shard) of \(textBytes.count)" }
            guard size > 0, size <= Self.mostPreparedBytes(text) else { return "a prepared shard of \(size) bytes from \(text) of text" }
        case .prepareFailed(let shard, let line, _, _):
            guard let text = textBytes(of: shard) else { return "a message about shard \(shard) of \(textBytes.count)" }
            // A line has at least a line end.
            guard line >= -1, line < Int64(clamping: text) else { return "a fault in line \(line) of a text of \(text) bytes" }
        case .laneReady(let lane): if lane.rawValue >= tree.lanes { return "a message about lane \(lane) of \(tree.lanes)" }
        case .fetch(let request):
            // The shell checks other blobs.
            guard case .parameters = request.blob else { break }
            let piece = UInt64(WireLimits.piece)
            guard request.rows.isEmpty, request.offset < parameterBytes, request.offset % piece == 0,
                UInt64(request.length) == min(piece, parameterBytes - request.offset)
            else { return "a request for bytes from \(request.offset) of parameters, which have \(parameterBytes)" }
        case .alive, .trouble, .leaving, .taken: break
        }
        return nil
    }

    private func textBytes(of shard: ShardID) -> UInt64? { shard < textBytes.endIndex ? textBytes[shard] : nil }

    private func objection(to chunk: Chunk, _ payload: Payload?) -> String? {
        switch chunk.blob {
        case .prepared(let shard) where textBytes(of: shard) != nil: break
        case .gradient where chunk.total <= gradientBytes: break
        default: return "a chunk of something that was not requested"
        }
        return Self.objection(to: chunk, payload)
    }

    /// A chunk is within its blob and no longer than the longest request.
    static func objection(to chunk: Chunk, _ payload: Payload?) -> String? {
        guard let payload, payload.count > 0, payload.count <= WireLimits.chunk else { return "a chunk of an impossible length" }
        guard chunk.offset <= chunk.total, UInt64(payload.count) <= chunk.total - chunk.offset else { return "a chunk beyond its blob" }
        return nil
    }

    private func objection(to c: Contribution, _ payload: Payload?) -> String? {
        guard tree.contains(c.node) else { return "a contribution for a node that is not in the tree" }
        let lanes = tree.lanes(below: c.node)
        guard c.losses.count == lanes.count else { return "a contribution with \(c.losses.count) losses for \(lanes.count) lanes" }
        let gradients = (payload == nil ? 0 : 1) + (c.byteCount == 0 ? 0 : 1)
        guard gradients == (c.selected == 0 || c.purpose == .evaluate ? 0 : 1) else {
            return "a contribution of \(c.selected) words with \(gradients) gradients"
        }
        guard c.byteCount <= gradientBytes else { return "a gradient of \(c.byteCount) bytes, where it has at most \(gradientBytes)" }
        guard c.selected <= c.words else { return "a contribution of \(c.selected) of \(c.words) words" }
        guard let perLane = c.purpose == .train ? laneWords : heldOutWords else { return nil }
        // No lane has more words in an update than in an epoch.
        let most = perLane[lanes].reduce(UInt64(0)) { $0.addingSaturated($1) }
        return c.words <= most ? nil : "a contribution of \(c.words) words from lanes of \(most)"
    }

    // MARK: A coordinator's messages

    /// What no honest coordinator of this run could have sent. A worker does not know `textBytes` and `laneWords`.
    func objection(to message: CoordinatorMessage, _ payload: Payload?) -> String? {
        switch message {
        case .chunk(let chunk): return Self.objection(to: chunk, payload)
        case .begin(let order): return objection(to: order, payload)
        case _ where payload != nil: return "a payload where none belongs"
        case .prepare(_, let textBytes, _):
            if textBytes == 0 || textBytes > WireLimits.shardText { return "a shard of \(textBytes) bytes of text" }
        case .fetch(let request):
            guard request.rows.isEmpty else { return "a request for what workers do not have" }
            switch request.blob {
            case .prepared, .gradient: break
            default: return "a request for what workers do not have"
            }
        case .lease(let lane, let planBytes):
            if lane.rawValue >= tree.lanes { return "a lease of lane \(lane) of \(tree.lanes)" }
            if planBytes > WireLimits.plan { return "a plan of \(planBytes) bytes" }
        case .withdraw(let lane): if lane.rawValue >= tree.lanes { return "a withdrawal of lane \(lane) of \(tree.lanes)" }
        case .welcome, .refuse, .sayHello, .finish, .probe: break
        }
        return nil
    }

    private func objection(to order: Order, _ payload: Payload?) -> String? {
        if let fault = payload?.fault { return "malformed parameters: \(fault)" }
        let lanes = Set(order.lanes)
        guard lanes.count == order.lanes.count, lanes.allSatisfy({ $0.rawValue < tree.lanes }) else {
            return "an order for lanes that do not exist"
        }
        guard Set(order.leaves).count == order.leaves.count, lanes.isSuperset(of: order.leaves) else {
            return "an order for leaves that are not among its lanes"
        }
        guard order.update < Self.maximumUpdates, order.updateInEpoch <= order.update else { return "an order for update \(order.update)" }
        return nil
    }

    /// Whether the order's place in its epoch is that of its update.
    static func isConsistent(_ order: Order, updatesPerEpoch: UInt64) -> Bool {
        guard updatesPerEpoch > 0 else { return false }
        return (UInt64(order.epoch), order.updateInEpoch) == (order.update / updatesPerEpoch, order.update % updatesPerEpoch)
    }
}

extension UInt64 {
    /// The sum, or the largest number if it does not fit.
    func addingSaturated(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
