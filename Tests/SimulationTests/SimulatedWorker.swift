// A worker of the world: the machine of the program in a shell that keeps its contract. In: messages, time. Out: messages.
@testable import Base
@testable import Protocol

final class SimulatedWorker: SimulatedProcess {
    /// An open lane: room for one gradient.
    final class LaneWork {
        /// The update that was asked for last: an older one that still runs does not overwrite it.
        var wanted: UInt64?
        var update: UInt64?
        var gradient: [Float]?
        /// The version whose parameters its held-out documents were scored with last.
        var scored: UInt64?
    }

    private enum Rank { case gradient, other }

    let number: Int
    var machine: WorkerStateMachine
    var connection: Connection?
    var partitionedUntil: Milliseconds = 0
    /// Jobs that will fail for a reason of this host.
    var troubles = 0
    /// Chunks that will not be written.
    var failingStores = 0
    /// Blobs of which a chunk was not written.
    private var lost: Set<BlobID> = []
    /// What the machine is told after the current effects.
    private var news: [WorkerStateMachine.Event] = []
    /// Its compute threads hang, though it keeps saying that it is alive.
    var isHung = false
    var wasRefused = false
    private var outbox: [(WorkerMessage, Parcel?)] = []
    /// Survives the process: prepared shards and model files.
    private var disk: Set<BlobID> = []
    /// Space is freed on the disk.
    func cleanDisk() { disk = [] }
    private var arriving: [BlobID: Set<UInt64>] = [:]
    private var arrived: Set<BlobID> = []
    /// Raised when a run is joined: work begun before is not reported.
    private var membership = 0
    private(set) var lanes: [LaneID: LaneWork] = [:]
    private var parameters: (round: Round, values: [Float])?
    /// Parameters that are arriving.
    private var pieces: (blob: BlobID, parts: [UInt64: [Float]])?
    /// Gradients that the coordinator may fetch, by number.
    private var gradients: [UInt32: (update: UInt64, node: TreeNode, values: [Float])] = [:]
    private var nextGradient: UInt32 = 0
    private var jobs: [(rank: Rank, duration: Int, work: () -> Void)] = []
    private var busy = 0

    init(_ world: World, _ number: Int) {
        self.number = number
        machine = WorkerStateMachine(hello: Hello(program: "", host: "", processID: 0, threads: 1, blas: "", fingerprints: Fingerprints()))
        super.init(world, "worker \(number)")
    }

    private var scenario: Scenario { world.scenario }

    func start() {
        guard !isAlive, !wasRefused else { return }
        beginLife()
        let isForeign = scenario.foreigner == number
        var hello = Hello(
            program: "1", host: "host\(number)", processID: UInt32(life), threads: UInt16(scenario.threads[number]), blas: "Haswell",
            fingerprints: Fingerprints([.native: isForeign && number % 2 == 0 ? 8 : 7]),
            instance: world.random.next())
        if isForeign && number % 2 == 1 { hello.program = "2" }
        machine = WorkerStateMachine(hello: hello, times: scenario.times)
        isHung = false
        (outbox, arriving, arrived, lanes, parameters, pieces, jobs, busy) = ([], [:], [], [:], nil, nil, [], 0)
        gradients = [:]
        if world.random.chance(0.3) { disk = [] }
        connect()
        tick()
    }

    func crash() {
        guard isAlive else { return }
        let last = connection
        connection = nil
        endLife()
        if let last { world.cut(last, drains: world.random.chance(0.5)) }
    }

    private func tick() {
        handle(.tick)
        later(scenario.tick) { [unowned self] in tick() }
    }

    /// The socket keeps trying for as long as necessary.
    func connect() {
        later(world.random.pick(0...500)) { [unowned self] in
            guard connection == nil else { return }
            guard world.coordinator.isAlive, world.now >= partitionedUntil else { return connect() }
            connection = Connection(self, number: world.random.next())
            let waiting = outbox
            outbox = []
            if world.random.chance(0.5) { for (message, parcel) in waiting { send(message, parcel) } }
        }
    }

    private func send(_ message: WorkerMessage, _ parcel: Parcel? = nil) {
        if let connection {
            world.send(message, parcel, on: connection)
        } else {
            outbox.append((message, parcel))
        }
    }

    func receive(_ message: CoordinatorMessage, _ parcel: Parcel?) { handle(.message(message, payload: hold(parcel))) }

    private func handle(_ event: WorkerStateMachine.Event) {
        guard isAlive, world.violation == nil else { return }
        world.trace("\(name) <- \(event)")
        for event in world.mutant.rewrite(event) {
            let effects = world.mutant.rewrite(machine.handle(event, now: world.now), of: "\(name).\(life).\(membership)")
            for effect in effects {
                world.trace("    \(name) -> \(effect)")
                perform(effect)
                guard isAlive else { return }
            }
        }
        while !news.isEmpty { handle(news.removeFirst()) }
        if !buffers.isEmpty { world.violate("\(name) keeps \(buffers.count) buffers after \(event)") }
    }

    /// An event of work that was begun in the current membership.
    private func report(
        after delay: Int, while isCurrent: @escaping () -> Bool = { true }, _ event: @escaping () -> WorkerStateMachine.Event?
    ) {
        let membership = membership
        later(delay) { [unowned self] in
            guard membership == self.membership, isCurrent(), let event = event() else { return }
            handle(event)
        }
    }

    private func perform(_ effect: WorkerStateMachine.Effect) {
        switch effect {
        case .send(let message): send(message)
        case .join:
            membership += 1
            (arriving, arrived, lanes, parameters, pieces, jobs, lost) = ([:], [], [:], nil, nil, [], [])
            news.append(.joined(lanes: scenario.lanes, parameterBytes: scenario.size(of: .parameters(0))))
        case .locate(let job, let ticket): locate(job, ticket)
        case .store(let chunk, let buffer): store(chunk, letGo(buffer))
        case .perform(let job): start(job)
        case .closeLane(let lane): lanes[lane] = nil
        case .useParameters(let round, let buffer): parameters = (round, letGo(buffer).values)
        case .hashParameters(let round):
            guard let pieces, pieces.parts.count * WireLimits.piece >= Int(scenario.size(of: round.blob)) else {
                return world.violate("\(name) has parameters with holes")
            }
            // Any damage shows, as it would in the hash of the whole.
            let values = Set(pieces.parts.values)
            news.append(.parametersCame(round, hash: values.count == 1 ? FakeMath.hash(values.first ?? []) : 0))
        case .useStoredParameters(let round):
            guard let pieces, pieces.blob == round.blob else { return world.violate("\(name) does not have the parameters of \(round)") }
            parameters = (round, pieces.parts.values.first ?? [])
        case .compute(let order, let lane): compute(order, lane)
        case .contribute(let contribution): contribute(contribution)
        case .forget(let round):
            jobs.removeAll { $0.rank == .gradient }
            gradients = gradients.filter { $0.value.update >= round.update }
        case .serve(let request): serve(request)
        case .release(let buffer): _ = letGo(buffer)
        case .log(let text):
            if text.hasPrefix("refused from the coordinator") { world.violate("\(name), of an honest coordinator: \(text)") }
        case .leave(_, .refused):
            wasRefused = true
            crash()
        case .leave(_, .finished), .leave(_, .stopped): crash()
        case .leave(_, .paused): lanes = [:]
        }
    }

    // MARK: jobs

    private func enqueue(_ rank: Rank, _ duration: Int, _ work: @escaping () -> Void) {
        jobs.append((rank, duration * scenario.slowness[number], work))
        startJob()
    }

    private func startJob() {
        guard !isHung, busy < scenario.threads[number], !jobs.isEmpty else { return }
        let index = jobs.firstIndex { $0.rank == .gradient } ?? 0
        let job = jobs.remove(at: index)
        busy += 1
        later(job.duration) { [unowned self] in
            guard !isHung else { return }
            busy -= 1
            job.work()
            startJob()
        }
    }

    private func locate(_ job: Job, _ ticket: WorkerStateMachine.Ticket?) {
        var wanted: [BlobID] = []
        switch job {
        case .prepare(let shard):
            guard ticket != nil else { return world.violate("\(name) is to prepare shard \(shard) without a ticket") }
            if disk.contains(.prepared(shard)) { return reportPrepared(shard) }
            wanted = [.model(0), .model(1)].filter { !disk.contains($0) } + [.text(shard)]
        case .plan: wanted = [.plan]
        case .lane(let lane): wanted = scenario.shards(ofLane: lane).map { .prepared($0) }.filter { !disk.contains($0) }
        }
        if case .plan(let byteCount) = ticket, byteCount != scenario.size(of: .plan) { world.violate("the plan's size is wrong") }
        report(after: world.random.pick(0...3) * 20) { [unowned self] in
            // Only now is the machine told: a blob that was given up in the meantime is fetched again.
            lost.subtract(wanted)
            return .needs(job, wanted.map { Wanted(blob: $0, total: scenario.size(of: $0)) })
        }
    }

    private func reportPrepared(_ shard: ShardID) {
        report(after: 0) { [unowned self] in
            .prepared(shard: shard, size: scenario.size(of: .prepared(shard)), digest: scenario.digest(shard))
        }
    }

    private func store(piece: Chunk, _ parcel: Parcel) {
        if pieces?.blob != piece.blob { pieces = (piece.blob, [:]) }
        pieces?.parts[piece.offset] = parcel.values
    }

    private func store(_ chunk: Chunk, _ parcel: Parcel) {
        if case .parameters = chunk.blob { return store(piece: chunk, parcel) }
        guard parcel.blob == chunk.blob, parcel.offset == chunk.offset else { return world.violate("\(name) stores another chunk") }
        if failingStores > 0 {
            failingStores -= 1
            arriving[chunk.blob] = nil
            lost.insert(chunk.blob)
            news.append(.notStored(chunk.blob, "the disk is full"))
            return
        }
        if lost.contains(chunk.blob) { return world.violate("\(name) is given chunks of a blob that it gave up") }
        if arriving[chunk.blob, default: []].insert(chunk.offset).inserted == false {
            world.violate("\(name) stores \(chunk) twice")
        }
        guard (arriving[chunk.blob]?.count ?? 0) * WireLimits.chunk >= Int(chunk.total) else { return }
        arriving[chunk.blob] = nil
        switch chunk.blob {
        case .model, .prepared: disk.insert(chunk.blob)
        default: arrived.insert(chunk.blob)
        }
    }

    private func start(_ job: Job) {
        let membership = membership
        if troubles > 0 {
            troubles -= 1
            return report(after: 1) { .failed(job, "the disk is full") }
        }
        switch job {
        case .prepare(let shard):
            if lost.remove(.text(shard)) != nil { return report(after: 0) { .failed(job, "the text was not stored") } }
            guard arrived.remove(.text(shard)) != nil else { return world.violate("\(name) prepares shard \(shard) without its text") }
            enqueue(.other, world.random.pick(20...400)) { [unowned self] in
                disk.insert(.prepared(shard))
                if membership == self.membership { reportPrepared(shard) }
            }
        case .plan:
            if lost.remove(.plan) != nil { return report(after: 0) { .failed(job, "the plan was not stored") } }
            guard arrived.remove(.plan) != nil else { return world.violate("\(name) opens a plan that has not arrived") }
            report(after: 0) { [unowned self] in .planOpened(updatesPerEpoch: UInt64(scenario.updatesPerEpoch)) }
        case .lane(let lane):
            if let shard = scenario.shards(ofLane: lane).first(where: { !disk.contains(.prepared($0)) }) {
                if world.coverage.faults[.cleanDisk] != nil || lost.remove(.prepared(shard)) != nil {
                    return report(after: 1) { .failed(job, "shard \(shard) has gone") }
                }
                return world.violate("\(name) opens lane \(lane) without shard \(shard)")
            }
            enqueue(.other, world.random.pick(1...50)) { [unowned self] in
                if membership == self.membership { open(lane) }
            }
        }
    }

    private func open(_ lane: LaneID) {
        let rows = BlobID.rows(UInt32(lane.rawValue))
        guard arrived.contains(rows) else {
            lost.remove(rows)
            return report(after: 0) { [unowned self] in
                let count = UInt32(scenario.size(of: rows)) / UInt32(Scenario.bytesPerRow)
                return .needs(.lane(lane), [Wanted(blob: rows, total: scenario.size(of: rows), rows: Array(0..<count))])
            }
        }
        lanes[lane] = LaneWork()
        report(after: 0) { .laneOpened(lane) }
    }

    // MARK: gradients

    private func compute(_ order: Order, _ lane: LaneID) {
        guard let work = lanes[lane] else { return world.violate("\(name) computes lane \(lane), which is not open") }
        guard let parameters, parameters.round == order.round else { return world.violate("\(name) computes without the parameters") }
        if order.purpose == .evaluate { return score(order.round, lane, work, parameters.values) }
        let figures = world.math.figures(update: order.update, lane: lane)
        var values = world.math.gradient(update: order.update, lane: lane, parameters.values)
        if scenario.brokenWorker == number, let first = values?.first { values?[0] = first + 1 }
        let membership = membership
        work.wanted = order.update
        enqueue(.gradient, world.random.pick(20...120)) { [unowned self] in
            guard work.wanted == order.update else { return }
            (work.update, work.gradient) = (order.update, values)
            guard membership == self.membership, lanes[lane] === work else { return }
            handle(
                .computed(
                    order.round, lane: lane, .init(selected: figures.selected, words: figures.words, loss: figures.loss)))
        }
    }

    private func score(_ round: Round, _ lane: LaneID, _ work: LaneWork, _ values: [Float]) {
        var figures = world.math.score(lane: lane, values)
        if scenario.brokenWorker == number, figures.selected > 0 { figures.loss += 1 }
        let membership = membership
        enqueue(.gradient, world.random.pick(20...120)) { [unowned self] in
            guard membership == self.membership, lanes[lane] === work else { return }
            work.scored = round.update
            handle(.computed(round, lane: lane, .init(selected: figures.selected, words: figures.words, loss: figures.loss)))
        }
    }

    private func contribute(_ contribution: Contribution) {
        if contribution.purpose == .evaluate {
            let lanes = world.math.tree.lanes(below: contribution.node)
            if lanes.contains(where: { self.lanes[$0]?.scored != contribution.update }) {
                world.violate("\(name) contributes scores of lanes \(lanes), which it does not have")
            }
            return send(.contribution(contribution))
        }
        var contribution = contribution
        var leaves: [LaneID: [Float]?] = [:]
        for lane in world.math.tree.lanes(below: contribution.node) {
            guard let work = lanes[lane], work.update == contribution.update else {
                return world.violate("\(name) contributes lane \(lane) of update \(contribution.update), which it does not have")
            }
            leaves[lane] = .some(work.gradient)
        }
        guard let sum = world.math.sum(contribution.node, leaves) else { return send(.contribution(contribution)) }
        contribution.hash = FakeMath.hash(sum)
        let size = scenario.size(of: contribution.blob)
        guard size > UInt64(WireLimits.piece) else { return send(.contribution(contribution), Parcel(values: sum)) }
        // What is said again keeps its number.
        let known = gradients.first { ($1.update, $1.node, $1.values) == (contribution.update, contribution.node, sum) }
        if known == nil { nextGradient += 1 }
        let number = known?.key ?? nextGradient
        gradients[number] = (contribution.update, contribution.node, sum)
        (contribution.byteCount, contribution.number) = (size, number)
        send(.contribution(contribution))
    }

    private func servePiece(_ request: FetchRequest, _ number: UInt32) {
        // A new connection or a new update: the request is late.
        guard let values = gradients[number]?.values else { return }
        send(
            .chunk(Chunk(blob: request.blob, offset: request.offset, total: scenario.size(of: request.blob))),
            Parcel(blob: request.blob, offset: request.offset, count: Int(request.length), values: values))
        world.coverage.gradientPieces += 1
    }

    private func serve(_ request: FetchRequest) {
        if case .gradient(let number) = request.blob { return servePiece(request, number) }
        let total = scenario.size(of: request.blob)
        guard case .prepared = request.blob, disk.contains(request.blob), request.offset < total else { return }
        let count = Int(min(UInt64(request.length), total - request.offset))
        send(
            .chunk(Chunk(blob: request.blob, offset: request.offset, total: total)),
            Parcel(blob: request.blob, offset: request.offset, count: count))
    }
}
