import Testing

@testable import Base
@testable import Protocol

/// Evaluations between updates, as transcripts. Lanes 0 and 1 are worker 1's, lanes 2 and 3 worker 2's.
@Suite struct EvaluationTests {
    private let left = TreeNode(level: 1, index: 0)
    private let right = TreeNode(level: 1, index: 1)

    /// Two workers that have done update 0, whose version 1 is to be scored by averages with hash 9.
    private func script() -> CoordinatorScript {
        var script = CoordinatorScript()
        _ = script.begin(1, 2)
        _ = script.answer(1, left)
        _ = script.answer(2, right)
        #expect(words(script.stepped(evaluation: 9)) == ["1 <- score 1 [0, 1] +parameters", "2 <- score 1 [2, 3] +parameters"])
        return script
    }

    @Test func anEvaluationComesBeforeTheNextUpdate() {
        var script = script()
        #expect(words(script.score(2, right, update: 1, scored: 9)) == [])
        #expect(words(script.score(1, left, update: 1, scored: 9)) == ["judge 1 [\"0..<2 of 1\", \"2..<4 of 2\"]"])
        #expect(words(script.wait(500)) == [], "nothing is ordered until it is judged")
        #expect(words(script.tell(.judged(goesOn: true))) == ["1 <- order 1 [0, 1] +parameters", "2 <- order 1 [2, 3] +parameters"])
        #expect(script.machine.counters.evaluations == 1 && script.machine.counters.updates == 1)
    }

    @Test func anEvaluationMayEndTheRun() {
        var script = script()
        _ = script.score(2, right, update: 1, scored: 9)
        _ = script.score(1, left, update: 1, scored: 9)
        #expect(words(script.tell(.judged(goesOn: false))) == ["end early"])
        #expect(words(script.wait(500)) == [])
    }

    @Test func scoresAreTakenForNothingElse() {
        var script = script()
        // A gradient, scores of another version, scores from other parameters: none of them is an answer.
        #expect(words(script.answer(1, left, update: 1, parameterHash: 9)).contains { $0.hasPrefix("release") })
        #expect(words(script.score(1, left, update: 0, scored: 9)) == [])
        #expect(words(script.score(1, left, update: 1, scored: 8)) == [])
        #expect(script.machine.counters.refusals == 1)
        #expect(script.machine.open?.received.isEmpty == true)
        _ = script.score(1, left, update: 1, scored: 9)
        _ = script.score(2, right, update: 1, scored: 9)
        _ = script.tell(.judged(goesOn: true))
        #expect(words(script.score(1, left, update: 1, scored: 9)) == [], "late scores are not a gradient")
        #expect(script.machine.open?.received.isEmpty == true && script.machine.counters.mismatches == 0)
    }

    @Test func aLostWorkersLanesAreScoredByOthers() {
        var script = script()
        _ = script.score(2, right, update: 1, scored: 9)
        #expect(words(script.tell(.peerLost(1, reason: ""))) == ["2 <- lease 0", "2 <- lease 1"])
        _ = script.hear(2, .laneReady(0))
        #expect(words(script.hear(2, .laneReady(1))) == ["2 <- score 1 [0, 1, 2, 3]"])
        #expect(words(script.score(2, left, update: 1, scored: 9)) == ["judge 1 [\"0..<2 of 2\", \"2..<4 of 2\"]"])
    }

    @Test func whoMissedTheParametersGetsThoseThatAreScored() {
        var script = script()
        let scored = FetchRequest(blob: .parameters(2), length: 12)
        #expect(words(script.hear(1, .fetch(scored))) == ["serve 1 parameters(2)"])
        #expect(words(script.hear(1, .fetch(FetchRequest(blob: .parameters(3), length: 12)))) == [], "those of the update are not open")
    }

    @Test func scoresThatDifferAreNews() {
        var script = script()
        _ = script.score(1, left, update: 1, scored: 9, losses: [1, 2])
        #expect(logs(script.score(1, left, update: 1, scored: 9, losses: [1, 2])).isEmpty)
        #expect(logs(script.score(1, left, update: 1, scored: 9, losses: [1, 2.5])).contains { $0.contains("broken") })
        #expect(script.machine.counters.mismatches == 1)
    }

    @Test func aStopDoesNotWaitForAnEvaluation() {
        var script = script()
        #expect(words(script.tell(.stopRequested)) == [])
        #expect(words(script.wait(2_000)).last == "stop")
    }

    @Test func theLastVersionIsScoredAndOneThatWasMissedIsScoredFirst() {
        var script = CoordinatorScript()
        _ = script.tell(.tick)
        _ = script.join(1)
        // The run is at its end; only the evaluation is missing.
        let orders = script.open(script.plan(first: 100, end: 100, evaluation: 9))
        #expect(words(orders).last == "1 <- score 100 [0, 1, 2, 3] +parameters")
        _ = script.score(1, TreeNode(level: 2, index: 0), update: 100, scored: 9)
        #expect(words(script.tell(.judged(goesOn: true))) == ["complete"])
    }

    @Test func roundsHaveAnOrder() {
        let rounds = [Round(0, .train), Round(1, .evaluate), Round(1, .train), Round(2, .evaluate)]
        #expect(rounds.shuffled().sorted() == rounds && !(rounds[1] < rounds[1]))
    }
}
