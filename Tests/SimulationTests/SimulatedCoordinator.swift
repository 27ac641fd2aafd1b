// The coordinator of the world: the machine of the program in a shell that keeps its contract. In: messages, time. Out: messages, versions.
@testable import Base
@testable import Protocol

final class SimulatedCoordinator: SimulatedProcess {
    /// What outlives the process.
    struct Disk {
        var prepared: Set<UInt32> = []
        /// The last checkpoint: a version and its parameters.
        var checkpoint: (version: UInt64, parameters: [Float])?
    }

    var machine: CoordinatorStateMachine
    var disk = Disk()
    private(set) var run: UInt64 = 0
    var connections: [PeerID: Connection] = [:]
    private(set) var version: UInt64 = 0
    private(set) var parameters: [Float] = []
    private(set) var isComplete = false
    private var nextPeer: PeerID = 0
    private var arriving: [PeerID: [UInt32: (offsets: Set<UInt64>, isDamaged: Bool)]] = [:]

    init(_ world: World) {
        machine = CoordinatorStateMachine(Self.setup(world.scenario, run: 0))
        super.init(world, "coordinator")
    }

    private var scenario: Scenario { world.scenario }

    private static func setup(_ scenario: Scenario, run: UInt64) -> CoordinatorStateMachine.Setup {
        var setup = CoordinatorStateMachine.Setup(
            run: run, description: "{}", lanes: scenario.lanes,
            shards: (0..<UInt32(scenario.shards)).map { (scenario.size(of: .text($0)), [UInt8](repeating: 1, count: 32)) },
            minimumWorkers: scenario.minimumWorkers, program: "1", blas: "Haswell", fingerprint: 7, strictBits: true)
        setup.times = scenario.times
        return setup
    }

    func start() {
        guard !isAlive, !isComplete else { return }
        beginLife()
        run = SeededGenerator.mix(scenario.seed ^ UInt64(life))
        machine = CoordinatorStateMachine(Self.setup(scenario, run: run), prepared: disk.prepared)
        connections = [:]
        arriving = [:]
        (version, parameters) = disk.checkpoint ?? (0, world.math.versions[0])
        world.restarted(run, at: version)
        tick()
    }

    func crash() {
        guard isAlive else { return }
        endLife()
        for worker in world.workers { if let connection = worker.connection { world.cut(connection) } }
        connections = [:]
    }

    private func tick() {
        handle(.tick)
        later(scenario.tick) { [unowned self] in tick() }
    }

    func receive(_ message: WorkerMessage, _ parcel: Parcel?, _ connection: Connection) {
        let peer: PeerID
        if let known = connection.peer, connections[known] === connection {
            peer = known
        } else {
            nextPeer += 1
            peer = nextPeer
            connection.peer = peer
            connections[peer] = connection
        }
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
            if order.parameterHash != FakeMath.hash(parameters) { world.violate("an order names other parameters than the current ones") }
            send(peer, .begin(order), withParameters ? Parcel(values: parameters) : nil)
        case .serve(let peer, let request): serve(peer, request)
        case .look(let shard, let peer, let size, _): look(shard, peer, size)
        case .store(let peer, let chunk, let buffer, let last): store(peer, chunk, letGo(buffer), last)
        case .makePlan: makePlan()
        case .step(let update, let received): step(update, received)
        case .release(let buffer): _ = letGo(buffer)
        case .drop(let peer): connections[peer] = nil
        case .log: break
        case .fail(_, _, let what, _): world.violate("the run failed: \(what)")
        case .stop: end(isComplete: false)
        case .complete: end(isComplete: true)
        }
    }

    private func send(_ peer: PeerID, _ message: CoordinatorMessage, _ parcel: Parcel? = nil) {
        guard let connection = connections[peer], connection.isOpen else {
            // Unreachable: the router says so, or the message vanishes.
            if connections[peer] != nil, world.random.chance(scenario.notices) {
                connections[peer] = nil
                later(0) { [unowned self] in handle(.peerLost(peer, reason: "unreachable")) }
            }
            return
        }
        world.send(message, parcel, on: connection)
    }

    private func serve(_ peer: PeerID, _ request: FetchRequest) {
        if case .prepared(let shard) = request.blob, !disk.prepared.contains(shard) { return }
        let total = scenario.size(of: request.blob)
        guard request.offset < total else { return }
        let count = Int(min(UInt64(request.length), total - request.offset))
        send(
            peer, .chunk(Chunk(blob: request.blob, offset: request.offset, total: total)),
            Parcel(blob: request.blob, offset: request.offset, count: count))
    }

    private func look(_ shard: UInt32, _ peer: PeerID, _ size: UInt64) {
        later(world.random.pick(0...1) * 10) { [unowned self] in
            handle(disk.prepared.contains(shard) ? .shardStored(shard) : .shardAbsent(shard, peer, size: size))
        }
    }

    private func store(_ peer: PeerID, _ chunk: Chunk, _ parcel: Parcel, _ last: Bool) {
        guard case .prepared(let shard) = chunk.blob, parcel.blob == chunk.blob, parcel.offset == chunk.offset else {
            return world.violate("the coordinator stores another chunk")
        }
        var file = arriving[peer]?[shard] ?? ([], false)
        file.offsets.insert(chunk.offset)
        if parcel.isDamaged { file.isDamaged = true }
        arriving[peer, default: [:]][shard] = last ? nil : file
        guard last else { return }
        if file.offsets.count * WireLimits.chunk < Int(chunk.total) { world.violate("shard \(shard) is stored with holes") }
        if !file.isDamaged { disk.prepared.insert(shard) }
        later(world.random.pick(0...10)) { [unowned self] in
            handle(file.isDamaged ? .shardAbsent(shard, peer, size: chunk.total) : .shardStored(shard))
        }
    }

    private func makePlan() {
        if disk.prepared.count < scenario.shards { world.violate("the plan is made without every shard") }
        later(world.random.pick(0...400)) { [unowned self] in
            handle(
                .planned(
                    planBytes: scenario.size(of: .plan), updatesPerEpoch: UInt64(scenario.updatesPerEpoch), first: version,
                    end: UInt64(scenario.updates), parameterHash: FakeMath.hash(parameters)))
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
            handle(.stepped(parameterHash: FakeMath.hash(parameters)))
        }
    }

    /// A helper writes a copy; it counts when it is whole.
    private func checkpoint() {
        guard version % UInt64(scenario.checkpointEvery) == 0 else { return }
        let copy = (version, parameters)
        if world.mutant.mutation == .acknowledgesBeforeWriting { world.ledger.acknowledge(copy.0) }
        later(world.random.pick(0...300)) { [unowned self] in
            if let newest = disk.checkpoint?.version, newest >= copy.0 { return }
            disk.checkpoint = copy
            world.ledger.acknowledge(copy.0)
        }
    }

    private func end(isComplete: Bool) {
        disk.checkpoint = (version, parameters)
        world.ledger.acknowledge(version)
        self.isComplete = isComplete
        for (_, connection) in connections.sorted(by: { $0.key < $1.key }) where connection.isOpen {
            world.send(.finish(reason: "over", final: isComplete), nil, on: connection)
        }
        world.ended(isComplete: isComplete)
    }
}
