import Testing

@testable import Base
@testable import Protocol

/// Parameters go to one peer after another.
@Suite struct DeliveryTests {
    private static let piece = UInt64(WireLimits.piece)
    private static let span: Milliseconds = 500

    /// Twenty pieces; every peer asks for a window of them at once.
    private func asked(_ peers: ClosedRange<PeerID>, slow: Set<PeerID> = []) -> ParameterDelivery {
        var delivery = ParameterDelivery()
        for peer in peers { ask(&delivery, peer, 0..<WireLimits.window, isSlow: slow.contains(peer), 0) }
        return delivery
    }

    private func ask(
        _ delivery: inout ParameterDelivery, _ peer: PeerID, _ pieces: Range<Int>, isSlow: Bool = false, _ now: Milliseconds
    ) {
        for index in pieces { delivery.ask(peer, offset: UInt64(index) * Self.piece, isSlow: isSlow, now) }
    }

    @Test func twoAreServedAndTheNextWhenOneHasEverything() {
        var delivery = asked(1...4)
        var progress = delivery.serve(0, span: Self.span)
        #expect(progress.begun == [1, 2] && progress.pieces.map(\.peer) == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
        #expect(!delivery.isWaiting(1) && delivery.isWaiting(3) && delivery.isWaiting(4))
        ask(&delivery, 2, 8..<10, 1)
        #expect(delivery.serve(1, span: Self.span).pieces.map(\.offset) == [8 * Self.piece, 9 * Self.piece])
        #expect(delivery.taken(3) == nil, "nothing was sent to it")
        #expect(delivery.taken(2) == true && delivery.taken(2) == nil)
        progress = delivery.serve(2, span: Self.span)
        #expect(progress.begun == [3] && progress.pieces.count == WireLimits.window)
        delivery.remove(1)
        #expect(delivery.serve(3, span: Self.span).begun == [4])
    }

    @Test func aPieceThatIsAskedForAgainIsSentAgain() {
        var delivery = asked(1...1)
        _ = delivery.serve(0, span: Self.span)
        #expect(delivery.serve(1, span: Self.span).pieces.isEmpty)
        ask(&delivery, 1, 3..<4, 10)
        ask(&delivery, 1, 3..<4, 10)
        #expect(delivery.serve(10, span: Self.span).pieces.map(\.offset) == [3 * Self.piece])
    }

    /// It asks for a window and then falls silent: the next one begins beside it, and it is still sent what it asks for.
    @Test func whoStandsStillIsNotWaitedFor() {
        var delivery = asked(1...4)
        _ = delivery.serve(0, span: Self.span)
        for step in 1...2 { ask(&delivery, 2, 7 + step..<8 + step, Milliseconds(step) * 200) }
        #expect(delivery.serve(500, span: Self.span).overdue == [])
        let progress = delivery.serve(501, span: Self.span)
        #expect(progress.overdue == [1] && progress.begun == [3])
        ask(&delivery, 1, 8..<9, 502)
        #expect(delivery.serve(502, span: Self.span).pieces.map(\.peer) == [1])
        #expect(delivery.taken(1) == false)
    }

    /// A piece now and then is not enough, nor is asking for everything at once.
    @Test func aTrickleIsNotWaitedFor() {
        var delivery = asked(1...4)
        _ = delivery.serve(0, span: Self.span)
        ask(&delivery, 2, 8..<20, 1)
        var overdue: [PeerID] = []
        for step in 1...12 {
            let now = Milliseconds(step) * 450
            ask(&delivery, 1, 7 + step..<8 + step, now)
            overdue += delivery.serve(now, span: Self.span).overdue
            if overdue == [2, 1] { break }
        }
        #expect(overdue == [2, 1])
    }

    @Test func whoWasSlowComesLast() {
        var delivery = asked(1...4, slow: [1, 2])
        #expect(delivery.serve(0, span: Self.span).begun == [3, 4])
        #expect(delivery.taken(4) == true)
        #expect(delivery.serve(1, span: Self.span).begun == [1])
    }

    @Test func aStallOfTheCoordinatorIsNobodysFault() {
        var delivery = asked(1...3)
        _ = delivery.serve(0, span: Self.span)
        delivery.excuse(5_000, 5_000)
        #expect(delivery.serve(5_000, span: Self.span).overdue == [])
        #expect(delivery.serve(5_501, span: Self.span).overdue == [1, 2])
    }

    /// The machine sends pieces of the current round only, in its order, and forgets peers that leave.
    @Test func theMachineServesOneAfterTheOther() {
        var script = CoordinatorScript(parameterBytes: Self.piece + 4)
        #expect(words(script.begin(1, 2, 3)).suffix(3).allSatisfy { $0.hasSuffix("+parameters") })
        func request(_ index: UInt64, number: UInt32 = 1) -> WorkerMessage {
            .fetch(FetchRequest(blob: .parameters(number), offset: index * Self.piece, length: index == 0 ? UInt32(Self.piece) : 4))
        }
        #expect(words(script.hear(1, request(0))) == ["serve 1 parameters(1)"])
        #expect(words(script.hear(1, request(0, number: 0))) == [], "another round's")
        #expect(words(script.hear(2, request(0))) == ["serve 2 parameters(1)"])
        #expect(words(script.hear(3, request(0))) == [])
        #expect(words(script.hear(1, request(1))) == ["serve 1 parameters(1) from \(Self.piece)"])
        #expect(words(script.hear(1, .taken(0))) == [], "another round's")
        #expect(words(script.hear(1, .taken(1))) == ["serve 3 parameters(1)"])
        #expect(words(script.hear(4, request(0))) == ["4 <- say hello"])
        #expect(words(script.hear(2, .fetch(FetchRequest(blob: .parameters(1), offset: 1, length: 4)))).last == "drop 2", "a lie")
    }

    /// A peer that waits for others is not late, however long the others take.
    @Test func whoWaitsForParametersIsNotLate() {
        var script = CoordinatorScript(lanes: 3, parameterBytes: 4)
        _ = script.begin(1, 2, 3)
        for peer in [1, 2, 3] as [PeerID] { _ = script.hear(peer, .fetch(FetchRequest(blob: .parameters(1), length: 4))) }
        #expect(script.machine.open?.delivery.isWaiting(3) == true)
        #expect(script.machine.open?.orders[3]?.begun == 0)
        _ = script.wait(700)
        #expect(script.machine.open?.delivery.isWaiting(3) == false, "the others have had their time")
        #expect(script.machine.open?.orders[3].map { $0.begun > 0 } == true, "its own begins now")
    }
}
