import Testing

@testable import Base
@testable import Transport

/// How long a worker waits, what it logs, and names of hosts.
@Suite struct WorkerPatienceTests {
    @Test func endsTenMinutesAfterTheLastGoodMoment() {
        var patience = WorkerPatience(now: 1_000)
        #expect(!patience.isOver(now: 600_999) && patience.isOver(now: 601_000))
        patience.note(isWell: true, now: 500_000)
        patience.note(isWell: false, now: 700_000)
        #expect(!patience.isOver(now: 1_099_999) && patience.isOver(now: 1_100_000))
    }

    @Test func saysWhatIsKnown() throws {
        #expect(try Endpoint("tcp://nosuchhost.invalid:5599").diagnosis().contains("host name nosuchhost.invalid is not known"))
        #expect(try Endpoint("tcp://127.0.0.1:1").diagnosis().contains("refuses connections to port 1"))
    }

    @Test func bindsToNamesOfThisHost() throws {
        #expect(try Endpoint("tcp://localhost:*").bindable() == "tcp://127.0.0.1:*")
        for text in ["tcp://127.0.0.1:5599", "tcp://*:5599", "tcp://lo:5599", "tcp://[::1]:5599", "ipc:///tmp/x"] {
            #expect(try Endpoint(text).bindable() == text)
        }
        #expect(throws: InputError.self) { try Endpoint("tcp://nosuchhost.invalid:5599").bindable() }
        let context = try ZMQContext()
        let socket = try RouterSocket(context, limits: SocketLimits(), security: .localOnly)
        #expect(try socket.bind("tcp://localhost:*").hasPrefix("tcp://127.0.0.1:"))
    }
}
