import Testing

@testable import Base
@testable import Protocol

/// Gradients that arrive in pieces. Worker 1 holds lanes 0 and 1, worker 2 holds lanes 2 and 3.
@Suite struct GradientTests {
    private static let size = UInt64(WireLimits.piece) + 4
    private let left = TreeNode(level: 1, index: 0)
    private let right = TreeNode(level: 1, index: 1)
    private let leaf = TreeNode(lane: 0)

    private func script() -> CoordinatorScript {
        var script = CoordinatorScript(gradientBytes: Self.size)
        _ = script.begin(1, 2)
        return script
    }

    private func announce(
        _ script: inout CoordinatorScript, _ peer: PeerID = 1, node: TreeNode, number: UInt32 = 1, hash: UInt64 = 5, update: UInt64 = 0
    ) -> [CoordinatorStateMachine.Effect] {
        var contribution = CoordinatorScript.contribution(script.machine, node, update: update, hash: hash)
        (contribution.byteCount, contribution.number) = (Self.size, number)
        return script.hear(peer, .contribution(contribution))
    }

    private func piece(
        _ script: inout CoordinatorScript, _ index: Int, of peer: PeerID = 1, number: UInt32 = 1
    ) -> [CoordinatorStateMachine.Effect] {
        let chunk = Chunk(blob: .gradient(number), offset: UInt64(index * WireLimits.piece), total: Self.size)
        return script.hear(peer, .chunk(chunk), bytes: index == 0 ? WireLimits.piece : 4)
    }

    private func came(
        _ script: inout CoordinatorScript, of peer: PeerID = 1, number: UInt32 = 1, hash: UInt64 = 5
    ) -> [CoordinatorStateMachine.Effect] {
        script.tell(.gradientCame(peer, number: number, Payload(buffer: 99, count: Int(Self.size), hash: hash)))
    }

    @Test func whatIsAnnouncedIsFetched() {
        var script = script()
        _ = script.answer(2, right)
        #expect(
            words(announce(&script, node: left)) == [
                "expect gradient 1 of 1, \(Self.size) bytes", "1 <- fetch gradient(1) from 0",
                "1 <- fetch gradient(1) from \(WireLimits.piece)",
            ])
        #expect(words(announce(&script, node: left)) == [], "repeated: it is being fetched already")
        #expect(words(piece(&script, 1)) == ["store \(WireLimits.piece) from buffer 2"])
        #expect(words(piece(&script, 1)) == ["release 3"], "a duplicate")
        #expect(words(piece(&script, 0, number: 2)) == ["release 4"], "of another gradient")
        #expect(script.machine.open?.received[left] == nil)
        #expect(words(piece(&script, 0)) == ["store 0 from buffer 5, the last"])
        #expect(words(came(&script)) == ["step 0 [\"0..<2 of 1\", \"2..<4 of 2\"]"])
        #expect(words(came(&script)) == ["release 99"], "nothing waits for it")
        #expect(words(piece(&script, 0)) == ["release 6"])
    }

    @Test func whatDoesNotComeIsAskedForAgain() {
        var script = script()
        _ = announce(&script, node: left)
        _ = piece(&script, 0)
        var asked: [String] = []
        for _ in 0..<100 {
            _ = script.hear(1, .alive)
            _ = script.hear(2, .alive)
            asked += words(script.wait(100)).filter { $0.contains("gradient") }
        }
        #expect(asked == ["1 <- fetch gradient(1) from \(WireLimits.piece)"])
    }

    @Test func whatCameDamagedIsRefused() {
        var script = script()
        _ = announce(&script, node: left)
        _ = piece(&script, 0)
        _ = piece(&script, 1)
        #expect(words(came(&script, hash: 6)) == ["release 99"])
        #expect(script.machine.counters.refusals == 1)
        #expect(
            words(announce(&script, node: left, number: 2)).first == "expect gradient 2 of 1, \(Self.size) bytes",
            "when it is announced again")
    }

    @Test func aNewGradientTakesTheOldOnesPlace() {
        var script = script()
        _ = announce(&script, node: left)
        #expect(
            words(announce(&script, node: left, number: 2)).prefix(2) == [
                "forget gradient 1 of 1", "expect gradient 2 of 1, \(Self.size) bytes",
            ])
        #expect(words(piece(&script, 0)) == ["release 1"])
        #expect(words(piece(&script, 0, number: 2)) == ["store 0 from buffer 2"])
    }

    @Test func nothingIsFetchedThatWouldNotCount() {
        var script = script()
        #expect(words(announce(&script, node: right)) == [], "another worker's lanes")
        #expect(words(announce(&script, node: left, update: 1)) == [], "another update")
        _ = script.answer(1, leaf)
        #expect(words(announce(&script, node: leaf, hash: 6)) == [], "it has arrived: compared by the hash")
        #expect(script.machine.counters.mismatches == 1)
        #expect(words(script.hear(4, .chunk(Chunk(blob: .gradient(1), offset: 0, total: 4)), bytes: 4)).first == "4 <- say hello")
    }

    @Test func aLostWorkersGradientIsForgotten() {
        var script = script()
        _ = announce(&script, node: left)
        #expect(words(script.tell(.peerLost(1, reason: ""))).first == "forget gradient 1 of 1")
        #expect(script.machine.open?.arriving[1] == nil)
        #expect(words(came(&script)) == ["release 99"])
    }

    /// Two workers hold a lane, and both send it: the first complete gradient counts, and the other is compared by its announced hash.
    @Test func theFirstThatIsWholeCounts() {
        var script = script()
        _ = script.answer(2, right)
        _ = script.wait(2_000)
        _ = script.hear(2, .laneReady(0))
        _ = announce(&script, node: leaf)
        _ = announce(&script, 2, node: leaf, number: 7, hash: 6)
        _ = piece(&script, 0, of: 2, number: 7)
        _ = piece(&script, 1, of: 2, number: 7)
        let effects = came(&script, of: 2, number: 7, hash: 6)
        #expect(words(effects) == ["forget gradient 1 of 1"])
        #expect(script.machine.counters.mismatches == 1 && logs(effects).count == 1)
        #expect(script.machine.open?.received[leaf]?.peer == 2)
    }

    /// A complete update does not wait for gradients that are still being fetched.
    @Test func anUpdateEndsWithoutTheRest() {
        var script = script()
        _ = script.answer(2, right)
        _ = announce(&script, node: leaf)
        #expect(words(script.answer(1, left)) == ["forget gradient 1 of 1", "step 0 [\"0..<2 of 1\", \"2..<4 of 2\"]"])
    }
}
