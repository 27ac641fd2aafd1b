// When a worker that can do nothing any more ends.
import Base
import Protocol
import Testing

@testable import WorkerKit

@Suite struct JobPatienceTests {
    private let failed = WorkerStateMachine.Event.failed(.plan, "no space")

    @Test func endsWhenNothingSucceedsForAMinute() {
        var patience = JobPatience()
        #expect(patience.note(failed, now: 1000) == nil)
        #expect(patience.note(.tick, now: 50_000) == nil)
        #expect(patience.note(.notStored(.plan, "no space"), now: 60_999) == nil)
        #expect(patience.note(failed, now: 61_000) == "no space")
    }

    @Test func aSuccessStartsItAnew() {
        var patience = JobPatience()
        #expect(patience.note(failed, now: 0) == nil)
        #expect(patience.note(.laneOpened(3), now: 30_000) == nil)
        #expect(patience.note(failed, now: 61_000) == nil)
        #expect(patience.note(failed, now: 120_999) == nil)
        #expect(patience.note(failed, now: 121_000) == "no space")
    }
}
