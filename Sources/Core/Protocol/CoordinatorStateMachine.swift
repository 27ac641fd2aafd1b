// The coordinator's decisions. In: messages, lost peers, time, the shell's results. Out: effects. No clock, socket, file or tensor.
//
// The other parts of this state machine: +Peers (members), +Preparing (shards to workers and back), +Leases (which worker computes which
// lane), +Updates (orders, contributions, the reduction's cover), +Gradients (gradients that arrive in pieces).
import Base

/// The coordinator as a value: the same state machine runs in the program and in the simulation.
package struct CoordinatorStateMachine: Sendable {
    /// What the state machine needs to know about a run.
    package struct Setup: Sendable {
        package var run: UInt64
        /// JSON text of the run's description.
        package var description: String
        package var lanes: Int
        /// Bytes of the parameters as they are sent.
        package var parameterBytes: UInt64
        /// The largest number of bytes of a gradient as it is sent.
        package var gradientBytes: UInt64
        /// Text bytes and cache key of every shard.
        package var shards: Numbered<ShardID, (textBytes: UInt64, key: CacheKey)>
        package var minimumWorkers: Int
        package var program: String
        package var arithmetic: Arithmetic
        /// BLAS core, and fingerprint for the run's arithmetic, of the host that started the run; a worker that differs gives other bits.
        package var blas: String
        package var fingerprint: UInt64
        package var strictBits: Bool
        package var times = ProtocolTimes()

        package init(
            run: UInt64, description: String, lanes: Int, parameterBytes: UInt64, gradientBytes: UInt64,
            shards: [(textBytes: UInt64, key: CacheKey)], minimumWorkers: Int = 1, program: String, arithmetic: Arithmetic,
            blas: String, fingerprint: UInt64, strictBits: Bool = false
        ) {
            self.run = run
            self.description = description
            self.lanes = lanes
            (self.parameterBytes, self.gradientBytes) = (parameterBytes, gradientBytes)
            self.shards = Numbered(shards)
            self.minimumWorkers = minimumWorkers
            self.program = program
            self.arithmetic = arithmetic
            self.blas = blas
            self.fingerprint = fingerprint
            self.strictBits = strictBits
        }
    }

    package enum Event: Sendable {
        case tick
        case message(PeerID, WorkerMessage, payload: Payload?)
        case peerLost(PeerID, reason: String)
        /// The prepared shard is in the coordinator's cache.
        case shardStored(ShardID)
        /// It is not in the cache; the worker that announced it must send it.
        case shardAbsent(ShardID, PeerID)
        /// All of its chunks arrived from this worker, and they are not what it had announced.
        case shardDamaged(ShardID, PeerID)
        /// It could not be written here, which is not the worker's fault.
        case shardNotStored(ShardID, PeerID)
        /// All pieces of a gradient arrived from this worker. The payload is the whole gradient.
        case gradientCame(PeerID, number: UInt32, Payload)
        /// The text of the shard is indeed at fault.
        case faultConfirmed(shard: ShardID, line: Int64, what: String, remedy: String)
        /// The peer sent what no honest worker could have sent; for cases that only the shell can detect.
        case misbehaved(PeerID, String)
        /// The plan is made. Updates are counted over the whole run; `first` is the next one to do. `laneWords`: each lane's words for
        /// training; `heldOutWords`: its held-out words. `evaluation`: hash of the parameters to score before the first update, if any.
        case planned(
            planBytes: UInt64, updatesPerEpoch: UInt64, laneWords: [UInt64], heldOutWords: [UInt64], first: UInt64, end: UInt64,
            parameterHash: UInt64, evaluation: UInt64?)
        /// The open update is applied; the hash of the new parameters. `evaluation`: hash of the parameters to score now, if any.
        case stepped(parameterHash: UInt64, evaluation: UInt64?)
        /// The evaluation is judged. `goesOn`: false if it ends the run.
        case judged(goesOn: Bool)
        case stopRequested
    }

    package enum Effect: Sendable, Equatable {
        case send(PeerID, CoordinatorMessage)
        /// An order: the first of a round, with the parameters if they are short or in shared memory, or a later one without them.
        case order(PeerID, Order, withParameters: Bool)
        /// Send bytes of a blob, or of the parameters of the open round.
        case serve(PeerID, FetchRequest)
        /// Report whether the shard is in the cache.
        case locate(shard: ShardID, PeerID)
        /// Prepare to receive a shard from this worker.
        case expect(shard: ShardID, PeerID, size: UInt64, digest: ShardDigest)
        /// Prepare to receive a gradient from this worker.
        case expectGradient(PeerID, number: UInt32, byteCount: UInt64)
        /// This gradient is no longer wanted.
        case forgetGradient(PeerID, number: UInt32)
        /// Write a chunk of a prepared shard; after the last, check the digest and report `.shardStored` or `.shardDamaged`. Or copy a
        /// piece of a gradient; after the last, report `.gradientCame`.
        case store(PeerID, Chunk, BufferID, last: Bool)
        case makePlan
        /// Add these nodes along the tree, apply the update, report `.stepped`. Then release the buffers.
        case step(update: UInt64, [Received])
        /// Add the losses in the tree's order, judge them, report `.judged`.
        case judge(update: UInt64, [Received])
        case release(BufferID)
        /// Forget the connection.
        case drop(PeerID)
        case log(LogLevel, String)
        /// For the record of the run: nothing depends on it.
        case notice(Notice)
        /// A worker says that the text of this shard is at fault. Check, and report `.faultConfirmed` or `.misbehaved`.
        case confirmFault(PeerID, shard: ShardID, line: Int64)
        /// The input is at fault: the run ends with exit status 2.
        case fail(shard: ShardID, line: Int64, what: String, remedy: String)
        /// Save a checkpoint of the last complete version and exit.
        case stop
        /// Every update is done.
        case complete
        /// An evaluation has ended the run.
        case endEarly
    }

    package enum LogLevel: Sendable, Equatable { case info, warning, error }

    /// A worker joined or left; `workers` is the number of workers after that. `worker` numbers them in order of arrival.
    package enum Notice: Sendable, Equatable {
        case joined(worker: Int, host: String, threads: Int, workers: Int)
        case left(worker: Int, host: String, reason: String, workers: Int)
    }

    /// A contribution that was accepted; nil buffer: nothing was selected in its lanes, or it belongs to an evaluation.
    package struct Received: Sendable, Equatable {
        package var node: TreeNode
        package var contribution: Contribution
        package var buffer: BufferID?
        package var peer: PeerID
    }

    enum Phase: Sendable, Equatable { case preparing, planning, training, stepping, judging, ended }

    struct Peer: Sendable {
        var hello: Hello
        /// Order of arrival.
        var number: Int
        var lastHeard: Milliseconds
        var lastServed: Milliseconds = 0
        var fetches = FetchQueue()
        var gradients = FetchQueue(piece: WireLimits.piece)
        var preparing: [ShardID: Milliseconds] = [:]
        var standing = Standing.good
        /// Suspensions and quarantines in close succession: each is twice as long as the one before.
        var incidents: UInt64 = 0
        /// When it last requested a chunk or answered a lease, and so made progress.
        var lastProgress: Milliseconds = 0
        /// Parameters took too long to reach it: others come first.
        var takesSlowly = false
        /// Size and digest of the prepared shards that it has announced.
        var announced: [ShardID: (size: UInt64, digest: ShardDigest)] = [:]
        var name: String { "worker \(number) (\(hello.host), pid \(hello.processID))" }
    }

    struct Holder: Sendable, Equatable {
        var peer: PeerID
        var ready: Bool
        var since: Milliseconds
        var reminded: Milliseconds

        init(peer: PeerID, now: Milliseconds) {
            (self.peer, ready, since, reminded) = (peer, false, now, now)
        }
    }

    /// The holders of a lane: the active one; an incoming one that takes over when it is ready; a backup if the active one is late.
    struct Lane: Sendable, Equatable {
        var active: Holder?
        var incoming: Holder?
        var backup: Holder?
        /// Lost the race for the lane and still owes its answer, which is only compared.
        var leaving: Leaving?
        var holders: [Holder] { [active, incoming, backup].compactMap { $0 } }
    }

    struct Leaving: Sendable, Equatable {
        var peer: PeerID
        var round: Round
        var parameterHash: UInt64
        /// The evidence of the contribution that counted.
        var hash: UInt64
        var winner: PeerID
        var deadline: Milliseconds
    }

    /// The update or evaluation in progress.
    struct OpenUpdate: Sendable {
        var round: Round
        var parameterHash: UInt64
        var received: [TreeNode: Received] = [:]
        /// Lanes below the nodes that were received.
        var covered: LaneSet
        /// Which peers have answered for a node: two may hold a lane.
        var answered: [TreeNode: Set<PeerID>] = [:]
        var orders: [PeerID: PeerOrder] = [:]
        var delivery = ParameterDelivery()
        /// Contributions whose gradients are being fetched.
        var arriving: [PeerID: [TreeNode: Contribution]] = [:]
        var number: UInt64 { round.update }
    }

    struct PeerOrder: Sendable {
        var lanes: Set<LaneID>
        var leaves: Set<LaneID>
        var begun: Milliseconds
        var isDone = false
        var reminded: Milliseconds
        var reminders = 0
        var parametersSent = false

        init(now: Milliseconds) { (lanes, leaves, begun, reminded) = ([], [], now, now) }
    }

    /// The usual time is taken from this many of the last times from an order to its answer.
    static let latencyWindow = 31
    /// The number of updates whose hashes are kept for late second answers.
    static let historyLength: UInt64 = 8

    let setup: Setup
    let tree: ReductionTree
    var bounds: RunBounds
    var phase = Phase.preparing
    var peers: [PeerID: Peer] = [:]
    var peersSeen = 0
    var unprepared: Set<ShardID>
    var lanes: Numbered<LaneID, Lane>
    var roster: UInt32 = 0
    var open: OpenUpdate?
    var planBytes: UInt64 = 0
    var updatesPerEpoch: UInt64 = 1
    var nextUpdate: UInt64 = 0
    var endUpdate: UInt64 = 0
    var parameterHash: UInt64 = 0
    /// Hash of the parameters to score before the next update.
    var evaluation: UInt64?
    /// Times from an order to its last answer, newest last.
    var latencies: [Purpose: [Milliseconds]] = [:]
    /// Evidence of the nodes of recent rounds, for late second answers.
    var history: [Round: (parameterHash: UInt64, nodes: [TreeNode: (hash: UInt64, peer: PeerID)])] = [:]
    var startedTraining = false
    var wait = Wait(begun: 0)
    private var lastTick: Milliseconds?
    var saidWaiting = false
    var stopDeadline: Milliseconds?
    var stopping = false
    package internal(set) var counters = Counters()

    /// Numbers for metrics and tests.
    package struct Counters: Sendable, Equatable {
        package var refusals: UInt64 = 0
        package var leasesMoved: UInt64 = 0
        package var doubleLeases: UInt64 = 0
        package var duplicates: UInt64 = 0
        package var mismatches: UInt64 = 0
        package var updates: UInt64 = 0
        package var evaluations: UInt64 = 0
    }

    package init(_ setup: Setup, prepared: Set<ShardID> = []) {
        self.setup = setup
        tree = ReductionTree(lanes: setup.lanes)
        bounds = RunBounds(
            lanes: setup.lanes, textBytes: setup.shards.map(\.textBytes), parameterBytes: setup.parameterBytes,
            gradientBytes: setup.gradientBytes)
        unprepared = Set(setup.shards.indices).subtracting(prepared)
        lanes = Numbered(repeatElement(Lane(), count: setup.lanes))
    }

    /// A worker's name in messages for the user.
    package func name(of peer: PeerID) -> String { peers[peer]?.name ?? "a worker that has left" }
    /// Workers that have been greeted.
    package var workerCount: Int { peers.count }
    /// The current workers, as if they had joined one after the other.
    package var present: [Notice] {
        peers.values.ascending(\.number).enumerated().map { index, peer in
            .joined(worker: peer.number, host: peer.hello.host, threads: Int(peer.hello.threads), workers: index + 1)
        }
    }
    /// Shards that are not prepared yet.
    package var unpreparedCount: Int { unprepared.count }
    /// The number of lanes that each greeted worker holds, in order of arrival: for the display.
    package var loads: [(name: String, lanes: Int)] {
        peers.ascending(\.value.number).map { id, peer in
            (peer.name, lanes.filter { $0.active?.peer == id }.count)
        }
    }

    package mutating func handle(_ event: Event, now: Milliseconds) -> [Effect] {
        var out: [Effect] = []
        switch event {
        case .tick: tick(now, &out)
        case .message(let peer, let message, let payload): receive(peer, message, payload, now, &out)
        case .peerLost(let peer, let reason): lose(peer, reason, now, &out)
        case .shardStored(let shard): stored(shard, now, &out)
        case .shardAbsent(let shard, let peer): pull(shard, peer, now, &out)
        case .shardDamaged(let shard, let peer):
            quarantine(peer, "prepared shard \(shard) is not what it had announced", now, &out)
        case .shardNotStored(let shard, let peer): peers[peer]?.fetches.remove(.prepared(shard))
        case .gradientCame(let peer, let number, let payload): take(payload, ofGradient: number, from: peer, now, &out)
        case .faultConfirmed(let shard, let line, let what, let remedy):
            finish(.fail(shard: shard, line: line, what: what, remedy: remedy), &out)
        case .misbehaved(let peer, let what): expel(peer, what, now, &out)
        case .planned(let planBytes, let perEpoch, let laneWords, let heldOutWords, let first, let end, let hash, let evaluation):
            guard phase == .planning else { break }
            (bounds.laneWords, bounds.heldOutWords) = (Numbered(laneWords), Numbered(heldOutWords))
            (self.planBytes, updatesPerEpoch, nextUpdate, endUpdate, parameterHash) = (planBytes, perEpoch, first, end, hash)
            self.evaluation = evaluation
            train(now)
            if hasWork { assign(now, &out) }
        case .stepped(let hash, let evaluation): stepped(hash, evaluation, now, &out)
        case .judged(let goesOn): judged(goesOn, now, &out)
        case .stopRequested: requestStop(now, &out)
        }
        if phase == .preparing && unprepared.isEmpty {
            phase = .planning
            out.append(.makePlan)
        }
        if phase == .training { beginUpdate(now, &out) }
        deliver(now, &out)
        return out
    }

    /// The run ends with this effect; nothing follows it.
    mutating func finish(_ last: Effect, _ out: inout [Effect]) {
        guard phase != .ended else { return }
        phase = .ended
        for received in open?.received.values.ascending(\.node) ?? [] {
            if let buffer = received.buffer { out.append(.release(buffer)) }
        }
        for id in (open?.arriving ?? [:]).keys.ascending() { stopFetching(from: id, &out) }
        open = nil
        out.append(last)
    }

    private mutating func requestStop(_ now: Milliseconds, _ out: inout [Effect]) {
        stopping = true
        switch phase {
        case .preparing, .planning: finish(.stop, &out)
        case .training where open == nil: finish(.stop, &out)
        case .training: stopDeadline = now + setup.times.stop
        case .stepping, .judging, .ended: break
        }
    }

    /// Sends the requests of one of a peer's queues that are due.
    mutating func pump(_ queue: WritableKeyPath<Peer, FetchQueue>, of id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        for request in peers[id]?[keyPath: queue].pump(now: now, retry: setup.times.chunk) ?? [] { out.append(.send(id, .fetch(request))) }
    }

    private mutating func tick(_ now: Milliseconds, _ out: inout [Effect]) {
        guard phase != .ended else { return }
        if let stopDeadline, now >= stopDeadline, phase == .training {
            finish(.stop, &out)
            return
        }
        excuseStall(now)
        for (id, peer) in peers.ascending(\.key) {
            if now >= peer.lastHeard + setup.times.silence {
                lose(id, "it has been silent for \((now - peer.lastHeard) / 1000) s", now, &out)
                out.append(.drop(id))
                continue
            }
            pump(\.fetches, of: id, now, &out)
            pump(\.gradients, of: id, now, &out)
        }
        switch phase {
        case .preparing: dispatch(now, &out)
        case .training:
            assign(now, &out)
            remind(now, &out)
            watchLeaving(now, &out)
            watchOpening(now, &out)
            watchLate(now, &out)
            sayWhatIsMissing(now, &out)
        default: break
        }
    }

    /// A coordinator that was stalled itself (stopped, swapped out, a slow disk) must not treat others as silent or late: messages that
    /// they sent in the meantime may still be in its sockets.
    private mutating func excuseStall(_ now: Milliseconds) {
        defer { lastTick = now }
        guard let lastTick, now > lastTick + setup.times.alive else { return }
        let gap = now - lastTick
        for (id, peer) in peers { peers[id]?.lastHeard = min(now, peer.lastHeard + gap) }
        wait.begun = min(now, wait.begun + gap)
        for (id, order) in open?.orders ?? [:] { open?.orders[id]?.begun = min(now, order.begun + gap) }
        open?.delivery.excuse(gap, now)
    }

    private mutating func receive(
        _ id: PeerID, _ message: WorkerMessage, _ payload: Payload?, _ now: Milliseconds, _ out: inout [Effect]
    ) {
        var kept = false
        if peers[id] != nil {
            peers[id]?.lastHeard = now
            peers[id]?.standing.hear()
        }
        switch message {
        case _ where phase == .ended: break
        case .hello(let hello) where payload == nil: greet(id, hello, now, &out)
        case .leaving:
            lose(id, "it left", now, &out)
            out.append(.drop(id))
        case _ where peers[id] == nil: out.append(.send(id, .sayHello))
        default:
            if let objection = objection(to: message, payload) {
                expel(id, objection, now, &out)
            } else {
                kept = act(on: message, payload, from: id, now, &out)
            }
        }
        if let payload, !kept { out.append(.release(payload.buffer)) }
    }

    private func objection(to message: WorkerMessage, _ payload: Payload?) -> String? {
        // A message of another run has other bounds; it is discarded anyway.
        if case .contribution(let contribution) = message, contribution.run != setup.run { return nil }
        return bounds.objection(to: message, payload)
    }

    /// Acts on a message that a greeted, honest worker can send. - Returns: whether the payload was kept.
    private mutating func act(
        on message: WorkerMessage, _ payload: Payload?, from id: PeerID, _ now: Milliseconds, _ out: inout [Effect]
    ) -> Bool {
        switch message {
        case .alive, .hello, .leaving: break
        case .fetch(let request):
            peers[id]?.lastProgress = now
            if case .parameters = request.blob { askForParameters(id, request, now) } else { out.append(.serve(id, request)) }
        case .prepared(let shard, let size, let digest):
            announced(shard, size, digest, id, now, &out)
        case .prepareFailed(let shard, let line, _, _):
            // A single worker's report does not end a run: the coordinator has the text too.
            if unprepared.contains(shard), peers[id]?.preparing[shard] != nil {
                out.append(.confirmFault(id, shard: shard, line: line))
            }
        case .chunk(let chunk): return take(chunk, payload, id, now, &out)
        case .laneReady(let lane):
            peers[id]?.lastProgress = now
            ready(lane, id, now, &out)
        case .contribution(let contribution): return accept(contribution, payload, id, now, &out)
        case .trouble(let what): quarantine(id, what, now, &out)
        case .taken(let number): if open?.round.number == number { noteTaken(id) }
        }
        return false
    }
}
