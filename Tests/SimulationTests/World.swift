// A cluster in a box. In: a scenario. Out: a finished run, or the first thing that went wrong; the same for the same seed.
@testable import Base
@testable import Protocol

/// What happened in a run: a simulation in which nothing happens proves nothing.
struct Coverage {
    var lost = 0, doubleLeases = 0, duplicates = 0, moves = 0, mismatches = 0, refusals = 0
    var faults: [Fault: Int] = [:]
    var evaluations = 0, evaluationFaults = 0, earlyEnds = 0
    /// Pieces of parameters that were sent.
    var pieces = 0
    /// Pieces of gradients that were sent.
    var gradientPieces = 0
    var events = 0
    /// Time from the end of the faults to the end of the run, in milliseconds.
    var recovery = 0

    static func + (a: Coverage, b: Coverage) -> Coverage {
        Coverage(
            lost: a.lost + b.lost, doubleLeases: a.doubleLeases + b.doubleLeases, duplicates: a.duplicates + b.duplicates,
            moves: a.moves + b.moves,
            mismatches: a.mismatches + b.mismatches, refusals: a.refusals + b.refusals,
            faults: a.faults.merging(b.faults, uniquingKeysWith: +),
            evaluations: a.evaluations + b.evaluations, evaluationFaults: a.evaluationFaults + b.evaluationFaults,
            earlyEnds: a.earlyEnds + b.earlyEnds, pieces: a.pieces + b.pieces,
            gradientPieces: a.gradientPieces + b.gradientPieces,
            events: a.events + b.events, recovery: max(a.recovery, b.recovery))
    }
}

final class World {
    let scenario: Scenario
    let math: FakeMath
    let mutant: Mutant
    var random: SeededGenerator
    private(set) var now: Milliseconds = 0
    private(set) var faultsAreOn = true
    private(set) var violation: String?
    private(set) var workers: [SimulatedWorker] = []
    private(set) var lines: [String]?
    private var queue = EventQueue()
    private var isComplete = false
    private var newest: Round?
    var coverage = Coverage()
    private(set) lazy var coordinator = SimulatedCoordinator(self)
    private(set) lazy var ledger = Ledger(self)

    init(_ scenario: Scenario, mutation: Mutation? = nil, traces: Bool = false) {
        self.scenario = scenario
        mutant = Mutant(mutation)
        random = SeededGenerator(seed: scenario.seed ^ 0x3097_1D)
        math = FakeMath(seed: scenario.seed, lanes: scenario.lanes, updates: scenario.updates)
        lines = traces ? [] : nil
        workers = (0..<scenario.workers).map { SimulatedWorker(self, $0) }
    }

    func schedule(after delay: Int, _ action: @escaping () -> Void) { queue.push(now + Milliseconds(delay), action) }

    func violate(_ what: String) {
        guard violation == nil else { return }
        violation = "at \(now) ms: \(what)"
        trace("VIOLATION: \(what)")
    }

    func trace(_ line: @autoclosure () -> String) {
        if lines != nil { lines?.append("\(now) \(line())") }
    }

    /// Runs to the end. - Returns: the violation, if any.
    func run() -> String? {
        coordinator.start()
        for (index, worker) in workers.enumerated() {
            schedule(after: index == 0 ? 0 : random.pick([0, 0, 1_000, 4_000, 9_000]) ?? 0) { worker.start() }
        }
        for (time, fault) in scenario.faults { schedule(after: Int(time)) { [unowned self] in strike(fault) } }
        schedule(after: Int(scenario.faultsEnd)) { [unowned self] in heal() }
        let end = scenario.faultsEnd + scenario.patience
        while violation == nil, !isComplete, let (time, action) = queue.pop() {
            now = time
            coverage.events += 1
            if now > end {
                violate("the faults ended at \(scenario.faultsEnd) ms and the run is not done")
                break
            }
            action()
        }
        if violation == nil, !isComplete { violate("nothing is left to happen and the run is not done") }
        coverage.recovery = Int(now) - Int(min(now, scenario.faultsEnd))
        return violation
    }

    func restarted(_ run: UInt64, at version: UInt64, scored: UInt64) {
        trace("coordinator starts run \(run) at version \(version)")
        ledger.restarted(run, at: version, scored: scored)
    }

    /// Faults that a scenario has for an update, or an evaluation, strike the first time that it is ordered.
    func began(_ round: Round) {
        guard newest.map({ round > $0 }) ?? true else { return }
        newest = round
        let faults = round.purpose == .train ? scenario.faultsInUpdates : scenario.faultsInEvaluations
        for (delay, fault) in faults[round.update] ?? [] {
            schedule(after: delay) { [unowned self] in
                if faultsAreOn, round.purpose == .evaluate { coverage.evaluationFaults += 1 }
                strike(fault)
            }
        }
    }

    /// The coordinator left on its own: its last messages still arrive.
    func ended(isComplete: Bool) {
        self.isComplete = isComplete
        let connections = workers.compactMap(\.connection)
        coordinator.endLife()
        schedule(after: 500) { [unowned self] in for connection in connections { cut(connection) } }
        schedule(after: random.pick(600...5_000)) { [unowned self] in coordinator.start() }
    }

    private func strike(_ fault: Fault) {
        guard faultsAreOn else { return }
        trace("FAULT \(fault)")
        coverage.faults[fault, default: 0] += 1
        let living = workers.filter(\.isAlive)
        switch fault {
        case .killWorker: if let worker = random.pick(living) { kill(worker) }
        case .killAllWorkers: for worker in living { kill(worker) }
        case .startWorker: random.pick(workers.filter { !$0.isAlive })?.start()
        case .pauseWorker: random.pick(living)?.pause(random.pick([300, 1_500, 4_000, 12_000, 30_000]) ?? 0)
        case .cutConnection: if let connection = random.pick(living.compactMap(\.connection)) { cut(connection) }
        case .partitionWorker:
            guard let worker = random.pick(living) else { return }
            worker.partitionedUntil = max(worker.partitionedUntil, now + Milliseconds(random.pick(300...20_000)))
            if random.chance(0.3), let connection = worker.connection { cut(connection) }
        // One at a time: each that hangs costs a deadline.
        case .hangWorker: if !living.contains(where: \.isHung) { random.pick(living)?.isHung = true }
        case .cleanDisk: random.pick(workers)?.cleanDisk()
        case .troubleWorker:
            guard let worker = random.pick(living) else { return }
            if random.chance(0.5) { worker.failingStores += 1 } else { worker.troubles += random.pick(1...3) }
        case .crashCoordinator:
            coordinator.crash()
            schedule(after: random.pick(200...5_000)) { [unowned self] in coordinator.start() }
        case .stopCoordinator: coordinator.whenAwake(coordinator.life) { [unowned self] in coordinator.handle(.stopRequested) }
        case .pauseCoordinator: coordinator.pause(random.pick([300, 2_500, 12_000]) ?? 0)
        }
    }

    private func kill(_ worker: SimulatedWorker) {
        worker.crash()
        if random.chance(0.7) { schedule(after: random.pick(100...6_000)) { worker.start() } }
    }

    private func heal() {
        trace("HEAL")
        faultsAreOn = false
        for worker in workers { (worker.troubles, worker.failingStores) = (0, 0) }
        // Do not wait for a worker whose compute threads hang forever, as long as there is another one.
        let healthy = workers.filter { $0.isAlive && !$0.isHung && $0.number != scenario.foreigner }
        if healthy.isEmpty { for worker in workers where worker.isHung { worker.crash() } }
        for worker in workers where !worker.isAlive { worker.start() }
    }
}
