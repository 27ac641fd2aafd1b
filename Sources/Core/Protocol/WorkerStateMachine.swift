// The worker's decisions. In: messages, time, the shell's results. Out: effects for the shell. No clock, socket, file or tensor.
import Base

/// Work that may need blobs first.
package enum Job: Hashable, Sendable {
    case prepare(shard: ShardID)
    case plan
    case lane(LaneID)
}

/// A worker as a value: the same state machine runs in the program and in the simulation.
package struct WorkerStateMachine: Sendable {
    /// The result of a job or a computation belongs to the membership and the open lane for which it was started: the shell drops results
    /// of what was started before the last `.join`, and gradients of a lane that was closed since.
    package enum Event: Sendable {
        case tick
        case message(CoordinatorMessage, payload: Payload?)
        /// The description of the run was decoded: its number of lanes, and the bytes of its parameters as they are sent.
        case joined(lanes: Int, parameterBytes: UInt64)
        /// The worker cannot use the description.
        case cannotJoin(String)
        /// The shell checked a job: these blobs are missing here (none: it can be performed).
        case needs(Job, [Wanted])
        /// A shard is prepared: size and digest of its bytes.
        case prepared(shard: ShardID, size: UInt64, digest: ShardDigest)
        case prepareFailed(shard: ShardID, line: Int64, what: String, remedy: String)
        case planOpened(updatesPerEpoch: UInt64)
        case laneOpened(LaneID)
        /// A job failed for a reason of this host.
        case failed(Job, String)
        /// A chunk could not be written: the blob is given up, and so is every job that waits for it.
        case notStored(BlobID, String)
        /// Every piece of the round's parameters has arrived; their hash.
        case parametersCame(Round, hash: UInt64)
        case computed(Round, lane: LaneID, LaneResult)
        /// The user wants the worker to stop.
        case stopRequested
    }

    /// The counts and the loss of one lane's gradient, or of its evaluation.
    package struct LaneResult: Sendable, Equatable {
        package var selected: UInt64
        package var words: UInt64
        package var loss: Double

        package init(selected: UInt64, words: UInt64, loss: Double) {
            self.selected = selected
            self.words = words
            self.loss = loss
        }
    }

    package enum Effect: Sendable, Equatable {
        case send(WorkerMessage)
        /// Decode the description of the run; forget all lanes and jobs of the previous one.
        case join(run: UInt64, description: String)
        /// Report with `.needs` (or `.prepared`) what is missing for the job.
        case locate(Job, Ticket?)
        /// Write a chunk to its blob, or a piece to the parameters that are being fetched.
        case store(Chunk, BufferID)
        /// Everything that the job needs is here.
        case perform(Job)
        case closeLane(LaneID)
        /// The buffer holds the parameters of this round.
        case useParameters(Round, BufferID)
        /// The last piece is stored: report `.parametersCame`.
        case hashParameters(Round)
        /// The stored pieces are the parameters of this round.
        case useStoredParameters(Round)
        /// Compute the lane's gradient, or score its held-out documents, as the order's purpose says.
        case compute(Order, lane: LaneID)
        /// Training: send the sum of the lanes below the node; the shell fills in the hash. An evaluation is sent as it is.
        case contribute(Contribution)
        /// Results and queued work of earlier rounds can be dropped.
        case forget(before: Round)
        /// Send bytes of a prepared shard or of a gradient.
        case serve(FetchRequest)
        case release(BufferID)
        case log(String)
        /// The worker's part is over, for good or until the coordinator returns.
        case leave(reason: String, Departure)
    }

    package enum Departure: Sendable, Equatable { case refused, finished, paused, stopped }

    /// What the coordinator said about the blobs of a job.
    package enum Ticket: Sendable, Equatable {
        case shard(textBytes: UInt64, key: CacheKey)
        case plan(byteCount: UInt64)
    }

    private struct Work: Sendable {
        var order: Order
        var hasParameters: Bool
        var results: [LaneID: LaneResult] = [:]
        var started: Set<LaneID> = []
        var sent: Set<TreeNode> = []
    }

    package let hello: Hello
    let times: ProtocolTimes
    /// nil from an introduction until it is answered.
    private var run: UInt64?
    private var session: UInt32 = 0
    /// nil until the shell has decoded the description of the run.
    private var bounds: RunBounds?
    private var updatesPerEpoch: UInt64 = 0
    private var lastSent: Milliseconds = 0
    private var lastHello: Milliseconds?
    private var fetches = FetchQueue()
    /// Pieces of the current order's parameters. They may have to wait for other workers, which must not delay other blobs.
    private var pieces = FetchQueue(piece: WireLimits.piece)
    private var waiting: [Job: Set<BlobID>] = [:]
    private var tickets: [ShardID: Ticket] = [:]
    private var planBytes: UInt64?
    private var planOpen = false
    private(set) var leased: Set<LaneID> = []
    private var open: Set<LaneID> = []
    private var work: Work?
    /// An earlier update for which another worker's answers may have been first: this worker's answers are still compared.
    private var owed: Work?

    package init(hello: Hello, times: ProtocolTimes = ProtocolTimes()) {
        self.hello = hello
        self.times = times
    }

    /// Whether a coordinator has welcomed the worker.
    package var isMember: Bool { run != nil }

    package mutating func handle(_ event: Event, now: Milliseconds) -> [Effect] {
        var out: [Effect] = []
        switch event {
        case .tick: tick(now, &out)
        case .message(let message, let payload): receive(message, payload, now, &out)
        case .joined(let lanes, let parameterBytes):
            if run != nil { bounds = RunBounds(lanes: lanes, textBytes: [], parameterBytes: parameterBytes) }
        case .cannotJoin(let reason): out.append(.leave(reason: reason, .refused))
        case .stopRequested: out += [.send(.leaving), .leave(reason: "stopped by a signal", .stopped)]
        case .needs(let job, let wanted): need(job, wanted, now, &out)
        case .notStored(let blob, let what): giveUp(blob, what, &out)
        case .prepared(let shard, let size, let digest):
            waiting[.prepare(shard: shard)] = nil
            out.append(.send(.prepared(shard: shard, size: size, digest: digest)))
        case .prepareFailed(let shard, let line, let what, let remedy):
            waiting[.prepare(shard: shard)] = nil
            out.append(.send(.prepareFailed(shard: shard, line: line, what: what, remedy: remedy)))
        case .planOpened(let updatesPerEpoch):
            planOpen = true
            self.updatesPerEpoch = updatesPerEpoch
            waiting[.plan] = nil
            for lane in leased.ascending() where !open.contains(lane) { begin(.lane(lane), &out) }
        case .laneOpened(let lane):
            waiting[.lane(lane)] = nil
            guard leased.contains(lane) else {
                out.append(.closeLane(lane))
                break
            }
            open.insert(lane)
            out.append(.send(.laneReady(lane)))
            startLanes(&out)
        case .failed(let job, let what): fail(job, what, &out)
        case .parametersCame(let round, let hash): takeParameters(round, hash, now, &out)
        case .computed(let round, let lane, let result):
            if owed?.order.round == round {
                answerLate(lane, result, &out)
            } else if work?.order.round == round, work?.results[lane] == nil {
                work?.results[lane] = result
                contribute(&out)
            }
        }
        if out.contains(where: { if case .send = $0 { true } else if case .contribute = $0 { true } else { false } }) { lastSent = now }
        return out
    }

    private mutating func tick(_ now: Milliseconds, _ out: inout [Effect]) {
        guard run != nil else {
            introduce(now, &out)
            return
        }
        pump(now, &out)
        if now >= lastSent + times.alive { out.append(.send(.alive)) }
    }

    /// Sends hello, but not too often. Everything known about the run is void from here on.
    private mutating func introduce(_ now: Milliseconds, _ out: inout [Effect]) {
        if run != nil || lastHello == nil {
            session &+= 1
        } else if let lastHello, now < lastHello + times.alive {
            return
        }
        run = nil
        lastHello = now
        var hello = hello
        hello.session = session
        out.append(.send(.hello(hello)))
    }

    private mutating func pump(_ now: Milliseconds, _ out: inout [Effect]) {
        for request in fetches.pump(now: now, retry: times.chunk) { out.append(.send(.fetch(request))) }
        for request in pieces.pump(now: now, retry: times.chunk) { out.append(.send(.fetch(request))) }
    }

    private mutating func receive(_ message: CoordinatorMessage, _ payload: Payload?, _ now: Milliseconds, _ out: inout [Effect]) {
        var kept = false
        switch message {
        case .welcome(let run, let session, let description):
            // A repeated answer, or one to an older introduction, changes nothing.
            if self.run == nil, session == self.session { join(run, description, &out) }
        case .refuse(let reason): out.append(.leave(reason: reason, .refused))
        case .sayHello: introduce(now, &out)
        case .finish(let reason, let final):
            if run != nil { session &+= 1 }
            run = nil
            lastHello = now
            out.append(.leave(reason: reason, final ? .finished : .paused))
        case .probe: break
        case _ where run == nil: break
        // The coordinator has restarted: the order belongs to another run, with other sizes.
        case .begin(let order) where order.run != run: introduce(now, &out)
        default:
            // No message of the run is acted on before its sizes are known.
            guard let bounds else { break }
            if let objection = bounds.objection(to: message, payload) {
                out.append(.log("refused from the coordinator: \(objection)"))
            } else {
                kept = act(on: message, payload, now, &out)
            }
        }
        if let payload, !kept { out.append(.release(payload.buffer)) }
    }

    /// Acts on a message that an honest coordinator of this run can send. - Returns: whether the payload was kept.
    private mutating func act(on message: CoordinatorMessage, _ payload: Payload?, _ now: Milliseconds, _ out: inout [Effect]) -> Bool {
        switch message {
        case .welcome, .refuse, .sayHello, .finish, .probe: break
        case .prepare(let shard, let textBytes, let key):
            // Even if it was prepared before: only the shell knows whether the file still exists.
            tickets[shard] = .shard(textBytes: textBytes, key: key)
            begin(.prepare(shard: shard), &out)
        case .fetch(let request): out.append(.serve(request))
        case .lease(let lane, let planBytes): lease(lane, planBytes, &out)
        case .withdraw(let lane):
            leased.remove(lane)
            // Its gradient is dropped too; if the lane is leased again, it is computed only when it is ordered again.
            work?.order.lanes.removeAll { $0 == lane }
            owed?.order.leaves.removeAll { $0 == lane }
            work?.started.remove(lane)
            work?.results[lane] = nil
            if open.remove(lane) != nil { out.append(.closeLane(lane)) }
        case .begin(let order): return take(order, payload, now, &out)
        case .chunk(let chunk): return take(chunk, payload, now, &out)
        }
        return false
    }

    private mutating func join(_ run: UInt64, _ description: String, _ out: inout [Effect]) {
        self.run = run
        fetches = FetchQueue()
        pieces = FetchQueue(piece: WireLimits.piece)
        waiting = [:]
        tickets = [:]
        bounds = nil
        planBytes = nil
        planOpen = false
        leased = []
        open = []
        work = nil
        owed = nil
        out.append(.join(run: run, description: description))
    }

    private mutating func begin(_ job: Job, _ out: inout [Effect]) {
        guard waiting[job] == nil else { return }
        waiting[job] = []
        let ticket: Ticket? =
            switch job {
            case .prepare(let shard): tickets[shard]
            case .plan: planBytes.map { .plan(byteCount: $0) }
            case .lane: nil
            }
        out.append(.locate(job, ticket))
    }

    private mutating func fail(_ job: Job, _ what: String, _ out: inout [Effect]) {
        waiting[job] = nil
        if case .lane(let lane) = job { leased.remove(lane) }
        out.append(.send(.trouble(what)))
    }

    /// A blob with a hole is useless: no more of its chunks are accepted, and jobs that wait for it fail.
    private mutating func giveUp(_ blob: BlobID, _ what: String, _ out: inout [Effect]) {
        fetches.remove(blob)
        for job in waiting.keys.ascending() where waiting[job]?.contains(blob) == true { fail(job, what, &out) }
    }

    private mutating func need(_ job: Job, _ wanted: [Wanted], _ now: Milliseconds, _ out: inout [Effect]) {
        guard waiting[job] != nil else { return }
        let missing = wanted.filter { $0.total > 0 }
        guard !missing.isEmpty else {
            out.append(.perform(job))
            return
        }
        waiting[job] = Set(missing.map(\.blob))
        for blob in missing { fetches.add(blob) }
        pump(now, &out)
    }

    private mutating func take(_ chunk: Chunk, _ payload: Payload?, _ now: Milliseconds, _ out: inout [Effect]) -> Bool {
        guard let payload else { return false }
        if case .parameters = chunk.blob { return takePiece(chunk, payload, now, &out) }
        let receipt = fetches.receive(chunk, count: payload.count)
        guard receipt != .unexpected else { return false }
        out.append(.store(chunk, payload.buffer))
        if receipt == .finished {
            for job in waiting.keys.ascending() where waiting[job]?.remove(chunk.blob) != nil && waiting[job] == [] {
                out.append(.perform(job))
            }
        }
        pump(now, &out)
        return true
    }

    private mutating func lease(_ lane: LaneID, _ planBytes: UInt64, _ out: inout [Effect]) {
        leased.insert(lane)
        self.planBytes = planBytes
        if open.contains(lane) {
            out.append(.send(.laneReady(lane)))
        } else if planOpen {
            begin(.lane(lane), &out)
        } else {
            begin(.plan, &out)
        }
    }

    /// - Returns: whether the payload was kept.
    private mutating func take(_ order: Order, _ payload: Payload?, _ now: Milliseconds, _ out: inout [Effect]) -> Bool {
        if let work, order.round < work.order.round { return false }
        guard planOpen || planBytes != nil else {
            // An order without a lease: the two sides disagree about this worker. It introduces itself again.
            introduce(now, &out)
            return false
        }
        if work?.order.round != order.round {
            if let old = work, old.order.leaves.contains(where: { old.started.contains($0) && old.results[$0] == nil }) { owed = old }
            work = Work(order: order, hasParameters: false)
            out.append(.forget(before: order.round))
        } else if let old = work, order.roster >= old.order.roster {
            work?.order = order
            // A repeated order: something that was sent has not arrived. A changed order: only the new nodes are missing.
            if order.lanes == old.order.lanes, order.leaves == old.order.leaves { work?.sent = [] }
        }
        var kept = false
        if work?.hasParameters == false {
            if let payload {
                guard payload.hash == order.parameterHash else {
                    out.append(.log("parameters of update \(order.update) arrived damaged; asking for them again"))
                    fetchParameters(order.round, now, &out)
                    return false
                }
                work?.hasParameters = true
                pieces = FetchQueue(piece: WireLimits.piece)
                out.append(.useParameters(order.round, payload.buffer))
                kept = true
            } else {
                fetchParameters(order.round, now, &out)
            }
        }
        for lane in order.lanes where !leased.contains(lane) {
            leased.insert(lane)
            if planOpen { begin(.lane(lane), &out) }
        }
        startLanes(&out)
        contribute(&out)
        return kept
    }

    /// Requests the parameters of a round, piece by piece; those of another round are no longer of use.
    private mutating func fetchParameters(_ round: Round, _ now: Milliseconds, _ out: inout [Effect]) {
        if !pieces.contains(round.blob) { pieces = FetchQueue(piece: WireLimits.piece) }
        pieces.add(Wanted(blob: round.blob, total: bounds?.parameterBytes ?? 0))
        pump(now, &out)
    }

    private mutating func takePiece(_ chunk: Chunk, _ payload: Payload, _ now: Milliseconds, _ out: inout [Effect]) -> Bool {
        guard let current = work, !current.hasParameters, current.order.round.blob == chunk.blob else { return false }
        let receipt = pieces.receive(chunk, count: payload.count)
        guard receipt != .unexpected else { return false }
        out.append(.store(chunk, payload.buffer))
        if receipt == .finished { out.append(.hashParameters(current.order.round)) }
        pump(now, &out)
        return true
    }

    private mutating func takeParameters(_ round: Round, _ hash: UInt64, _ now: Milliseconds, _ out: inout [Effect]) {
        guard let current = work, current.order.round == round, !current.hasParameters else { return }
        guard hash == current.order.parameterHash else {
            out.append(.log("parameters of update \(round.update) arrived damaged; asking for them again"))
            return fetchParameters(round, now, &out)
        }
        work?.hasParameters = true
        pieces = FetchQueue(piece: WireLimits.piece)
        out += [.useStoredParameters(round), .send(.taken(round.number))]
        startLanes(&out)
    }

    private mutating func startLanes(_ out: inout [Effect]) {
        guard let current = work, current.hasParameters else { return }
        guard !planOpen || RunBounds.isConsistent(current.order, updatesPerEpoch: updatesPerEpoch) else {
            work = nil
            out.append(.log("refused from the coordinator: an order for update \(current.order.update) in the wrong epoch"))
            return
        }
        for lane in current.order.lanes where open.contains(lane) && !current.started.contains(lane) {
            work?.started.insert(lane)
            out.append(.compute(current.order, lane: lane))
        }
    }

    /// A lane that two workers hold was computed after its update was over.
    private mutating func answerLate(_ lane: LaneID, _ result: LaneResult, _ out: inout [Effect]) {
        guard let order = owed?.order, order.leaves.contains(lane), work?.started.contains(lane) != true else { return }
        owed?.order.leaves.removeAll { $0 == lane }
        out.append(
            .contribute(
                Contribution(
                    run: order.run, roster: order.roster, update: order.update, purpose: order.purpose,
                    parameterHash: order.parameterHash, node: TreeNode(lane: lane), selected: result.selected, words: result.words,
                    losses: [result.loss], hash: 0)))
    }

    /// Sends each node whose lanes are all computed: a leaf if another worker also holds the lane, otherwise the largest nodes.
    private mutating func contribute(_ out: inout [Effect]) {
        guard let current = work, let tree = bounds?.tree else { return }
        let leaves = Set(current.order.leaves)
        let joined = current.order.lanes.filter { !leaves.contains($0) && $0.rawValue < tree.lanes }
        let nodes = tree.maximalNodes(covering: joined) + leaves.ascending().map { TreeNode(lane: $0) }
        for node in nodes where tree.contains(node) && !current.sent.contains(node) {
            let results = tree.lanes(below: node).map { current.results[$0] }
            guard results.allSatisfy({ $0 != nil }) else { continue }
            let done = results.compactMap { $0 }
            work?.sent.insert(node)
            out.append(
                .contribute(
                    Contribution(
                        run: current.order.run, roster: current.order.roster, update: current.order.update,
                        purpose: current.order.purpose, parameterHash: current.order.parameterHash, node: node,
                        selected: done.reduce(0) { $0 + $1.selected },
                        words: done.reduce(0) { $0 + $1.words }, losses: done.map(\.loss), hash: 0)))
        }
    }
}

extension Job: Comparable {
    /// A fixed order, so that effects do not depend on the order of a hash table.
    package static func < (_ a: Job, _ b: Job) -> Bool {
        func rank(_ job: Job) -> (Int, Int) {
            switch job {
            case .plan: (0, 0)
            case .prepare(let shard): (1, shard.rawValue)
            case .lane(let lane): (2, lane.rawValue)
            }
        }
        return rank(a) < rank(b)
    }
}
