import TestSupport
import Testing

@testable import Base
@testable import Protocol

/// The worker's side, as transcripts.
@Suite struct WorkerTests {
    typealias Machine = WorkerStateMachine
    private static let run: UInt64 = 77
    private static let key = CacheKey(repeating: 3)

    private struct Script {
        var machine = Machine(
            hello: Hello(program: "1", host: "h", processID: 1, threads: 1, blas: "b", fingerprints: Fingerprints([.blas: 7])))
        var now: Milliseconds = 0

        mutating func tell(_ event: Machine.Event) -> [Machine.Effect] { machine.handle(event, now: now) }
        mutating func hear(_ message: CoordinatorMessage, payload: Payload? = nil) -> [Machine.Effect] {
            tell(.message(message, payload: payload))
        }

        /// A worker that has joined a run of four lanes, with these lanes open.
        mutating func open(_ lanes: [LaneID], parameterBytes: UInt64 = 4) {
            _ = tell(.tick)
            _ = hear(.welcome(run: WorkerTests.run, session: 1, description: "{}"))
            _ = tell(.joined(lanes: 4, parameterBytes: parameterBytes))
            for lane in lanes { _ = hear(.lease(lane: lane, planBytes: 0)) }
            _ = tell(.needs(.plan, []))
            _ = tell(.planOpened(updatesPerEpoch: 1_000))
            for lane in lanes { _ = tell(.laneOpened(lane)) }
        }

        mutating func order(
            _ lanes: [LaneID], leaves: [LaneID] = [], update: UInt64 = 0, _ purpose: Purpose = .train, roster: UInt32 = 1,
            buffer: BufferID? = nil, hash: UInt64 = 1_000
        ) -> [Machine.Effect] {
            let order = Order(
                run: WorkerTests.run, roster: roster, update: update, purpose: purpose, epoch: 0, updateInEpoch: update,
                parameterHash: 1_000, lanes: lanes,
                leaves: leaves)
            return hear(.begin(order), payload: buffer.map { .init(buffer: $0, count: 4, hash: hash) })
        }

        mutating func computed(_ lane: LaneID, update: UInt64 = 0, _ purpose: Purpose = .train) -> [Machine.Effect] {
            tell(
                .computed(
                    Round(update, purpose), lane: lane, .init(selected: UInt64(lane.rawValue), words: 10, loss: Double(lane.rawValue))))
        }
    }

    private func words(_ effects: [Machine.Effect]) -> [String] {
        effects.map { effect in
            switch effect {
            case .send(.hello(let hello)): "hello \(hello.session)"
            case .send(.laneReady(let lane)): "ready \(lane)"
            case .send(.fetch(let request)): "fetch \(request.blob) from \(request.offset)"
            case .send(.alive): "alive"
            case .send(.taken(let number)): "taken \(number)"
            case .send(.trouble(let what)): "trouble: \(what)"
            case .send(let message): "\(message)"
            case .join(let run, _): "join \(run)"
            case .locate(let job, _): "locate \(job)"
            case .store(let chunk, let buffer): "store \(chunk.offset) from buffer \(buffer)"
            case .perform(let job): "perform \(job)"
            case .closeLane(let lane): "close \(lane)"
            case .useParameters(let round, let buffer): "parameters of \(round.update) in buffer \(buffer)"
            case .hashParameters(let round): "hash parameters of \(round.update)"
            case .useStoredParameters(let round): "stored parameters of \(round.update)"
            case .compute(let order, let lane): "\(order.purpose == .train ? "compute" : "score") \(order.update) lane \(lane)"
            case .contribute(let c):
                "\(c.purpose == .train ? "contribute" : "scores of") \(c.update) \(ReductionTree(lanes: 4).lanes(below: c.node)) "
                    + "selected \(c.selected)"
            case .forget(let round): "forget before \(round.purpose == .train ? "" : "scoring ")\(round.update)"
            case .serve(let request): "serve \(request.blob)"
            case .release(let buffer): "release \(buffer)"
            case .log(let text): text
            case .leave(let reason, let departure): "leave \(departure): \(reason)"
            }
        }
    }

    @Test func scoresAVersionBeforeItTrainsIt() {
        var script = Script()
        script.open([0, 1])
        _ = script.order([0, 1], buffer: 1)
        for lane in [0, 1] as [LaneID] { _ = script.computed(lane) }
        #expect(
            words(script.order([0, 1], update: 1, .evaluate, buffer: 2)) == [
                "forget before scoring 1", "parameters of 1 in buffer 2", "score 1 lane 0", "score 1 lane 1",
            ])
        #expect(words(script.order([0, 1], buffer: 3)) == ["release 3"], "that update is over")
        #expect(words(script.computed(0, update: 1)) == [], "a gradient is not a score")
        #expect(words(script.computed(0, update: 1, .evaluate)) == [])
        #expect(words(script.computed(1, update: 1, .evaluate)) == ["scores of 1 0..<2 selected 1"])
        #expect(words(script.order([0, 1], update: 1, .evaluate)) == ["scores of 1 0..<2 selected 1"], "asked again, answered again")
        #expect(
            words(script.order([0, 1], update: 1, buffer: 4)) == [
                "forget before 1", "parameters of 1 in buffer 4", "compute 1 lane 0", "compute 1 lane 1",
            ])
        #expect(words(script.order([0, 1], update: 1, .evaluate, buffer: 5)) == ["release 5"], "that evaluation is over")
    }

    @Test func joinsPreparesAndComputes() {
        var script = Script()
        #expect(words(script.tell(.tick)) == ["hello 1"])
        #expect(words(script.tell(.tick)) == [])
        script.now = 1_000
        #expect(words(script.tell(.tick)) == ["hello 1"])
        #expect(words(script.hear(.welcome(run: 77, session: 1, description: "{}"))) == ["join 77"])
        #expect(words(script.hear(.welcome(run: 77, session: 1, description: "{}"))) == [], "twice")
        #expect(words(script.hear(.lease(lane: 2, planBytes: 9))) == [], "nothing is done before the run's sizes are known")
        #expect(words(script.tell(.joined(lanes: 4, parameterBytes: 4))) == [])
        #expect(words(script.hear(.prepare(shard: 4, textBytes: 3, key: Self.key))) == ["locate prepare(shard: 4)"])
        #expect(words(script.hear(.prepare(shard: 4, textBytes: 3, key: Self.key))) == [], "already in progress")
        #expect(
            words(script.tell(.needs(.prepare(shard: 4), [Wanted(blob: .model(0), total: 0), Wanted(blob: .text(4), total: 3)])))
                == ["fetch text(4) from 0"])
        #expect(
            words(script.hear(.chunk(Chunk(blob: .text(4), offset: 0, total: 3)), payload: .init(buffer: 1, count: 3, hash: 0)))
                == ["store 0 from buffer 1", "perform prepare(shard: 4)"])
        let digest = ShardDigest(1)
        let news = Machine.Effect.send(.prepared(shard: 4, size: 5, digest: digest))
        #expect(script.tell(.prepared(shard: 4, size: 5, digest: digest)) == [news])
        #expect(words(script.hear(.prepare(shard: 4, textBytes: 3, key: Self.key))) == ["locate prepare(shard: 4)"], "the message was lost")
        #expect(script.tell(.prepared(shard: 4, size: 5, digest: digest)) == [news])
        #expect(words(script.hear(.lease(lane: 2, planBytes: 9))) == ["locate plan"])
        #expect(words(script.hear(.lease(lane: 2, planBytes: 9))) == [])
        #expect(words(script.tell(.needs(.plan, []))) == ["perform plan"])
        #expect(words(script.tell(.planOpened(updatesPerEpoch: 10))) == ["locate lane(2)"])
        #expect(words(script.tell(.laneOpened(2))) == ["ready 2"])
        #expect(words(script.order([2], buffer: 7)) == ["forget before 0", "parameters of 0 in buffer 7", "compute 0 lane 2"])
        #expect(words(script.computed(2)) == ["contribute 0 2..<3 selected 2"])
        #expect(words(script.computed(2)) == [])
    }

    @Test func sendsTheLargestNodesAndLeavesWhereAnotherHoldsTheLaneToo() {
        var script = Script()
        script.open([0, 1, 2, 3])
        _ = script.order([0, 1, 2, 3], buffer: 1)
        for lane in [0, 3, 1] as [LaneID] { #expect(words(script.computed(lane)) == []) }
        #expect(
            words(script.order([0, 1, 2, 3], leaves: [3], roster: 2)) == ["contribute 0 0..<2 selected 1", "contribute 0 3..<4 selected 3"])
        #expect(words(script.computed(2)) == ["contribute 0 2..<3 selected 2"])
    }

    @Test func whatIsAskedForAgainIsSentAgain() {
        var script = Script()
        script.open([0, 1])
        _ = script.order([0], buffer: 1)
        _ = script.computed(0)
        #expect(words(script.order([0, 1], roster: 2)) == ["compute 0 lane 1"], "more work: what was sent is in transit")
        #expect(words(script.computed(1)) == ["contribute 0 0..<2 selected 1"])
        #expect(words(script.order([0, 1], roster: 2)) == ["contribute 0 0..<2 selected 1"], "the same again: the answer was lost")
        #expect(words(script.order([0], roster: 1)) == [], "an older order that arrives late")
    }

    @Test func damagedParametersAreAskedForAgain() {
        var script = Script()
        script.open([0])
        #expect(
            words(script.order([0], buffer: 4, hash: 999)) == [
                "forget before 0", "parameters of update 0 arrived damaged; asking for them again", "fetch parameters(1) from 0",
                "release 4",
            ])
        #expect(words(script.order([0], buffer: 5)) == ["parameters of 0 in buffer 5", "compute 0 lane 0"])
        #expect(words(script.order([0], update: 1)) == ["forget before 1", "fetch parameters(3) from 0"], "an order without them")
        #expect(words(script.order([0], update: 0, buffer: 6)) == ["release 6"], "an update that is over")
    }

    @Test func parametersComeInPieces() {
        var script = Script()
        let size = UInt64(WireLimits.piece) + 4
        script.open([0], parameterBytes: size)
        #expect(
            words(script.order([0])) == ["forget before 0", "fetch parameters(1) from 0", "fetch parameters(1) from \(WireLimits.piece)"])
        #expect(words(script.order([0])) == [], "they are in transit")
        let rest = Chunk(blob: .parameters(1), offset: UInt64(WireLimits.piece), total: size)
        let last = Payload(buffer: 1, count: 4, hash: 0)
        #expect(words(script.hear(.chunk(rest), payload: last)) == ["store \(WireLimits.piece) from buffer 1"])
        #expect(words(script.hear(.chunk(rest), payload: .init(buffer: 2, count: 4, hash: 0))) == ["release 2"], "twice")
        let first = Chunk(blob: .parameters(1), offset: 0, total: size)
        let whole = Payload(buffer: 3, count: WireLimits.piece, hash: 0)
        #expect(words(script.hear(.chunk(first), payload: whole)) == ["store 0 from buffer 3", "hash parameters of 0"])
        #expect(
            words(script.tell(.parametersCame(Round(0, .train), hash: 999))) == [
                "parameters of update 0 arrived damaged; asking for them again", "fetch parameters(1) from 0",
                "fetch parameters(1) from \(WireLimits.piece)",
            ])
        _ = script.hear(.chunk(first), payload: whole)
        _ = script.hear(.chunk(rest), payload: .init(buffer: 4, count: 4, hash: 0))
        #expect(
            words(script.tell(.parametersCame(Round(0, .train), hash: 1_000))) == [
                "stored parameters of 0", "taken 1", "compute 0 lane 0",
            ])
        #expect(words(script.hear(.chunk(first), payload: whole)) == ["release 3"], "what is in use is not overwritten")
        // The next round has other parameters.
        _ = script.order([0], update: 1)
        #expect(words(script.hear(.chunk(first), payload: whole)) == ["release 3"])
    }

    @Test func aWithdrawnLaneIsForgotten() {
        var script = Script()
        script.open([0, 1])
        _ = script.order([0, 1], buffer: 1)
        _ = script.computed(0)
        #expect(words(script.hear(.withdraw(lane: 0))) == ["close 0"])
        #expect(words(script.computed(1)) == ["contribute 0 1..<2 selected 1"], "lane 0's gradient has gone with it")
        #expect(words(script.hear(.lease(lane: 0, planBytes: 0))) == ["locate lane(0)"])
        #expect(words(script.tell(.laneOpened(0))) == ["ready 0"], "computed again only when it is ordered again")
        #expect(words(script.order([0, 1], roster: 2)) == ["compute 0 lane 0"])
        #expect(words(script.hear(.withdraw(lane: 3))) == [])
        _ = script.hear(.lease(lane: 3, planBytes: 0))
        _ = script.hear(.withdraw(lane: 3))
        #expect(words(script.tell(.laneOpened(3))) == ["close 3"], "withdrawn while it was being opened")
    }

    /// Of a lane that another worker answered for first, the late answer is still sent: it is compared.
    @Test func aLateLeafIsStillSent() {
        var script = Script()
        script.open([0, 1])
        _ = script.order([0, 1], leaves: [1], buffer: 1)
        #expect(
            words(script.order([0], update: 1, roster: 2, buffer: 2)) == [
                "forget before 1", "parameters of 1 in buffer 2", "compute 1 lane 0",
            ])
        #expect(words(script.computed(1, update: 0)) == ["contribute 0 1..<2 selected 1"])
        #expect(words(script.computed(0, update: 0)) == [], "not a leaf: nothing waits for it")
        #expect(words(script.computed(0, update: 1)) == ["contribute 1 0..<1 selected 0"])
    }

    @Test func disagreementEndsInAHello() {
        var script = Script()
        script.open([0])
        var order = Order(run: 78, roster: 1, update: 0, epoch: 0, updateInEpoch: 0, parameterHash: 1, lanes: [0], leaves: [])
        #expect(words(script.hear(.begin(order), payload: .init(buffer: 3, count: 4, hash: 1))) == ["hello 2", "release 3"], "another run")
        #expect(words(script.hear(.lease(lane: 1, planBytes: 0))) == [], "nothing counts before the answer")
        #expect(words(script.hear(.welcome(run: 78, session: 1, description: ""))) == [], "an answer to an older hello")
        #expect(words(script.hear(.welcome(run: 78, session: 2, description: ""))) == ["join 78"])
        _ = script.tell(.joined(lanes: 4, parameterBytes: 4))
        order.run = 78
        #expect(words(script.hear(.begin(order))) == ["hello 3"], "an order without a lease")
        _ = script.hear(.welcome(run: 78, session: 3, description: ""))
        #expect(words(script.hear(.sayHello)) == ["hello 4"])
        #expect(words(script.hear(.sayHello)) == [], "one hello is in transit")
        script.now += 1_000
        #expect(words(script.hear(.sayHello)) == ["hello 4"])
    }

    @Test func endsAsItIsTold() {
        var script = Script()
        script.open([0])
        #expect(words(script.hear(.finish(reason: "stopped", final: false))) == ["leave paused: stopped"])
        script.now += 1_000
        #expect(words(script.tell(.tick)) == ["hello 2"], "until the coordinator is back")
        #expect(words(script.hear(.finish(reason: "done", final: true))) == ["leave finished: done"])
        #expect(words(script.hear(.refuse("too old"))) == ["leave refused: too old"])
    }

    @Test func troubleGivesTheLaneBack() {
        var script = Script()
        script.open([0])
        _ = script.hear(.lease(lane: 1, planBytes: 0))
        #expect(words(script.tell(.failed(.lane(1), "the disk is full"))) == ["trouble: the disk is full"])
        #expect(words(script.tell(.laneOpened(1))) == ["close 1"])
        #expect(words(script.hear(.lease(lane: 1, planBytes: 0))) == ["locate lane(1)"])
    }

    /// A chunk that could not be written leaves a hole: later chunks are dropped, and the lane is not opened.
    @Test func aBlobWithAHoleIsGivenUp() {
        var script = Script()
        script.open([0])
        let size = UInt64(WireLimits.chunk) + 5
        _ = script.hear(.lease(lane: 1, planBytes: 0))
        _ = script.tell(.needs(.lane(1), [Wanted(blob: .prepared(3), total: size)]))
        let first = Payload(buffer: 1, count: WireLimits.chunk, hash: 0)
        #expect(words(script.hear(.chunk(Chunk(blob: .prepared(3), offset: 0, total: size)), payload: first)) == ["store 0 from buffer 1"])
        #expect(words(script.tell(.notStored(.prepared(3), "the disk is full"))) == ["trouble: the disk is full"])
        let rest = Payload(buffer: 2, count: 5, hash: 0)
        let late = Chunk(blob: .prepared(3), offset: UInt64(WireLimits.chunk), total: size)
        #expect(words(script.hear(.chunk(late), payload: rest)) == ["release 2"])
        #expect(words(script.hear(.lease(lane: 1, planBytes: 0))) == ["locate lane(1)"], "it starts over")
    }

    /// Figures that are impossible in this run are refused before they are used.
    @Test(
        arguments: [
            .lease(lane: 4, planBytes: 9), .lease(lane: 0, planBytes: .max), .withdraw(lane: 4), .fetch(FetchRequest(blob: .plan)),
            .prepare(shard: 0, textBytes: .max, key: key), .prepare(shard: 0, textBytes: 0, key: key),
            .begin(order([4])), .begin(order([0, 0])), .begin(order([0], leaves: [1])), .begin(order([0], update: .max)),
            .begin(order([0], update: 3, inEpoch: 4)),
        ] as [CoordinatorMessage]) func impossibleFiguresAreRefused(message: CoordinatorMessage)
    {
        var script = Script()
        script.open([0])
        let before = script.machine
        let said = words(script.hear(message))
        #expect(said.count == 1 && said.first?.hasPrefix("refused from the coordinator: ") == true, "\(said)")
        #expect(script.machine.leased == before.leased)
        let payload = Payload(buffer: 9, count: 3, hash: 1)
        #expect(words(script.hear(message, payload: payload)).last == "release 9")
    }

    private static func order(
        _ lanes: [LaneID], leaves: [LaneID] = [], update: UInt64 = 0, inEpoch: UInt64 = 0
    ) -> Order {
        Order(
            run: run, roster: 1, update: update, epoch: 0, updateInEpoch: inEpoch, parameterHash: 1_000, lanes: lanes, leaves: leaves)
    }

    /// An update that is not at its place in the plan would be read from beyond the lane's end.
    @Test func anOrderOfAnotherEpochIsRefused() {
        var script = Script()
        script.open([0])
        let wrong = Self.order([0], update: 5_000, inEpoch: 3)
        let said = words(script.hear(.begin(wrong), payload: Payload(buffer: 1, count: 4, hash: 1_000)))
        #expect(!said.contains { $0.hasPrefix("compute") } && said.contains { $0.hasPrefix("refused from the coordinator") }, "\(said)")
    }

    @Test func saysThatItIsAlive() {
        var script = Script()
        script.open([0])
        script.now += 999
        #expect(words(script.tell(.tick)) == [])
        script.now += 1
        #expect(words(script.tell(.tick)) == ["alive"])
        #expect(words(script.tell(.tick)) == [])
    }
}
