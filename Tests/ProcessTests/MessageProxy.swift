// A network that loses, repeats, delays and reorders. In: workers at one port. Out: what is left of their messages, at the coordinator's
// port.
import Base
import Foundation
import Protocol
import Transport

/// Sits between workers and a coordinator, both without keys. For every worker's connection it has one of its own to the coordinator.
final class MessageProxy: @unchecked Sendable {
    struct Faults: Sendable {
        /// Per thousand messages.
        var lost = 10
        var repeated = 30
        var delayed = 60
        /// Sent once more, later, from another connection.
        var replayed = 5
        var longestDelayMilliseconds: UInt64 = 1_500

        static let none = Faults(lost: 0, repeated: 0, delayed: 0, replayed: 0)
    }

    /// The record from which a joiner's way into the run is reconstructed. Workers are numbered in the order of their first messages.
    enum Sight: Sendable {
        case ready(worker: Int)
        case begin(worker: Int, update: UInt64, lanes: Int)
    }

    struct Counts: Sendable {
        var passed = 0, lost = 0, repeated = 0, delayed = 0, replayed = 0
    }

    /// Where workers connect.
    private(set) var endpoint = ""
    private let lock = NSLock()
    private var stopping = false
    private var counted = Counts()
    private var seen: [Sight] = []
    private var failure: String?

    init(to coordinator: String, faults: Faults, seed: UInt64) throws {
        let started = DispatchSemaphore(value: 0)
        let thread = Thread { [self] in
            do {
                let switchboard = try Switchboard(to: coordinator, faults: faults, seed: seed)
                endpoint = switchboard.endpoint
                started.signal()
                while !lock.withLock({ stopping }) {
                    try switchboard.turn()
                    lock.withLock { (counted, seen) = (switchboard.counts, switchboard.sights) }
                }
            } catch {
                lock.withLock { failure = "\(error)" }
                started.signal()
            }
        }
        thread.start()
        started.wait()
        if let failure { throw InputError(failure, at: "proxy", remedy: "") }
    }

    var counts: Counts { lock.withLock { counted } }

    var sights: [Sight] { lock.withLock { seen } }

    func stop() { lock.withLock { stopping = true } }
}

/// What the proxy's thread owns.
private final class Switchboard {
    private final class Leg {
        let socket: DealerSocket
        let worker: [UInt8]
        let number: Int

        init(_ context: ZMQContext, _ coordinator: String, worker: [UInt8], number: Int) throws {
            self.number = number
            var limits = SocketLimits()
            limits.sendHighWater = 10_000
            socket = try DealerSocket(context, limits: limits, security: .open)
            try socket.connect(coordinator)
            self.worker = worker
        }
    }

    private struct Letter {
        var due: UInt64
        var leg: Leg
        var toCoordinator: Bool
        var header: [UInt8]
        var payload: ZMQMessage?
    }

    let endpoint: String
    private(set) var counts = MessageProxy.Counts()
    private(set) var sights: [MessageProxy.Sight] = []
    private let context: ZMQContext
    private let router: RouterSocket
    private let coordinator: String
    private let faults: MessageProxy.Faults
    private var legs: [[UInt8]: Leg] = [:]
    private let stranger: Leg
    private var letters: [Letter] = []
    private var random: SeededGenerator
    private let start = Date()

    init(to coordinator: String, faults: MessageProxy.Faults, seed: UInt64) throws {
        context = try ZMQContext()
        var limits = SocketLimits()
        limits.sendHighWater = 10_000
        router = try RouterSocket(context, limits: limits, security: .insecure)
        endpoint = try router.bind("tcp://127.0.0.1:*")
        stranger = try Leg(context, coordinator, worker: [], number: -1)
        (self.coordinator, self.faults, random) = (coordinator, faults, SeededGenerator(state: seed))
    }

    private var now: UInt64 { UInt64(Date().timeIntervalSince(start) * 1000) }

    /// One round: decides the fate of what has arrived, and sends what is due.
    func turn() throws {
        var idle = true
        while case .message(let message) = router.receive() {
            idle = false
            if legs[message.identity] == nil {
                legs[message.identity] = try Leg(context, coordinator, worker: message.identity, number: legs.count)
            }
            if let leg = legs[message.identity] { accept(leg, true, message.header, message.payload) }
        }
        for leg in legs.values {
            while case .message(let header, let payload) = leg.socket.receive() {
                idle = false
                accept(leg, false, header, payload)
            }
        }
        while stranger.socket.receive() != nil {}
        deliver()
        if idle { usleep(500) }
    }

    private func accept(_ leg: Leg, _ toCoordinator: Bool, _ header: [UInt8], _ payload: ZMQMessage?) {
        note(leg, toCoordinator, header)
        func happens(_ inAThousand: Int) -> Bool { Int.random(in: 0..<1000, using: &random) < inAThousand }
        var letter = Letter(due: now, leg: leg, toCoordinator: toCoordinator, header: header, payload: payload)
        if happens(faults.lost) {
            counts.lost += 1
            return
        }
        if happens(faults.delayed) {
            counts.delayed += 1
            letter.due += UInt64.random(in: 1...faults.longestDelayMilliseconds, using: &random)
        }
        letters.append(letter)
        if happens(faults.repeated) {
            counts.repeated += 1
            letter.due += UInt64.random(in: 0...faults.longestDelayMilliseconds, using: &random)
            letters.append(letter)
        }
        if toCoordinator, happens(faults.replayed) {
            counts.replayed += 1
            letter.due = now + UInt64.random(in: 0...(4 * faults.longestDelayMilliseconds), using: &random)
            letter.leg = stranger
            letters.append(letter)
        }
    }

    private func note(_ leg: Leg, _ toCoordinator: Bool, _ header: [UInt8]) {
        if toCoordinator {
            let message = try? header.withUnsafeBytes { bytes throws(WireError) in try WorkerMessage(header: bytes) }
            if case .laneReady = message { sights.append(.ready(worker: leg.number)) }
        } else {
            let message = try? header.withUnsafeBytes { bytes throws(WireError) in try CoordinatorMessage(header: bytes) }
            guard case .begin(let order) = message else { return }
            sights.append(.begin(worker: leg.number, update: order.update, lanes: order.lanes.count))
        }
    }

    private func deliver() {
        let time = now
        var later: [Letter] = []
        for letter in letters {
            guard letter.due <= time else {
                later.append(letter)
                continue
            }
            counts.passed += 1
            if letter.toCoordinator {
                // Not connected yet: the next round.
                if letter.leg.socket.send(header: letter.header, payload: letter.payload) == .wouldBlock { later.append(letter) }
            } else {
                _ = router.send(to: letter.leg.worker, header: letter.header, payload: letter.payload)
            }
        }
        letters = later
    }
}
