// Router and dealer: messages arrive, malformed ones are refused, nothing blocks.
import CZMQ
import Foundation
import Testing

@testable import Base
@testable import Transport

@Suite struct SocketTests {
    let context: ZMQContext
    let folder: SocketFolder

    init() throws {
        context = try ZMQContext()
        folder = try SocketFolder()
    }

    func pair(_ limits: SocketLimits = SocketLimits(), tcp: Bool = false) throws -> (endpoint: String, router: Box<RouterSocket>) {
        let router = try RouterSocket(context, limits: limits, security: .localOnly)
        let endpoint = try router.bind(tcp ? "tcp://127.0.0.1:*" : folder.endpoint("c"))
        return (endpoint, Box(router))
    }

    /// Tuples cannot hold what cannot be copied.
    final class Box<Value: ~Copyable> {
        let value: Value
        init(_ value: consuming Value) { self.value = value }
    }

    @Test(arguments: [false, true]) func carriesHeaderAndPayloadBothWays(tcp: Bool) throws {
        let (endpoint, router) = try pair(tcp: tcp)
        #expect(tcp ? endpoint.hasPrefix("tcp://127.0.0.1:") && !endpoint.hasSuffix("*") : endpoint == folder.endpoint("c"))
        let dealer = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try dealer.connect(endpoint)
        let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try dealer.sendWhenReady([1, 2, 3])
        try dealer.sendWhenReady([4], try ZMQMessage(large))
        try dealer.sendWhenReady([], ZMQMessage())
        let first = try router.value.nextMessage()
        #expect(first.header == [1, 2, 3] && first.payload == nil && first.userID == "")
        let second = try router.value.nextMessage()
        #expect(second.header == [4] && second.payload.map { [UInt8]($0.data) } == large && second.identity == first.identity)
        let third = try router.value.nextMessage()
        #expect(third.header == [] && third.payload?.count == 0)
        #expect(router.value.send(to: first.identity, header: [9], payload: second.payload) == .sent)
        #expect(router.value.send(to: first.identity, header: [10]) == .sent)
        let answer = try dealer.nextMessage()
        #expect(answer.header == [9] && answer.payload.map { [UInt8]($0.data) } == large)
        let last = try dealer.nextMessage()
        #expect(last.header == [10] && last.payload == nil)
        #expect(dealer.receive() == nil && router.value.receive() == nil)
    }

    @Test func sharesOneBufferAmongPeersAndFreesIt() throws {
        let (endpoint, router) = try pair()
        var dealers: [Box<DealerSocket>] = []
        var identities: [[UInt8]] = []
        for number in 0..<3 {
            let dealer = Box(try DealerSocket(context, limits: SocketLimits(), security: .open))
            try dealer.value.connect(endpoint)
            try dealer.value.sendWhenReady([UInt8(number)])
            identities.append(try router.value.nextMessage().identity)
            dealers.append(dealer)
        }
        #expect(Set(identities).count == 3)
        weak var watched: MessageBuffer?
        do {
            let buffer = MessageBuffer(byteCount: 1_000_000)
            for index in buffer.bytes.indices { buffer.bytes[index] = UInt8(truncatingIfNeeded: index) }
            watched = buffer
            let message = ZMQMessage(sharing: buffer)
            #expect(message.data.baseAddress == UnsafeRawPointer(buffer.bytes.baseAddress))
            #expect(message.copy().data.baseAddress == message.data.baseAddress)
            for identity in identities { #expect(router.value.send(to: identity, header: [0], payload: message) == .sent) }
        }
        for dealer in dealers {
            let payload = try #require(try dealer.value.nextMessage().payload)
            #expect(payload.count == 1_000_000 && payload.data[999_999] == UInt8(truncatingIfNeeded: 999_999))
        }
        try eventually("the buffer's end") { watched == nil ? true : nil }
    }

    @Test func keepsTheOwnerOfBytesThatAreUnderWay() throws {
        let message = ZMQMessage(sharing: MessageBuffer(byteCount: 100))
        #expect(message.count == 100)
        #expect(ZMQMessage(sharing: UnsafeRawBufferPointer(start: nil, count: 0), ownedBy: self.context).count == 0)
    }

    @Test func refusesMessagesOfAnotherForm() throws {
        var limits = SocketLimits()
        limits.maximumHeaderBytes = 100
        let (endpoint, router) = try pair(limits)
        let raw = try RawDealer(context, to: endpoint)
        raw.send([[1], [2], [3], [4, 4]])
        raw.send([[UInt8](repeating: 0, count: 101), [1]])
        raw.send([[7], [8]])
        func reason() throws -> String {
            try eventually("malformed message") {
                guard let event = router.value.receive() else { return nil }
                guard case .malformed(let identity, _, _, let reason) = event, identity.count == 5 else { return "\(event)" }
                return reason
            }
        }
        #expect(try reason() == "2 frames too many, of 3 bytes")
        #expect(try reason() == "a header of 101 bytes, at most 100 are allowed")
        #expect(try router.value.nextMessage().header == [7])
    }

    @Test func cutsOffAPeerThatAnnouncesTooMuch() throws {
        let (endpoint, router) = try pair(SocketLimits(largestFrameBytes: 100_000))
        let honest = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try honest.connect(endpoint)
        try honest.sendWhenReady([1], try ZMQMessage([UInt8](repeating: 1, count: 100_000)))
        #expect(try router.value.nextMessage().payload?.count == 100_000)
        let greedy = try RawDealer(context, to: endpoint)
        greedy.send([[2], [UInt8](repeating: 0, count: 200_000)])
        _ = try waitFor(router.value.monitor, "disconnection") { if case .disconnected = $0 { true } else { false } }
        #expect(router.value.receive() == nil)
        try honest.sendWhenReady([3])
        #expect(try router.value.nextMessage().header == [3])
    }

    @Test func saysWhenAPeerIsUnknownOrGone() throws {
        let (endpoint, router) = try pair()
        #expect(router.value.send(to: [0, 1, 2, 3, 4], header: [1], payload: ZMQMessage()) == .unreachable)
        var identity: [UInt8] = []
        do {
            let dealer = try DealerSocket(context, limits: SocketLimits(), security: .open)
            try dealer.connect(endpoint)
            try dealer.sendWhenReady([1])
            identity = try router.value.nextMessage().identity
            #expect(router.value.send(to: identity, header: [1]) == .sent)
        }
        try eventually("unreachable") { router.value.send(to: identity, header: [1]) == .unreachable ? true : nil }
    }

    @Test func neverBlocksOnASlowPeer() throws {
        var limits = SocketLimits()
        limits.sendHighWater = 5
        limits.receiveHighWater = 5
        let (endpoint, router) = try pair(limits, tcp: true)
        let dealer = try DealerSocket(context, limits: limits, security: .open)
        try dealer.connect(endpoint)
        try dealer.sendWhenReady([1])
        let identity = try router.value.nextMessage().identity
        let payload = try ZMQMessage([UInt8](repeating: 5, count: 1_000_000))
        var sent = 0
        // 5 here, 5 there, and what the kernel's buffers hold; libzmq may still free places for a while.
        try eventually("a full queue") {
            while router.value.send(to: identity, header: [2], payload: payload) == .sent { sent += 1 }
            usleep(200_000)
            if router.value.send(to: identity, header: [2], payload: payload) == .wouldBlock { return true }
            sent += 1
            return nil
        }
        #expect(sent >= 5 && sent < 60)
        for _ in 0..<sent { #expect(try dealer.nextMessage().payload?.count == 1_000_000) }
        #expect(dealer.receive() == nil)
        try eventually("room") { router.value.send(to: identity, header: [3]) == .sent ? true : nil }
        #expect(try dealer.nextMessage().header == [3])
    }

    /// A process that is stalled for a while must survive: libzmq with heartbeats aborts after two heartbeat intervals.
    @Test func outlivesAPeerThatFillsTheQueueAndGoesWhileNobodyReads() throws {
        let (endpoint, router) = try pair(tcp: true)
        do {
            let flood = try RawDealer(try ZMQContext(), to: endpoint)
            for _ in 0..<SocketLimits().receiveHighWater * 4 { flood.send([[1], [UInt8](repeating: 2, count: 1_000)]) }
            usleep(300_000)
        }
        usleep(4_500_000)
        #expect(try router.value.nextMessage().header == [1])
        while router.value.receive() != nil {}
        let next = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try next.connect(endpoint)
        try next.sendWhenReady([3])
        #expect(
            try eventually("the next peer") { if case .message(let m)? = router.value.receive(), m.header == [3] { true } else { nil } })
    }

    @Test func queuesNothingWithoutAConnection() throws {
        let dealer = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try dealer.connect(folder.endpoint("nobody"))
        #expect(dealer.send(header: [1]) == .wouldBlock)
        usleep(50_000)
        #expect(dealer.send(header: [1]) == .wouldBlock)
        let router = try RouterSocket(context, limits: SocketLimits(), security: .localOnly)
        _ = try router.bind(folder.endpoint("nobody"))
        try dealer.sendWhenReady([2])
        #expect(try router.nextMessage().header == [2])
    }

    @Test func reconnectsAsANewPeer() throws {
        var limits = SocketLimits()
        limits.maximumReconnectMilliseconds = 200
        let dealer = try DealerSocket(context, limits: limits, security: .open)
        try dealer.connect(folder.endpoint("c"))
        for round in 0..<2 {
            let (_, router) = try pair()
            _ = try waitFor(dealer.monitor, "handshake \(round)") { if case .handshakeSucceeded = $0 { true } else { false } }
            try dealer.sendWhenReady([UInt8(round)])
            #expect(try router.value.nextMessage().header == [UInt8(round)])
            withExtendedLifetime(router) {}
        }
    }

    /// Feeds the monitor's events to a watch until it says that libzmq has given up.
    func waitUntilGivenUp(_ dealer: borrowing DealerSocket, _ watch: inout ConnectionWatch) throws {
        let end = ContinuousClock.now + .seconds(5)
        let start = ContinuousClock.now
        while ContinuousClock.now < end {
            let now = Milliseconds((ContinuousClock.now - start) / .milliseconds(1))
            while let event = dealer.monitor.next() { watch.note(event, now: now) }
            if watch.needsReconnect(now: now) { return }
            usleep(5_000)
        }
        throw InputError("not given up within 5 s: \(watch)", at: "dealer", remedy: "")
    }

    @Test func comesBackAfterThePeerBrokeTheProtocol() throws {
        let (endpoint, router) = try pair()
        let dealer = try DealerSocket(context, limits: SocketLimits(largestFrameBytes: 10_000), security: .open)
        try dealer.connect(endpoint)
        try dealer.sendWhenReady([1])
        let identity = try router.value.nextMessage().identity
        #expect(router.value.send(to: identity, header: [1], payload: try ZMQMessage([UInt8](repeating: 0, count: 50_000))) == .sent)
        var watch = ConnectionWatch()
        try waitUntilGivenUp(dealer, &watch)
        #expect(!watch.isUp)
        try dealer.reconnect()
        _ = try waitFor(dealer.monitor, "handshake") { if case .handshakeSucceeded = $0 { true } else { false } }
        try dealer.sendWhenReady([3])
        let again = try router.value.nextMessage()
        #expect(again.header == [3] && again.identity != identity)
    }

    @Test func theWatchWaitsForNewTries() {
        var watch = ConnectionWatch()
        func gaveUp(_ now: Milliseconds) -> Bool { watch.needsReconnect(now: now) }
        #expect(!watch.isUp && !gaveUp(10_000))
        watch.note(.connected(endpoint: ""), now: 1)
        #expect(!watch.isUp)
        watch.note(.handshakeSucceeded(endpoint: ""), now: 2)
        #expect(watch.isUp)
        watch.note(.disconnected(endpoint: ""), now: 10)
        #expect(!watch.isUp && !gaveUp(1_009))
        watch.note(.connectRetried(milliseconds: 100, endpoint: ""), now: 1_009)
        #expect(!gaveUp(100_000))
        watch.note(.handshakeFailed(.refused(status: 400), endpoint: ""), now: 100_000)
        #expect(watch.failure == .refused(status: 400) && gaveUp(101_000))
        #expect(!gaveUp(101_999) && gaveUp(102_000))
        watch.note(.handshakeSucceeded(endpoint: ""), now: 102_001)
        #expect(watch.failure == nil && !gaveUp(200_000))
    }

    @Test func refusesToBeReachableWithoutKeys() throws {
        for endpoint in ["tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*", "tcp://192.0.2.1:5599"] {
            let router = try RouterSocket(context, limits: SocketLimits(), security: .localOnly)
            let error = #expect(throws: InputError.self) { try router.bind(endpoint) }
            #expect(error?.description.contains("--insecure") == true, "\(endpoint)")
        }
        let router = try RouterSocket(context, limits: SocketLimits(), security: .insecure)
        #expect(try router.bind("tcp://0.0.0.0:*").hasPrefix("tcp://0.0.0.0:"))
    }

    @Test func saysWhyItCannotListen() throws {
        let (endpoint, router) = try pair(tcp: true)
        let other = try RouterSocket(context, limits: SocketLimits(), security: .localOnly)
        let error = #expect(throws: InputError.self) { try other.bind(endpoint) }
        #expect(error?.description.contains("Address already in use") == true)
        withExtendedLifetime(router) {}
    }

    @Test func endsGreetingsThatNeverCome() throws {
        var limits = SocketLimits()
        limits.handshakeMilliseconds = 200
        let (endpoint, router) = try pair(limits, tcp: true)
        let port = try #require(UInt16(endpoint.split(separator: ":").last ?? ""))
        let silent = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(silent) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(silent, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        #expect(connected == 0)
        let accepted = try waitFor(router.value.monitor, "connection") { if case .accepted = $0 { true } else { false } }
        guard case .accepted(let peer) = accepted else { return }
        #expect(peer.hasPrefix("127.0.0.1:"))
        _ = try waitFor(router.value.monitor, "end") { if case .handshakeFailed = $0 { true } else { false } }
        var byte: UInt8 = 0
        // The greeting that the router has sent, then the end.
        try eventually("end of file") { recv(silent, &byte, 1, Int32(MSG_DONTWAIT)) == 0 ? true : nil }
    }

    @Test func saysTheSameThingOnceAMinute() {
        var repeated = RepeatedMessages()
        #expect(repeated.admit("a", now: 0) == "a" && repeated.admit("b", now: 1) == "b")
        #expect(repeated.admit("a", now: 59_999) == nil && repeated.admit("a", now: 59_999) == nil)
        #expect(repeated.admit("a", now: 60_000) == "a (and 2 times more)")
        #expect(repeated.admit("a", now: 60_001) == nil)
        repeated.forget()
        #expect(repeated.admit("a", now: 60_002) == "a")
        for number in 0..<10_000 { _ = repeated.admit("\(number)", now: 60_003) }
        #expect(Mirror(reflecting: repeated).children.allSatisfy { Mirror(reflecting: $0.value).children.count <= 256 })
    }

    @Test func hasTheNumbersOfZMQ() {
        #expect(ZMTP.cryptographic == 0x1100_0001 && ZMTP.mechanismMismatch == 0x1100_0002)
        #expect(SocketLimits(largestFrameBytes: 1 << 20).maximumFrameBytes == 1_052_672)
    }
}
