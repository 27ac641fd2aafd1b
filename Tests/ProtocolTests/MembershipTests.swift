import Testing

@testable import Base
@testable import Protocol

/// Joining, being refused, leaving and coming back, as transcripts.
@Suite struct MembershipTests {
    @Test func aWorkerJoinsAndTrains() {
        var script = CoordinatorScript(lanes: 2, shards: 1)
        #expect(words(script.join(1)) == ["1 <- welcome 1", "1 <- prepare 0"])
        #expect(
            words(script.hear(1, .prepared(shard: 0, size: 9, digest: ShardDigest(2)))) == ["locate shard 0 of 1"])
        #expect(words(script.tell(.shardAbsent(0, 1))) == ["expect shard 0 of 1, 9 bytes", "1 <- fetch prepared(0) from 0"])
        #expect(
            words(script.hear(1, .chunk(Chunk(blob: .prepared(0), offset: 0, total: 9)), bytes: 9)) == ["store 0 from buffer 1, the last"])
        #expect(words(script.tell(.shardStored(0))) == ["make the plan"])
        #expect(words(script.plan(end: 2)) == ["1 <- lease 0", "1 <- lease 1"])
        #expect(words(script.hear(1, .laneReady(0))) == [])
        #expect(words(script.hear(1, .laneReady(1))) == ["1 <- order 0 [0, 1] +parameters"])
        #expect(words(script.answer(1, TreeNode(level: 1, index: 0)), lanes: 2) == ["step 0 [\"0..<2 of 1\"]"])
        #expect(words(script.stepped()) == ["1 <- order 1 [0, 1] +parameters"])
        #expect(words(script.answer(1, TreeNode(level: 1, index: 0), update: 1), lanes: 2) == ["step 1 [\"0..<2 of 1\"]"])
        #expect(words(script.stepped(1)) == ["complete"])
    }

    @Test func aStrangerIsToldToSayHello() {
        var script = CoordinatorScript()
        _ = script.tell(.tick)
        #expect(words(script.hear(5, .alive)) == ["5 <- say hello"])
        #expect(words(script.answer(5, TreeNode(lane: 0))) == ["5 <- say hello", "release 1"])
        #expect(script.machine.workerCount == 0)
    }

    @Test func anotherKindOfWorkerIsRefused() {
        var script = CoordinatorScript(strictBits: true)
        _ = script.tell(.tick)
        var hello = CoordinatorScript.hello(1)
        hello.protocolVersion = 9
        #expect(
            words(script.hear(1, .hello(hello))) == [
                "1 <- refuse: it speaks protocol version 9, the coordinator 6; install the same t2v on both", "drop 1",
            ])
        hello = CoordinatorScript.hello(1)
        hello.program = "2"
        #expect(words(script.hear(1, .hello(hello)))[0] == "1 <- refuse: it is t2v 2, the coordinator 1; install the same version on both")
        hello = CoordinatorScript.hello(1)
        hello.fingerprints[.blas] = 8
        #expect(words(script.hear(1, .hello(hello))).first?.hasPrefix("1 <- refuse: its arithmetic gives other bits") == true)
        hello = CoordinatorScript.hello(1)
        hello.blas = "Zen"
        #expect(words(script.hear(1, .hello(hello))).first?.hasPrefix("1 <- refuse: its arithmetic gives other bits") == true)
        #expect(script.machine.counters.refusals == 4 && script.machine.workerCount == 0)

        var lenient = CoordinatorScript()
        let effects = lenient.hear(1, .hello(hello))
        #expect(words(effects).first == "1 <- welcome 1")
        #expect(logs(effects).first?.contains("gives other bits (OpenBLAS Zen, here Haswell)") == true)
    }

    @Test func comparesTheArithmeticOfTheRun() {
        var hello = CoordinatorScript.hello(1)
        hello.blas = "Zen"
        hello.fingerprints[.blas] = 8
        var script = CoordinatorScript(strictBits: true, arithmetic: .native)
        #expect(words(script.hear(1, .hello(hello))).first == "1 <- welcome 1", "the run does not use OpenBLAS")
        hello = CoordinatorScript.hello(2)
        hello.fingerprints[.native] = 8
        #expect(words(script.hear(2, .hello(hello))).first?.hasPrefix("2 <- refuse: its CPU gives other bits") == true)
        script = CoordinatorScript(arithmetic: .bf16)
        #expect(
            words(script.hear(1, .hello(CoordinatorScript.hello(1)))).first
                == "1 <- refuse: its CPU cannot compute with bf16, as this run does; use another host, or precision float32")
    }

    @Test func aRepeatedHelloChangesNothing() {
        var script = CoordinatorScript()
        _ = script.begin(1, 2)
        let lanes = script.machine.lanes
        #expect(words(script.join(1)) == ["1 <- welcome 1"])
        #expect(script.machine.lanes == lanes)
        #expect(words(script.hear(1, .hello(CoordinatorScript.hello(1, session: 0)))) == [], "older than the last")
    }

    /// The worker has forgotten everything: it keeps its lanes, and opens them again.
    @Test func aNewHelloBeginsAnew() {
        var script = CoordinatorScript()
        _ = script.begin(1)
        let effects = script.hear(1, .hello(CoordinatorScript.hello(1, session: 2)))
        #expect(words(effects) == ["1 <- welcome 2", "1 <- lease 0", "1 <- lease 1", "1 <- lease 2", "1 <- lease 3"])
        #expect(
            words(script.open(effects)) == [
                "1 <- order 0 [0] +parameters", "1 <- order 0 [0, 1]", "1 <- order 0 [0, 1, 2]", "1 <- order 0 [0, 1, 2, 3]",
            ])
    }

    @Test func aWorkerOnAnotherConnectionReplacesItself() {
        var script = CoordinatorScript(lanes: 2)
        _ = script.begin(1, 2)
        let effects = script.hear(9, .hello(CoordinatorScript.hello(9, session: 2, instance: 1)))
        #expect(words(effects) == ["2 <- lease 0", "drop 1", "9 <- welcome 2", "9 <- lease 1"])
        #expect(script.machine.peers.keys.sorted() == [2, 9])
        #expect(logs(effects).first == "lost worker 1 (h1, pid 1): it is back on another connection")
    }

    @Test func leavingAndSilenceMoveTheLanes() {
        var script = CoordinatorScript(lanes: 2)
        _ = script.begin(1, 2)
        var effects = script.hear(1, .leaving)
        #expect(words(effects) == ["2 <- lease 0", "drop 1"])
        #expect(words(script.open(effects)) == ["2 <- order 0 [0, 1]"], "it has the parameters already")
        effects = script.wait(8_000)
        #expect(words(effects).suffix(1) == ["drop 2"])
        #expect(logs(effects).suffix(2) == ["lost worker 2 (h2, pid 2): it has been silent for 8 s", "no worker is left: waiting for one"])
    }

    /// Messages that arrived while the coordinator was suspended are still in its sockets.
    @Test func aCoordinatorThatStoodStillBlamesNobody() {
        var script = CoordinatorScript(lanes: 2)
        _ = script.begin(1, 2)
        _ = script.wait(500)
        script.now += 60_000
        let effects = script.tell(.tick)
        #expect(script.machine.workerCount == 2)
        #expect(!words(effects).contains { $0.contains("lease") })
        _ = script.wait(8_000)
        #expect(script.machine.workerCount == 0)
    }

    @Test func trainingWaitsForEnoughWorkers() {
        var script = CoordinatorScript(lanes: 2, minimumWorkers: 2)
        _ = script.tell(.tick)
        _ = script.join(1)
        let effects = script.plan()
        #expect(words(effects) == [])
        #expect(logs(effects) == ["1 of 2 workers are here: waiting for the others"])
        #expect(words(script.open(script.join(2))) == ["1 <- order 0 [0] +parameters", "2 <- order 0 [1] +parameters"])
        // Once it is under way, one is enough.
        #expect(words(script.open(script.tell(.peerLost(1, reason: "gone")))) == ["2 <- order 0 [0, 1]"])
    }

    @Test func troubleTakesTheLanesAndWaits() {
        var script = CoordinatorScript(lanes: 2)
        _ = script.begin(1)
        #expect(words(script.hear(1, .trouble("the disk is full"))) == ["1 <- withdraw 0", "1 <- withdraw 1"])
        #expect(words(script.hear(1, .trouble("the disk is full"))) == [], "one fault is reported many times")
        for _ in 0..<49 {
            #expect(words(script.wait(100)) == [])
            _ = script.hear(1, .alive)
        }
        #expect(words(script.wait(100)) == ["1 <- lease 0", "1 <- lease 1"])
    }
}
