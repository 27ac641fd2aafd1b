import Testing

@testable import Base
@testable import Protocol

/// The peers, and what waits for them.
@Suite struct PeerTableTests {
    private func address(_ number: UInt8, listener: Int = 0) -> PeerAddress { PeerAddress(listener: listener, identity: [number]) }

    @Test func aConnectionIsOnePeerAndNeverAnother() {
        var table = PeerTable<String>(lanes: 4)
        let first = table.admit(address(1), isLocal: false)
        #expect(table.admit(address(1), isLocal: false) == first)
        #expect(table.admit(address(1, listener: 1), isLocal: true) != first)
        table.forget(first)
        #expect(table[first] == nil && table.id(at: address(1)) == nil)
        #expect(table.admit(address(1), isLocal: false) > first)
    }

    /// 3,600 connections come and go while nothing is sent: what waits for the honest worker stays as it is.
    @Test func strangersWhoLeaveFillNobodysQueue() {
        var (table, schedule) = (PeerTable<String>(lanes: 4), ProbeSchedule())
        let honest = table.admit(address(1), isLocal: false)
        for now in 0..<3_600 as Range<Milliseconds> {
            schedule.connectionLost(now)
            if schedule.isDue(now) { table.queueProbes("probe") }
        }
        #expect(table[honest]?.outbox.map(\.item) == ["probe"])
        #expect(table.unresponsive == [])
        table.queue("order", to: honest)
        table.sent(2, to: honest)
        #expect(!table.hasWaiting)
    }

    /// After a lost connection, peers are probed at once, several times, and not forever; more losses do not change the pace.
    @Test func probesHaveAPace() {
        func count(losses: [Milliseconds]) -> Int {
            var schedule = ProbeSchedule()
            var probes = 0
            for now in 0..<5_000 as Range<Milliseconds> {
                if losses.contains(now) { schedule.connectionLost(now) }
                if schedule.isDue(now) { probes += 1 }
            }
            return probes
        }
        #expect(count(losses: []) == 0)
        #expect((3...6).contains(count(losses: [100])))
        #expect(count(losses: Array(100..<1_100)) <= 10)
        var schedule = ProbeSchedule()
        schedule.connectionLost(7)
        let first = schedule.isDue(7)
        #expect(first)
    }

    @Test func whoTakesNothingIsKnown() {
        var table = PeerTable<Int>(lanes: 4)
        let (idle, stuck) = (table.admit(address(1), isLocal: false), table.admit(address(2), isLocal: false))
        for item in 0...table.outboxLimit { table.queue(item, to: stuck) }
        table.queue(1, to: idle)
        #expect(table.unresponsive == [stuck])
        table.sent(1, to: stuck)
        #expect(table.unresponsive == [])
    }

    /// A peer that keeps asking and takes nothing does not fill memory.
    @Test func whoTakesNothingIsServedNothing() {
        var table = PeerTable<Int>(lanes: 4)
        let id = table.admit(address(1), isLocal: false)
        for item in 0..<PeerTable<Int>.servedLimit {
            #expect(table.mayServe(id))
            table.queue(item, to: id, isChunk: true)
        }
        #expect(!table.mayServe(id) && !table.mayServe(99))
        table.sent(1, to: id)
        #expect(table.mayServe(id))
    }

    /// Leases of many lanes may wait in front of the first chunk. If its request were dropped, it would be repeated only after 10 seconds.
    @Test func otherMessagesKeepNobodyFromBeingServed() {
        var table = PeerTable<Int>(lanes: 1_500)
        let id = table.admit(address(1), isLocal: true)
        for item in 0..<1_500 { table.queue(item, to: id) }
        #expect(table.mayServe(id))
        for item in 0..<PeerTable<Int>.servedLimit { table.queue(item, to: id, isChunk: true) }
        table.sent(1_500, to: id)
        #expect(!table.mayServe(id))
        table.sent(1, to: id)
        #expect(table.mayServe(id))
    }

    /// A local worker is local from its first message on, whatever that is: no list of keys applies to it.
    @Test func keysAreAskedOfRemotePeersOnly() {
        var table = PeerTable<Int>(lanes: 4)
        let local = table.admit(address(1), isLocal: true)
        let (good, revoked) = (table.admit(address(2, listener: 1), isLocal: false), table.admit(address(3, listener: 1), isLocal: false))
        table.note(good, key: "good")
        table.note(revoked, key: "old")
        #expect(table.revoked { $0 == "good" } == [revoked])
        #expect(table.mayIntroduce(local, token: 5, expected: 5) && !table.mayIntroduce(local, token: 0, expected: 5))
        #expect(table.mayIntroduce(good, token: 0, expected: 5))
    }

    /// What a remote hello says about its process does not concern processes here.
    @Test func processesAreLocal() {
        var table = PeerTable<Int>(lanes: 4)
        let (local, remote) = (table.admit(address(1), isLocal: true), table.admit(address(2), isLocal: false))
        table.note(local, processID: 7)
        table.note(remote, processID: 7)
        #expect(table.local(processID: 7) == [local])
    }
}
