import Testing

@testable import Base
@testable import Protocol

@Suite struct StandingTests {
    @Test func suspensionEndsWithTimeAndAWord() {
        var standing = Standing.suspended(until: 10, heard: false)
        #expect(!standing.isGood(20) && !standing.maySecond(20), "nothing was heard from it")
        standing.hear()
        #expect(!standing.isGood(9) && standing.isGood(10) && standing.maySecond(9) && !standing.isQuarantined(9))
    }

    @Test func quarantineKeepsWorkAwayEvenWhenThereIsNobodyElse() {
        var standing = Standing.quarantined(until: 10, heard: false)
        standing.hear()
        #expect(standing.isQuarantined(9) && !standing.maySecond(9) && !standing.isGood(9))
        #expect(!standing.isQuarantined(10) && standing.isGood(10))
    }

    /// A worker in quarantine that introduces itself again is still on the same faulty host.
    @Test func aNewHelloEndsNoQuarantine() {
        var script = CoordinatorScript(lanes: 2)
        _ = script.begin(1)
        _ = script.hear(1, .trouble("the disk is full"))
        #expect(words(script.hear(1, .hello(CoordinatorScript.hello(1, session: 2)))) == ["1 <- welcome 2"], "no lanes yet")
    }
}

@Suite struct LaneSetTests {
    @Test func holdsWhatWasPutIn() {
        var set = LaneSet(lanes: 200)
        set.insert(60..<70)
        set.insert(199..<200)
        #expect((0..<200).filter(set.contains) == Array(60..<70) + [199])
    }
}
