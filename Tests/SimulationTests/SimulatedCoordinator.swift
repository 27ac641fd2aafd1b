// The coordinator of the world: the machine of the program in a shell that keeps its contract. In: messages, time. Out: messages, versions.
@testable import Base
@testable import Protocol

final class SimulatedCoordinator: SimulatedProcess {
    /// What outlives the process.
    struct Disk {
        var prepared: Set<ShardID> = []
        /// The last checkpoint: a version and its parameters.
        var checkpoint: (version: UInt64, parameters: [Float], scored: UInt64)?
    }

    var machine: CoordinatorStateMachine
    var disk = Disk()
    private(set) var run: UInt64 = 0
    private var peers = PeerTable<(message: CoordinatorMessage, parcel: Parcel?)>(lanes: 8)
    private var wires: [[UInt8]: Connection] = [:]
    private var artifacts: ArtifactServer
    private(set) var version: UInt64 = 0
    private(set) var parameters: [Float] = []
    /// The last version that was scored.
    private var scored: UInt64 = 0
    private(set) var isComplete = false
    /// Gradients that are coming, by the piece.
    private(set) var gradients: [PeerID: [UInt32: [UInt64: Parcel]]] = [:]
    private var arriving: [PeerID: [ShardID: (offsets: Set<UInt64>, isDamaged: Bool)]] = [:]

    init(_ world: World) {
        machine = CoordinatorStateMachine(Self.setup(world.scenario, run: 0, world.mutant.mutation))
        artifacts = world.scenario.artifacts(prepared: [])
        super.init(world, "coordinator")
    }

    private var scenario: Scenario { world.scenario }

    private static func setup(_ scenario: Scenario, run: UInt64, _ mutation: Mutation?) -> CoordinatorStateMachine.Setup {
        var setup = CoordinatorStateMachine.Setup(
            run: run, description: "{}", lanes: scenario.lanes, parameterBytes: scenario.size(of: .parameters(0)),
            gradientBytes: scenario.size(of: .gradient(0)),
            shards: (0..<ShardID(scenario.shards)).compactMap { shard in
                CacheKey([UInt8](repeating: 1, count: CacheKey.byteCount)).map { (scenario.size(of: .text(shard)), $0) }
            },
            minimumWorkers: scenario.minimumWorkers, program: "1", arithmetic: .native, blas: "Haswell", fingerprint: 7, strictBits: true)
        setup.times = scenario.times
        if mutation == .waitsForTheSlow { setup.times.taking = .max / 64 }
        return setup
    }

    func start() {
        guard !isAlive, !isComplete else { return }
        beginLife()
        run = SeededGenerator.mix(scenario.seed ^ UInt64(life))
        machine = CoordinatorStateMachine(Self.setup(scenario, run: run, world.mutant.mutation), prepared: disk.prepared)
        (peers, wires) = (PeerTable(lanes: scenario.lanes), [:])
        artifacts = scenario.artifacts(prepared: disk.prepared)
        (arriving, gradients) = ([:], [:])
        (version, parameters, scored) = disk.checkpoint ?? (0, world.math.versions[0], 0)
        world.restarted(run, at: version, scored: scored)
        tick()
    }

    func crash() {
        guard isAlive else { return }
        endLife()
        for worker in world.workers { if let connection = worker.connection { world.cut(connection) } }
        (peers, wires) = (PeerTable(lanes: scenario.lanes), [:])
    }

    func connection(of peer: PeerID) -> Connection? { peers[peer].flatMap { wires[$0.address.identity] } }

    func forget(_ peer: PeerID) {
        if let known = peers[peer] { wires[known.address.identity] = nil }
        peers.forget(peer)
    }

    private func tick() {
        handle(.tick)
        later(scenario.tick) { [unowned self] in tick() }
    }

    func receive(_ message: WorkerMessage, _ parcel: Parcel?, _ connection: Connection) {
        let peer = peers.admit(PeerAddress(listener: 0, identity: connection.identity), isLocal: false)
        (connection.peer, wires[connection.identity]) = (peer, connection)
        handle(.message(peer, message, payload: hold(parcel)))
    }

    func handle(_ event: CoordinatorStateMachine.Event) {
        guard isAlive, world.violation == nil else { return }
        world.trace("coordinator <- \(event)")
        world.ledger.before(event, machine)
        for event in world.mutant.rewrite(event, &machine) {
            let effects = world.mutant.rewrite(machine.handle(event, now: world.now), after: event, now: world.now, &machine)
            for effect in effects {
                world.trace("    coordinator -> \(effect)")
                world.ledger.note(effect, machine)
                perform(effect)
                guard isAlive else { break }
            }
            world.ledger.after(event, machine, held: Set(buffers.keys))
        }
    }

    private func perform(_ effect: CoordinatorStateMachine.Effect) {
        switch effect {
        case .send(let peer, let message): send(peer, message)
        case .order(let peer, let order, let withParameters):
            let values = order.purpose == .train ? parameters : FakeMath.averages(parameters)
            if order.parameterHash != FakeMath.hash(values) { world.violate("an order names other parameters than the current ones") }
            let areShort = scenario.size(of: .parameters(0)) <= UInt64(WireLimits.piece)
            send(peer, .begin(order), withParameters && areShort ? Parcel(values: values) : nil)
        case .serve(let peer, let request): serve(peer, request)
        case .locate(let shard, let peer): locate(shard, peer)
        case .expect(let shard, let peer, _, _): arriving[peer, default: [:]][shard] = ([], false)
        case .expectGradient(let peer, let number, let byteCount):
            if byteCount != scenario.size(of: .gradient(number)) { world.violate("a gradient of another size is expected") }
            gradients[peer, default: [:]][number] = [:]
        case .forgetGradient(let peer, let number): gradients[peer]?[number] = nil
        case .confirmFault: world.violate("a worker's complaint about the text is believed")
        case .store(let peer, let chunk, let buffer, let last): store(peer, chunk, letGo(buffer), last)
        case .makePlan: makePlan()
        case .step(let update, let received): step(update, received)
        case .judge(let update, _): judge(update)
        case .endEarly: end(isComplete: true)
        case .release(let buffer): _ = letGo(buffer)
        case .drop(let peer): forget(peer)
        case .log, .notice: break
        case .fail(_, _, let what, _): world.violate("the run failed: \(what)")
        case .stop: end(isComplete: false)
        case .complete: end(isComplete: true)
        }
    }

    private func send(_ peer: PeerID, _ message: CoordinatorMessage, _ parcel: Parcel? = nil) {
        peers.queue((message, parcel), to: peer)
        flush(peer)
    }

    private func flush(_ peer: PeerID) {
        guard let known = peers[peer], let connection = connection(of: peer) else { return }
        peers.sent(known.outbox.count, to: peer)
        guard connection.isOpen else {
            // Unreachable: the router says so, or the message vanishes.
            if world.random.chance(scenario.notices) {
                forget(peer)
                later(0) { [unowned self] in handle(.peerLost(peer, reason: "unreachable")) }
            }
            return
        }
        for item in known.outbox.map(\.item) { world.send(item.message, item.parcel, on: connection) }
    }

    private func servePiece(_ peer: PeerID, _ request: FetchRequest) {
        guard let round = machine.open?.round, request.blob == round.blob else {
            return world.violate("a piece of parameters that are not those of the open round")
        }
        let values = round.purpose == .train ? parameters : FakeMath.averages(parameters)
        send(
            peer, .chunk(Chunk(blob: request.blob, offset: request.offset, total: scenario.size(of: request.blob))),
            Parcel(blob: request.blob, offset: request.offset, count: Int(request.length), values: values))
        world.coverage.pieces += 1
    }

    private func serve(_ peer: PeerID, _ request: FetchRequest) {
        if case .parameters = request.blob { return servePiece(peer, request) }
        switch artifacts.answer(request) {
        case .nothing: break
        case .refusal(let what): world.violate("an honest worker's request is refused: \(what)")
        case .part(let part, let total):
            send(
                peer, .chunk(Chunk(blob: request.blob, offset: request.offset, total: total)),
                Parcel(blob: request.blob, offset: request.offset, count: part.count))
        }
    }

    private func store(piece: Chunk, _ peer: PeerID, _ number: UInt32, _ parcel: Parcel, _ last: Bool) {
        guard parcel.blob == piece.blob, parcel.offset == piece.offset, gradients[peer]?[number] != nil else {
            return world.violate("the coordinator stores a piece that it does not expect")
        }
        if gradients[peer]?[number]?.updateValue(parcel, forKey: piece.offset) != nil { world.violate("a piece is stored twice") }
        guard last, let parts = gradients[peer]?[number] else { return }
        if parts.count * WireLimits.piece < Int(piece.total) { return world.violate("a gradient has holes") }
        gradients[peer]?[number] = nil
        // All that was damaged shows, as it would in the hash of the whole.
        let values = Set(parts.values.map(\.values))
        later(0) { [unowned self] in
            guard var payload = hold(Parcel(values: values.first ?? [])) else { return }
            if values.count > 1 { payload.hash = 0 }
            handle(.gradientCame(peer, number: number, payload))
        }
    }

    private func locate(_ shard: ShardID, _ peer: PeerID) {
        later(world.random.pick(0...1) * 10) { [unowned self] in
            handle(disk.prepared.contains(shard) ? .shardStored(shard) : .shardAbsent(shard, peer))
        }
    }

    private func store(_ peer: PeerID, _ chunk: Chunk, _ parcel: Parcel, _ last: Bool) {
        if case .gradient(let number) = chunk.blob { return store(piece: chunk, peer, number, parcel, last) }
        guard case .prepared(let shard) = chunk.blob, parcel.blob == chunk.blob, parcel.offset == chunk.offset else {
            return world.violate("the coordinator stores another chunk")
        }
        guard var file = arriving[peer]?[shard] else { return later(0) { [unowned self] in handle(.shardNotStored(shard, peer)) } }
        if world.faultsAreOn, world.random.chance(0.02) {
            // The disk is full for a moment.
            arriving[peer]?[shard] = nil
            return later(0) { [unowned self] in handle(.shardNotStored(shard, peer)) }
        }
        file.offsets.insert(chunk.offset)
        if parcel.isDamaged { file.isDamaged = true }
        arriving[peer]?[shard] = last ? nil : file
        guard last else { return }
        if file.offsets.count * WireLimits.chunk < Int(chunk.total) { world.violate("shard \(shard) is stored with holes") }
        if !file.isDamaged {
            disk.prepared.insert(shard)
            artifacts.add(preparedShard: shard, byteCount: chunk.total)
        }
        later(world.random.pick(0...10)) { [unowned self] in
            handle(file.isDamaged ? .shardDamaged(shard, peer) : .shardStored(shard))
        }
    }

    private func makePlan() {
        if disk.prepared.count < scenario.shards { world.violate("the plan is made without every shard") }
        later(world.random.pick(0...400)) { [unowned self] in
            artifacts.add(planOf: scenario.size(of: .plan))
            handle(
                .planned(
                    planBytes: scenario.size(of: .plan), updatesPerEpoch: UInt64(scenario.updatesPerEpoch),
                    laneWords: scenario.laneWords, heldOutWords: scenario.heldOutWords, first: version,
                    end: UInt64(scenario.updates), parameterHash: FakeMath.hash(parameters), evaluation: evaluation))
        }
    }

    private func step(_ update: UInt64, _ received: [CoordinatorStateMachine.Received]) {
        var nodes: [TreeNode: [Float]?] = [:]
        for entry in received { nodes[entry.node] = .some(entry.buffer.map { letGo($0).values }) }
        let sum = world.math.sum(world.math.tree.root, nodes: nodes)
        later(world.random.pick(0...20)) { [unowned self] in
            parameters = world.math.step(parameters, sum)
            version = update + 1
            world.ledger.applied(update, parameters)
            checkpoint()
            handle(.stepped(parameterHash: FakeMath.hash(parameters), evaluation: evaluation))
        }
    }

    /// Hash of what is to be scored now.
    private var evaluation: UInt64? {
        scenario.isScored(version) && scored < version ? FakeMath.hash(FakeMath.averages(parameters)) : nil
    }

    /// The score is in the next checkpoint.
    private func judge(_ update: UInt64) {
        later(world.random.pick(0...20)) { [unowned self] in
            scored = update
            checkpoint()
            handle(.judged(goesOn: scenario.earlyEnd != update))
        }
    }

    /// A helper writes a copy; it counts when it is complete.
    private func checkpoint() {
        guard version % UInt64(scenario.checkpointEvery) == 0 else { return }
        let copy = (version, parameters, scored)
        if world.mutant.mutation == .acknowledgesBeforeWriting { world.ledger.acknowledge(copy.0) }
        later(world.random.pick(0...300)) { [unowned self] in
            if let newest = disk.checkpoint, (newest.version, newest.scored) >= (copy.0, copy.2) { return }
            disk.checkpoint = copy
            world.ledger.acknowledge(copy.0)
        }
    }

    private func end(isComplete: Bool) {
        disk.checkpoint = (version, parameters, scored)
        world.ledger.acknowledge(version)
        self.isComplete = isComplete
        for connection in peers.peers.keys.sorted().compactMap(connection(of:)) where connection.isOpen {
            world.send(.finish(reason: "over", final: isComplete), nil, on: connection)
        }
        world.ended(isComplete: isComplete)
    }
}
