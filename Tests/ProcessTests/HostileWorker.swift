// A worker that is greeted, holds leases and lies. In: a coordinator's endpoint. Out: as many forged messages as requested.
import Base
import CLinux
import Foundation
import Protocol
import Run
import Transport

/// Poses as a worker of the right version with the right key: it holds lanes whenever it is greeted, and computes nothing.
final class HostileWorker {
    private let context: ZMQContext
    private let socket: DealerSocket
    private var figures: Figures
    private var session: UInt32 = 0
    private var instance: UInt64 = 1
    private var run: UInt64?
    private var order: Order?
    /// How often it was greeted, leased a lane, given an order, and refused.
    private(set) var greeted = 0, leases = 0, orders = 0, refusals = 0

    init(endpoint: String, seed: UInt64) throws {
        context = try ZMQContext()
        socket = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try socket.connect(endpoint)
        figures = Figures(random: SeededGenerator(state: seed))
    }

    /// - Returns: how many messages went out before the coordinator was gone.
    func lie(_ count: Int, while isRunning: () -> Bool) -> Int {
        var sent = 0
        introduce()
        while sent < count, isRunning() {
            for _ in 0..<32 {
                if run == nil || figures.chance(50) { introduce() }
                let (message, payload) = next()
                guard send(message, payload) else { break }
                sent += 1
            }
            listen()
            // Sometimes it behaves until it has work: lies are worse with an order in hand.
            if order == nil, figures.chance(20) { behave() }
        }
        return sent
    }

    /// Behaves until it has an order, then answers it with bytes that are no gradient, under their right hash.
    /// - Returns: whether it had an order, and was refused.
    func answerWithoutGradient() -> Bool {
        introduce()
        for _ in 0..<20 where order == nil { behave() }
        guard let order, let lane = order.lanes.first else { return false }
        let payload = [UInt8](repeating: 0xA5, count: 3_000)
        var answer = Contribution(
            run: order.run, roster: order.roster, update: order.update, parameterHash: order.parameterHash, node: TreeNode(lane: lane),
            selected: 1, words: 1, losses: [1], hash: 0)
        answer.hash = payload.withUnsafeBytes { Digest64.hash(blocks: $0) }
        _ = send(.contribution(answer), payload)
        for _ in 0..<400 where refusals == 0 {
            usleep(5_000)
            listen(isHonest: true)
        }
        return refusals > 0
    }

    private func behave() {
        if run == nil { introduce() }
        for _ in 0..<100 where order == nil {
            usleep(5_000)
            listen(isHonest: true)
        }
    }

    private func next() -> (WorkerMessage, [UInt8]?) {
        if let order, figures.chance(3) {
            let (contribution, payload) = figures.contribution(to: order)
            return (.contribution(contribution), payload)
        }
        let message = figures.workerMessage()
        // Mostly without a payload: otherwise that alone would be refused.
        if case .chunk = message { return (message, figures.payload()) }
        return (message, figures.chance(20) ? figures.payload() : nil)
    }

    private func introduce() {
        // A new one each time, which is not blamed for the previous one.
        (session, instance, order) = (session &+ 1, instance &+ 1, nil)
        var hello = Hello(
            program: Version.current, host: "hostile", processID: 1, threads: 1, blas: "none", fingerprints: .some, instance: instance)
        hello.session = session
        _ = send(.hello(hello), nil)
    }

    private func send(_ message: WorkerMessage, _ payload: [UInt8]?) -> Bool {
        let body = payload.flatMap { try? ZMQMessage($0) }
        for _ in 0..<2_000 {
            if socket.send(header: message.encoded(), payload: body) == .sent { return true }
            listen()
            usleep(1_000)
        }
        return false
    }

    private func listen(isHonest: Bool = false) {
        while let event = socket.receive() {
            guard case .message(let header, _) = event,
                let message = try? header.withUnsafeBytes({ try CoordinatorMessage(header: $0) })
            else { continue }
            switch message {
            case .welcome(let run, _, _): (self.run, greeted) = (run, greeted + 1)
            case .refuse: (run, order, refusals) = (nil, nil, refusals + 1)
            case .sayHello: run = nil
            case .lease(let lane, _):
                leases += 1
                // Most lanes are said to be ready, so that orders come.
                if isHonest || !figures.chance(4) { _ = socket.send(header: WorkerMessage.laneReady(lane).encoded()) }
            case .begin(let order): (self.order, orders) = (order, orders + 1)
            default: break
            }
        }
    }
}
