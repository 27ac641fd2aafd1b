import TestSupport

@testable import Base
@testable import Protocol

/// Feeds events to a coordinator's machine, so that a test reads like a transcript.
struct CoordinatorScript {
    typealias Machine = CoordinatorStateMachine
    static let run: UInt64 = 77

    var machine: Machine
    var now: Milliseconds = 0
    private var nextBuffer: BufferID = 0

    /// Without unprepared shards the machine asks for the plan with its first event.
    init(
        lanes: Int = 4, shards: Int = 0, textBytes: UInt64 = 1_000, minimumWorkers: Int = 1, strictBits: Bool = false,
        arithmetic: Arithmetic = .blas, parameterBytes: UInt64 = 12, gradientBytes: UInt64 = 8
    ) {
        machine = Machine(
            .init(
                run: Self.run, description: "{}", lanes: lanes, parameterBytes: parameterBytes, gradientBytes: gradientBytes,
                shards: (0..<shards).map { _ in (textBytes: textBytes, key: CacheKey(repeating: 1)) }, minimumWorkers: minimumWorkers,
                program: "1", arithmetic: arithmetic, blas: "Haswell", fingerprint: 7, strictBits: strictBits))
    }

    mutating func tell(_ event: Machine.Event) -> [Machine.Effect] { machine.handle(event, now: now) }

    /// Ticks every 100 ms, as the shell does.
    mutating func wait(_ time: Milliseconds) -> [Machine.Effect] {
        (0..<time / 100).flatMap { _ in
            now += 100
            return tell(.tick)
        }
    }

    mutating func hear(_ peer: PeerID, _ message: WorkerMessage, bytes: Int? = nil, hash: UInt64 = 0) -> [Machine.Effect] {
        var payload: Payload?
        if let bytes {
            nextBuffer += 1
            payload = .init(buffer: nextBuffer, count: bytes, hash: hash)
        }
        return tell(.message(peer, message, payload: payload))
    }

    static func hello(_ peer: PeerID, threads: UInt16 = 1, session: UInt32 = 1, instance: UInt64? = nil) -> Hello {
        var hello = Hello(
            program: "1", host: "h\(peer)", processID: UInt32(peer), threads: threads, blas: "Haswell",
            fingerprints: Fingerprints([.blas: 7, .native: 7]), instance: instance ?? peer)
        hello.session = session
        return hello
    }

    mutating func join(_ peer: PeerID, threads: UInt16 = 1) -> [Machine.Effect] { hear(peer, .hello(Self.hello(peer, threads: threads))) }

    /// Answers each lease among the effects.
    mutating func open(_ effects: [Machine.Effect]) -> [Machine.Effect] {
        effects.flatMap { effect in
            guard case .send(let peer, .lease(let lane, _)) = effect else { return [Machine.Effect]() }
            return hear(peer, .laneReady(lane))
        }
    }

    mutating func plan(first: UInt64 = 0, end: UInt64 = 100, evaluation: UInt64? = nil) -> [Machine.Effect] {
        tell(
            .planned(
                planBytes: 50, updatesPerEpoch: 10, laneWords: [UInt64](repeating: 100, count: machine.lanes.count),
                heldOutWords: [UInt64](repeating: 50, count: machine.lanes.count), first: first, end: end, parameterHash: 1_000 + first,
                evaluation: evaluation))
    }

    /// A run in its first update with these workers, whose lanes are open. - Returns: the orders.
    mutating func begin(_ peers: PeerID...) -> [Machine.Effect] {
        var effects = tell(.tick)
        for peer in peers { effects += join(peer) }
        effects += plan()
        return open(effects)
    }

    mutating func answer(
        _ peer: PeerID, _ node: TreeNode, update: UInt64 = 0, hash: UInt64 = 5, parameterHash: UInt64? = nil
    ) -> [Machine.Effect] {
        hear(
            peer, .contribution(Self.contribution(machine, node, update: update, hash: hash, parameterHash: parameterHash)), bytes: 8,
            hash: hash)
    }

    static func contribution(
        _ machine: Machine, _ node: TreeNode, update: UInt64, hash: UInt64 = 5, parameterHash: UInt64? = nil
    ) -> Contribution {
        Contribution(
            run: Self.run, roster: 0, update: update, parameterHash: parameterHash ?? 1_000 + update, node: node, selected: 3, words: 9,
            losses: machine.tree.contains(node) ? machine.tree.lanes(below: node).map { Double($0.rawValue) } : [0], hash: hash)
    }

    mutating func stepped(_ update: UInt64 = 0, evaluation: UInt64? = nil) -> [Machine.Effect] {
        tell(.stepped(parameterHash: 1_001 + update, evaluation: evaluation))
    }

    /// Figures of an evaluation, from parameters with hash `scored`.
    mutating func score(_ peer: PeerID, _ node: TreeNode, update: UInt64, scored: UInt64, losses: [Double]? = nil) -> [Machine.Effect] {
        var contribution = Self.contribution(machine, node, update: update, hash: 0, parameterHash: scored)
        contribution.purpose = .evaluate
        if let losses { contribution.losses = losses.map(\.bitPattern) }
        return hear(peer, .contribution(contribution))
    }
}

/// One effect in a few words: "3 <- lease 1", "3 <- order 0 [0, 1] leaves [1] +parameters", "step 0 [lanes 0..<2, 2..<4]".
func words(_ effects: [CoordinatorStateMachine.Effect], lanes: Int = 4) -> [String] {
    effects.compactMap { effect in
        switch effect {
        case .log, .notice: nil
        case .order(let peer, let order, let withParameters):
            "\(peer) <- \(order.purpose == .train ? "order" : "score") \(order.update) \(order.lanes)"
                + (order.leaves.isEmpty ? "" : " leaves \(order.leaves)")
                + (withParameters ? " +parameters" : "")
        case .send(let peer, let message): "\(peer) <- \(words(message))"
        case .step(let update, let received):
            "step \(update) \(received.map { "\(ReductionTree(lanes: lanes).lanes(below: $0.node)) of \($0.peer)" })"
        case .judge(let update, let received):
            "judge \(update) \(received.map { "\(ReductionTree(lanes: lanes).lanes(below: $0.node)) of \($0.peer)" })"
        case .endEarly: "end early"
        case .locate(let shard, let peer): "locate shard \(shard) of \(peer)"
        case .expect(let shard, let peer, let size, _): "expect shard \(shard) of \(peer), \(size) bytes"
        case .confirmFault(let peer, let shard, let line): "confirm the fault of shard \(shard), line \(line), by \(peer)"
        case .serve(let peer, let request): "serve \(peer) \(request.blob)\(request.offset > 0 ? " from \(request.offset)" : "")"
        case .expectGradient(let peer, let number, let byteCount): "expect gradient \(number) of \(peer), \(byteCount) bytes"
        case .forgetGradient(let peer, let number): "forget gradient \(number) of \(peer)"
        case .store(_, let chunk, let buffer, let last): "store \(chunk.offset) from buffer \(buffer)\(last ? ", the last" : "")"
        case .release(let buffer): "release \(buffer)"
        case .drop(let peer): "drop \(peer)"
        case .makePlan: "make the plan"
        case .stop: "stop"
        case .complete: "complete"
        case .fail(let shard, let line, let what, _): "fail: shard \(shard), line \(line): \(what)"
        }
    }
}

func words(_ message: CoordinatorMessage) -> String {
    switch message {
    case .welcome(_, let session, _): "welcome \(session)"
    case .refuse(let why): "refuse: \(why)"
    case .sayHello: "say hello"
    case .prepare(let shard, _, _): "prepare \(shard)"
    case .fetch(let request): "fetch \(request.blob) from \(request.offset)"
    case .lease(let lane, _): "lease \(lane)"
    case .withdraw(let lane): "withdraw \(lane)"
    case .begin(let order): "begin \(order.update)"
    case .chunk(let chunk): "chunk \(chunk.blob)"
    case .finish: "finish"
    case .probe: "probe"
    }
}

/// The texts of the log.
func logs(_ effects: [CoordinatorStateMachine.Effect]) -> [String] {
    effects.compactMap { if case .log(_, let text) = $0 { text } else { nil } }
}
