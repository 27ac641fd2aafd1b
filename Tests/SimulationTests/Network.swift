// The simulated network. In: frames. Out: the same frames, late, twice, in another order or never.
@testable import Base
@testable import Protocol

/// One connection of one worker. Each direction keeps its order, except for the faults of a scenario.
final class Connection {
    let worker: SimulatedWorker
    /// What the coordinator's socket calls it; never used twice.
    let identity: [UInt8]
    /// What the coordinator's shell calls the other end; given with the first message.
    var peer: PeerID?
    var isOpen = true
    /// The worker has died, but what it had sent still arrives.
    var drains = false
    fileprivate var lastUp: Milliseconds = 0
    fileprivate var lastDown: Milliseconds = 0

    init(_ worker: SimulatedWorker, number: UInt64) {
        self.worker = worker
        identity = (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
}

extension World {
    /// A worker's frame to the coordinator.
    func send(_ message: WorkerMessage, _ parcel: Parcel?, on connection: Connection) {
        let header = message.encoded()
        transit(connection, isUp: true, parcel) { [unowned self] parcel in
            guard let decoded = try? header.withUnsafeBytes({ try WorkerMessage(header: $0) }), decoded == message else {
                return violate("a frame does not survive the wire: \(message)")
            }
            coordinator.receive(decoded, parcel, connection)
        }
    }

    /// The coordinator's frame to a worker.
    func send(_ message: CoordinatorMessage, _ parcel: Parcel?, on connection: Connection) {
        let header = message.encoded()
        transit(connection, isUp: false, parcel) { [unowned self] parcel in
            guard let decoded = try? header.withUnsafeBytes({ try CoordinatorMessage(header: $0) }), decoded == message else {
                return violate("a frame does not survive the wire: \(message)")
            }
            connection.worker.receive(decoded, parcel)
        }
    }

    private func transit(_ connection: Connection, isUp: Bool, _ parcel: Parcel?, _ deliver: @escaping (Parcel?) -> Void) {
        if faultsAreOn, random.chance(scenario.loss) {
            coverage.lost += 1
            return
        }
        let isDouble = faultsAreOn && random.chance(scenario.duplication)
        for _ in 0..<(isDouble ? 2 : 1) {
            var parcel = parcel
            if faultsAreOn, parcel != nil, random.chance(scenario.damage) { parcel = parcel?.damaged }
            var arrival = now + Milliseconds(random.pick(scenario.latency))
            if faultsAreOn, random.chance(scenario.reordering) {
                arrival += Milliseconds(random.pick(0...3_000))
            } else if isUp {
                arrival = max(arrival, connection.lastUp)
                connection.lastUp = arrival
            } else {
                arrival = max(arrival, connection.lastDown)
                connection.lastDown = arrival
            }
            arrive(connection, isUp, at: arrival) { deliver(parcel) }
        }
    }

    private func arrive(_ connection: Connection, _ isUp: Bool, at time: Milliseconds, _ deliver: @escaping () -> Void) {
        let life = connection.worker.life
        schedule(after: Int(time - now)) { [unowned self] in
            guard connection.isOpen || isUp && connection.drains else { return }
            if now < connection.worker.partitionedUntil {
                // Nothing gets through; what was sent waits in the kernels' buffers.
                return arrive(connection, isUp, at: connection.worker.partitionedUntil, deliver)
            }
            if isUp {
                coordinator.whenAwake(coordinator.life, deliver)
            } else {
                connection.worker.whenAwake(life, deliver)
            }
        }
    }

    /// The connection is gone. What was in transit is lost; each side may or may not find out by itself.
    func cut(_ connection: Connection, drains: Bool = false) {
        guard connection.isOpen else { return }
        connection.isOpen = false
        connection.drains = drains
        if connection.worker.connection === connection {
            connection.worker.connection = nil
            connection.worker.connect()
        }
        guard let peer = connection.peer, random.chance(scenario.notices) else { return }
        coordinator.later(random.pick(0...300)) { [unowned self] in
            guard coordinator.connection(of: peer) === connection else { return }
            coordinator.forget(peer)
            coordinator.handle(.peerLost(peer, reason: "its connection is gone"))
        }
    }
}
