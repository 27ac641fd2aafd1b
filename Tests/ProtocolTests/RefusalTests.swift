import Testing

@testable import Base
@testable import Protocol

/// Messages that no honest worker sends: the peer is refused and forgotten, and nothing else happens.
@Suite struct RefusalTests {
    private static let root = TreeNode(level: 2, index: 0)

    private static func contribution(
        _ node: TreeNode = root, selected: UInt64 = 3, words: UInt64 = 9, losses: Int = 4
    ) -> WorkerMessage {
        .contribution(
            Contribution(
                run: CoordinatorScript.run, roster: 0, update: 0, parameterHash: 1_000, node: node, selected: selected, words: words,
                losses: [Double](repeating: 1, count: losses), hash: 5))
    }

    /// - Parameter bytes: of the payload, whose hash is the one that the header names.
    private func refuses(_ message: WorkerMessage, bytes: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
        var script = CoordinatorScript(lanes: 4, shards: 2)
        _ = script.tell(.shardStored(0))
        _ = script.tell(.shardStored(1))
        _ = script.begin(1, 2)
        let effects = words(script.hear(1, message, bytes: bytes, hash: 5))
        #expect(effects.contains { $0.hasPrefix("1 <- refuse: it sent") }, "\(effects)", sourceLocation: sourceLocation)
        #expect(effects.contains("drop 1"), sourceLocation: sourceLocation)
        #expect(script.machine.peers.keys.sorted() == [2], sourceLocation: sourceLocation)
        #expect(script.machine.counters.refusals == 1, sourceLocation: sourceLocation)
        #expect(script.machine.phase == .training && script.machine.open?.received.isEmpty == true, sourceLocation: sourceLocation)
        if bytes != nil { #expect(effects.contains { $0.hasPrefix("release") }, sourceLocation: sourceLocation) }
    }

    @Test func impossibleFiguresOfContributions() {
        refuses(Self.contribution(words: .max), bytes: 8)
        refuses(Self.contribution(words: 401), bytes: 8)
        refuses(Self.contribution(selected: 10), bytes: 8)
        refuses(Self.contribution(selected: .max, words: .max), bytes: 8)
        refuses(Self.contribution(losses: 3), bytes: 8)
        refuses(Self.contribution(TreeNode(level: 9, index: 0)), bytes: 8)
        refuses(Self.contribution(TreeNode(level: 255, index: .max)), bytes: 8)
        refuses(Self.contribution(TreeNode(level: 0, index: 4), losses: 1), bytes: 8)
        refuses(Self.contribution(selected: 0), bytes: 8)
        refuses(Self.contribution())
    }

    @Test func impossibleGradients() {
        func announced(_ byteCount: UInt64, selected: UInt64 = 3, purpose: Purpose = .train) -> WorkerMessage {
            guard case .contribution(var contribution) = Self.contribution(selected: selected) else { return .alive }
            (contribution.byteCount, contribution.purpose) = (byteCount, purpose)
            return .contribution(contribution)
        }
        refuses(announced(9))
        refuses(announced(.max))
        refuses(announced(8), bytes: 8)
        refuses(announced(8, selected: 0))
        refuses(announced(8, purpose: .evaluate))
        refuses(.chunk(Chunk(blob: .gradient(1), offset: 0, total: 9)), bytes: 9)
    }

    @Test func impossibleFiguresOfEvaluations() {
        func scores(selected: UInt64 = 3, words: UInt64 = 9) -> WorkerMessage {
            var contribution = Contribution(
                run: CoordinatorScript.run, roster: 0, update: 0, purpose: .evaluate, parameterHash: 1_000, node: Self.root,
                selected: selected, words: words, losses: [1, 2, 3, 4], hash: 0)
            contribution.hash = 5
            return .contribution(contribution)
        }
        refuses(scores(), bytes: 8)
        refuses(scores(words: 201))
        refuses(scores(selected: 10))
    }

    @Test func newsOfWhatIsNotThere() {
        refuses(.laneReady(4))
        refuses(.prepared(shard: 2, size: 1, digest: ShardDigest(0)))
        refuses(.prepared(shard: 0, size: .max, digest: ShardDigest(0)))
        refuses(.prepared(shard: 0, size: 0, digest: ShardDigest(0)))
        refuses(.prepareFailed(shard: 2, line: 0, what: "", remedy: ""))
        refuses(.prepareFailed(shard: 0, line: .max, what: "", remedy: ""))
        refuses(.prepareFailed(shard: 0, line: -2, what: "", remedy: ""))
        refuses(.chunk(Chunk(blob: .plan, offset: 0, total: 9)), bytes: 9)
        refuses(.chunk(Chunk(blob: .prepared(2), offset: 0, total: 9)), bytes: 9)
        refuses(.chunk(Chunk(blob: .prepared(0), offset: .max, total: 9)), bytes: 9)
        refuses(.chunk(Chunk(blob: .prepared(0), offset: 1, total: 9)), bytes: 9)
        refuses(.chunk(Chunk(blob: .prepared(0), offset: 0, total: .max)), bytes: WireLimits.chunk + 1)
        refuses(.chunk(Chunk(blob: .prepared(0), offset: 0, total: 9)))
        refuses(.alive, bytes: 1)
        refuses(.trouble("x"), bytes: 1)
    }

    /// A payload with the right hash that is not a gradient.
    @Test func aGradientThatIsNone() {
        var script = CoordinatorScript()
        _ = script.begin(1, 2)
        let message = WorkerMessage.contribution(CoordinatorScript.contribution(script.machine, TreeNode(level: 1, index: 0), update: 0))
        let payload = Payload(buffer: 9, count: 8, hash: 5, fault: "gradient ends inside its bitmap")
        let effects = words(script.tell(.message(1, message, payload: payload)))
        #expect(effects.contains("drop 1") && effects.last == "release 9", "\(effects)")
        #expect(script.machine.phase == .training && script.machine.peers.keys.sorted() == [2])
    }

    /// What only the shell can tell: a request for something that does not exist.
    @Test func whatTheShellFinds() {
        var script = CoordinatorScript()
        _ = script.begin(1, 2)
        #expect(words(script.tell(.misbehaved(1, "a request for file 9 of 3"))).contains("drop 1"))
        #expect(words(script.tell(.misbehaved(1, "a request for file 9 of 3"))) == [], "it is not here any more")
    }

    @Test(arguments: [0, 1_025, .max] as [UInt16]) func aHelloWithImpossibleThreads(threads: UInt16) {
        var script = CoordinatorScript()
        _ = script.tell(.tick)
        #expect(words(script.join(1, threads: threads)).first?.hasPrefix("1 <- refuse") == true)
        #expect(script.machine.workerCount == 0)
    }

    /// An answer to an earlier run is not a lie.
    @Test func aContributionToAnotherRunIsThrownAway() {
        var script = CoordinatorScript()
        _ = script.begin(1)
        var other = CoordinatorScript.contribution(script.machine, Self.root, update: 0)
        (other.run, other.words) = (3, .max)
        #expect(words(script.hear(1, .contribution(other), bytes: 8, hash: 5)) == ["release 1"])
        #expect(script.machine.workerCount == 1)
    }
}
