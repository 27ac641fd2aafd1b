import Testing

@testable import Base
@testable import Protocol

/// Orders, answers, lost and late workers, as transcripts. Lanes 0 and 1 are worker 1's, lanes 2 and 3 worker 2's.
@Suite struct UpdateTests {
    private let left = TreeNode(level: 1, index: 0)
    private let right = TreeNode(level: 1, index: 1)

    private func script() -> CoordinatorScript {
        var script = CoordinatorScript()
        #expect(words(script.begin(1, 2)) == ["1 <- order 0 [0, 1] +parameters", "2 <- order 0 [2, 3] +parameters"])
        return script
    }

    @Test func nodesCoverTheTree() {
        var script = script()
        #expect(words(script.answer(2, right)) == [])
        #expect(words(script.answer(1, TreeNode(lane: 1))) == [])
        #expect(words(script.answer(1, TreeNode(lane: 0))) == ["step 0 [\"0..<1 of 1\", \"1..<2 of 1\", \"2..<4 of 2\"]"])
        #expect(words(script.stepped()) == ["1 <- order 1 [0, 1] +parameters", "2 <- order 1 [2, 3] +parameters"])
        #expect(script.machine.counters.updates == 1)
    }

    @Test func aLostWorkersLanesAreOrderedAtOnce() {
        var script = script()
        _ = script.answer(2, right)
        let effects = script.tell(.peerLost(1, reason: "its connection is gone"))
        #expect(words(effects) == ["2 <- lease 0", "2 <- lease 1"])
        #expect(words(script.hear(2, .laneReady(1))) == ["2 <- order 0 [1, 2, 3]"])
        #expect(words(script.hear(2, .laneReady(0))) == ["2 <- order 0 [0, 1, 2, 3]"])
        #expect(words(script.answer(2, TreeNode(lane: 1))) == [])
        // The whole sum makes the parts superfluous.
        #expect(words(script.answer(2, TreeNode(level: 2, index: 0))) == ["release 2", "release 1", "step 0 [\"0..<4 of 2\"]"])
    }

    @Test func whatALostWorkerSentStillCounts() {
        var script = script()
        _ = script.answer(1, left)
        #expect(words(script.tell(.peerLost(1, reason: ""))) == ["2 <- lease 0", "2 <- lease 1"])
        #expect(words(script.answer(2, right)) == ["step 0 [\"0..<2 of 1\", \"2..<4 of 2\"]"])
    }

    @Test func aJoinerWorksInTheNextUpdate() {
        var script = script()
        let effects = script.join(3)
        #expect(words(effects) == ["3 <- welcome 1", "3 <- lease 1"] || words(effects).count == 2)
        guard case .send(3, .lease(let lane, _))? = effects.last(where: { if case .send = $0 { true } else { false } }) else {
            return #expect(Bool(false), "no lease for the joiner")
        }
        #expect(words(script.hear(3, .laneReady(lane))) == [], "moves never interrupt an update")
        _ = script.answer(1, left)
        _ = script.answer(2, right)
        let orders = words(script.stepped())
        #expect(orders.contains("3 <- order 1 [\(lane)] +parameters") && orders.filter { $0.contains("withdraw \(lane)") }.count == 1)
    }

    @Test func aLateLaneIsLeasedASecondTimeAndTheFirstAnswerCounts() {
        var script = script()
        _ = script.answer(2, right)
        var effects = script.wait(1_900)
        #expect(words(effects) == [])
        effects = script.wait(100)
        #expect(words(effects).filter { $0.hasPrefix("2") } == ["2 <- lease 0"], "as many second leases as it has threads")
        #expect(logs(effects) == ["lane 0 is late with worker 1 (h1, pid 1): also leased to worker 2 (h2, pid 2)"])
        #expect(words(script.hear(2, .laneReady(0))) == ["2 <- order 0 [0, 2, 3] leaves [0]", "1 <- order 0 [0, 1] leaves [0]"])
        #expect(words(script.answer(2, TreeNode(lane: 0))) == [])
        effects = script.wait(100)
        #expect(words(effects) == ["2 <- lease 1"], "the first is done: the next")
        #expect(
            words(script.answer(1, TreeNode(lane: 1))) == ["step 0 [\"0..<1 of 2\", \"1..<2 of 1\", \"2..<4 of 2\"]", "2 <- withdraw 1"]
                || script.machine.phase == .stepping)
        #expect(script.machine.lanes[0].active?.peer == 2 && script.machine.lanes[0].leaving?.peer == 1)
        // Its late answer is compared, and then it loses the lane.
        _ = script.stepped()
        effects = script.answer(1, TreeNode(lane: 0), hash: 6)
        #expect(words(effects).contains("1 <- withdraw 0"))
        #expect(script.machine.counters.mismatches == 1)
        #expect(logs(effects).first?.contains("one of the machines is broken") == true)
    }

    @Test func equalSecondAnswersAreNoNews() {
        var script = script()
        _ = script.answer(1, TreeNode(lane: 0))
        let effects = script.answer(1, TreeNode(lane: 0))
        #expect(words(effects) == ["release 2"] && logs(effects) == [])
        #expect(script.machine.counters.duplicates == 1 && script.machine.counters.mismatches == 0)
        #expect(logs(script.answer(1, TreeNode(lane: 0), hash: 6)).count == 1)
    }

    @Test func whatDoesNotFitIsRefused() {
        var script = script()
        var wrong: [Contribution] = []
        func change(_ edit: (inout Contribution) -> Void) {
            var contribution = CoordinatorScript.contribution(script.machine, left, update: 0)
            edit(&contribution)
            wrong.append(contribution)
        }
        change { $0.run = 1 }
        change { $0.hash = 6 }
        change { $0.parameterHash = 1 }
        for (index, contribution) in wrong.enumerated() {
            let effects = script.hear(1, .contribution(contribution), bytes: 8, hash: 5)
            #expect(words(effects) == ["release \(index + 1)"], "\(contribution)")
        }
        #expect(script.machine.counters.refusals == 3)
        // Another worker's lanes, another update: perhaps the same sum, but nothing waits for it.
        #expect(words(script.answer(1, right)) == ["release 4"])
        #expect(words(script.answer(1, left, update: 1)) == ["release 5"])
        #expect(words(script.answer(1, left, update: .max, parameterHash: 0)) == ["release 6"])
        #expect(script.machine.open?.received.isEmpty == true)
    }

    @Test func anEmptyMicroBatchNeedsNoPayload() {
        var script = script()
        var empty = CoordinatorScript.contribution(script.machine, left, update: 0, hash: 0)
        empty.selected = 0
        #expect(words(script.hear(1, .contribution(empty))) == [])
        #expect(words(script.answer(2, right)) == ["step 0 [\"0..<2 of 1\", \"2..<4 of 2\"]"])
    }

    @Test func remindersComeLessAndLessOften() {
        var script = script()
        _ = script.answer(2, right)
        var times: [Milliseconds] = []
        for _ in 0..<400 {
            _ = script.hear(1, .alive)
            _ = script.hear(2, .alive)
            if words(script.wait(100)).contains(where: { $0.hasPrefix("1 <- order 0 [0, 1]") && !$0.contains("leaves") }) {
                times.append(script.now)
            }
        }
        #expect(times == [2_000, 6_000, 14_000, 30_000])
    }

    // MARK: waiting

    @Test func aRunThatStandsStillSaysWhy() {
        var script = CoordinatorScript()
        _ = script.tell(.tick)
        let joined = script.join(1) + script.join(2) + script.plan()
        func waits(_ seconds: Int, _ script: inout CoordinatorScript) -> [String] {
            (0..<10 * seconds).flatMap { _ in
                let alive = script.hear(1, .alive) + script.hear(2, .alive)
                return logs(alive + script.wait(100)).filter { $0.hasPrefix("waiting") }
            }
        }
        let unopened = "worker 1 (h1, pid 1) has not opened 2 of 4 lanes; worker 2 (h2, pid 2) has not opened 2 of 4 lanes"
        #expect(waits(9, &script) == [])
        #expect(waits(2, &script) == ["waiting for 10 s: \(unopened)"])
        #expect(waits(18, &script) == ["waiting for 20 s: \(unopened)"])
        _ = script.open(joined)
        _ = script.answer(1, left)
        #expect(waits(11, &script) == ["waiting for 10 s: worker 2 (h2, pid 2) has not computed 2 of 4 lanes"])
        _ = script.answer(2, right)
        #expect(waits(20, &script) == [], "it is the coordinator's turn")
        _ = script.stepped(evaluation: 9)
        #expect(waits(8, &script) == [])
    }

    // MARK: stopping

    @Test func stoppingFinishesTheOpenUpdate() {
        var script = script()
        #expect(words(script.tell(.stopRequested)) == [])
        _ = script.answer(1, left)
        #expect(words(script.answer(2, right)) == ["step 0 [\"0..<2 of 1\", \"2..<4 of 2\"]"])
        #expect(words(script.stepped()) == ["stop"])
        #expect(words(script.hear(3, .hello(CoordinatorScript.hello(3)))) == [], "nobody joins a run that has ended")
        #expect(words(script.wait(20_000)) == [])
    }

    @Test func stoppingDropsAnUpdateThatDoesNotCompleteInTime() {
        var script = script()
        _ = script.answer(1, left)
        _ = script.tell(.stopRequested)
        #expect(words(script.wait(1_900)).contains("stop") == false)
        #expect(words(script.wait(100)) == ["release 1", "stop"])
    }

    @Test func stoppingAtRestIsAtOnce() {
        var preparing = CoordinatorScript(shards: 1)
        _ = preparing.join(1)
        #expect(words(preparing.tell(.stopRequested)) == ["stop"])
        var planning = CoordinatorScript()
        #expect(words(planning.tell(.tick)) == ["make the plan"])
        #expect(words(planning.tell(.stopRequested)) == ["stop"])
        #expect(words(planning.plan()) == [])
        var waiting = CoordinatorScript()
        _ = waiting.tell(.tick)
        _ = waiting.plan()
        #expect(words(waiting.tell(.stopRequested)) == ["stop"])
    }

    @Test func aRunThatIsDoneAsksForNothing() {
        var script = CoordinatorScript()
        _ = script.tell(.tick)
        _ = script.join(1)
        #expect(words(script.plan(first: 100, end: 100)) == ["complete"])
    }

    // MARK: preparing

    @Test func shardsOfTheLostAndTheSlowGoToOthers() {
        var script = CoordinatorScript(shards: 2)
        #expect(words(script.join(1)) == ["1 <- welcome 1", "1 <- prepare 0", "1 <- prepare 1"])
        #expect(words(script.join(2)) == ["2 <- welcome 1"])
        #expect(words(script.tell(.peerLost(1, reason: ""))) == ["2 <- prepare 0", "2 <- prepare 1"])
        #expect(words(script.join(3)) == ["3 <- welcome 1"])
        var given: [String] = []
        for _ in 0..<601 {
            for peer in [2, 3] as [PeerID] { _ = script.hear(peer, .alive) }
            given += words(script.wait(100)).filter { $0.hasPrefix("3") }
        }
        #expect(given.prefix(2) == ["3 <- prepare 0", "3 <- prepare 1"])
    }

    /// A single worker's claim does not end a run: the shell checks for itself.
    @Test func aFaultOfTheTextIsConfirmed() {
        var script = CoordinatorScript(shards: 1)
        _ = script.join(1)
        #expect(words(script.hear(1, .chunk(Chunk(blob: .prepared(0), offset: 0, total: 9)), bytes: 9)) == ["release 1"], "not asked for")
        #expect(
            words(script.hear(1, .prepareFailed(shard: 0, line: 3, what: "no JSON", remedy: "fix it"))) == [
                "confirm the fault of shard 0, line 3, by 1"
            ])
        #expect(
            words(script.tell(.faultConfirmed(shard: 0, line: 3, what: "no JSON", remedy: "fix it"))) == ["fail: shard 0, line 3: no JSON"])
    }

    /// Only workers that were given a shard are asked for it, and each is held to its own announcement.
    @Test func announcementsAreTheAnnouncersOwn() {
        var script = CoordinatorScript(shards: 1)
        _ = script.join(1)
        _ = script.join(2)
        #expect(words(script.hear(2, .prepared(shard: 0, size: 7, digest: ShardDigest(7)))) == [], "it was not given to this one")
        _ = script.hear(1, .prepared(shard: 0, size: 9, digest: ShardDigest(9)))
        #expect(words(script.tell(.shardAbsent(0, 1))) == ["expect shard 0 of 1, 9 bytes", "1 <- fetch prepared(0) from 0"])
        // It leaves before it has sent anything; the next worker's shard is a different one.
        #expect(words(script.tell(.peerLost(1, reason: ""))) == ["2 <- prepare 0"])
        _ = script.hear(2, .prepared(shard: 0, size: 8, digest: ShardDigest(8)))
        #expect(script.tell(.shardAbsent(0, 2)).contains(.expect(shard: 0, 2, size: 8, digest: ShardDigest(8))))
        _ = script.hear(2, .chunk(Chunk(blob: .prepared(0), offset: 0, total: 8)), bytes: 8)
        #expect(words(script.tell(.shardStored(0))) == ["make the plan"])
        #expect(script.machine.peers[2]?.standing == .good)
    }

    /// A chunk that could not be written leaves a hole: those after it must not complete the file.
    @Test func aShardWithAHoleIsFetchedFromItsStart() {
        var script = CoordinatorScript(shards: 1, textBytes: 2_000)
        let size = UInt64(WireLimits.chunk) + 5
        _ = script.join(1)
        let announcement = WorkerMessage.prepared(shard: 0, size: size, digest: ShardDigest(9))
        _ = script.hear(1, announcement)
        let requests = ["1 <- fetch prepared(0) from 0", "1 <- fetch prepared(0) from \(WireLimits.chunk)"]
        #expect(words(script.tell(.shardAbsent(0, 1))).suffix(2) == requests)
        _ = script.hear(1, .chunk(Chunk(blob: .prepared(0), offset: 0, total: size)), bytes: WireLimits.chunk)
        #expect(words(script.tell(.shardNotStored(0, 1))) == [])
        let rest = Chunk(blob: .prepared(0), offset: UInt64(WireLimits.chunk), total: size)
        #expect(words(script.hear(1, .chunk(rest), bytes: 5)) == ["release 2"])
        _ = script.hear(1, announcement)
        #expect(words(script.tell(.shardAbsent(0, 1))).suffix(2) == requests)
    }

    @Test func aShardThatIsNotWhatWasAnnouncedIsNobodysFaultButItsSenders() {
        var script = CoordinatorScript(shards: 1)
        _ = script.join(1)
        _ = script.hear(1, .prepared(shard: 0, size: 9, digest: ShardDigest(9)))
        _ = script.tell(.shardAbsent(0, 1))
        _ = script.hear(1, .chunk(Chunk(blob: .prepared(0), offset: 0, total: 9)), bytes: 9)
        #expect(words(script.tell(.shardNotStored(0, 1))) == [])
        #expect(script.machine.peers[1]?.standing == .good, "the coordinator's disk is full")
        _ = script.hear(1, .prepared(shard: 0, size: 9, digest: ShardDigest(9)))
        #expect(words(script.tell(.shardAbsent(0, 1))) == ["expect shard 0 of 1, 9 bytes", "1 <- fetch prepared(0) from 0"])
        _ = script.tell(.shardDamaged(0, 1))
        #expect(script.machine.peers[1]?.standing.isQuarantined(script.now) == true)
    }
}
