// Invariants. In: every event, effect and state of the coordinator's machine. Out: the first violation.
@testable import Base
@testable import Protocol

/// Keeps its own records beside the machine and compares.
final class Ledger {
    unowned let world: World
    /// The version that the run must never fall behind again.
    private var acknowledged: UInt64 = 0
    private var run: UInt64 = 0
    private var nextUpdate: UInt64 = 0
    /// Lanes each greeted peer was told to hold, by the messages sent to it.
    private var told: [PeerID: Set<LaneID>] = [:]
    private var sessions: [PeerID: UInt32] = [:]
    /// Lanes of the current update that each peer is ordered to compute.
    private var ordered: [PeerID: Set<LaneID>] = [:]
    /// Nodes of it that were accepted.
    private var seen: Set<TreeNode> = []
    private var begun: Round?
    /// Evidence of what was accepted, by round and node.
    private var accepted: [Round: [TreeNode: UInt64]] = [:]
    /// The last version that was scored, as far as the coordinator knows.
    private var scored: UInt64 = 0
    private var mismatches: UInt64 = 0
    private var mustReport = false
    private var openBefore: Round?

    init(_ world: World) { self.world = world }

    private var math: FakeMath { world.math }

    func restarted(_ run: UInt64, at version: UInt64, scored: UInt64) {
        if version < acknowledged { world.violate("the run continues from version \(version) although \(acknowledged) was durable") }
        (self.run, nextUpdate, self.scored) = (run, version, scored)
        (told, sessions, ordered, begun, accepted, mismatches) = ([:], [:], [:], nil, [:], 0)
    }

    func acknowledge(_ version: UInt64) { acknowledged = max(acknowledged, version) }

    func applied(_ update: UInt64, _ parameters: [Float]) {
        guard update == nextUpdate else { return world.violate("update \(update) is applied when \(nextUpdate) is next") }
        nextUpdate += 1
        if world.scenario.brokenWorker == nil, parameters != math.versions[Int(nextUpdate)] {
            world.violate("version \(nextUpdate) has other bits than in an undisturbed run")
        }
    }

    // MARK: around each event

    func before(_ event: CoordinatorStateMachine.Event, _ machine: CoordinatorStateMachine) {
        mismatches = machine.counters.mismatches
        mustReport = false
        openBefore = machine.open?.round
        guard case .message(let peer, .contribution(let c), let payload) = event, machine.peers[peer] != nil, c.run == run,
            payload?.hash ?? c.hash == c.hash, machine.phase != .ended
        else { return }
        if c.node.level == 0, let leaving = machine.lanes[LaneID(c.node.index)].leaving, leaving.peer == peer, leaving.round == c.round {
            mustReport = leaving.hash != c.evidence
        }
        let first =
            machine.open.flatMap { $0.round == c.round ? $0.received[c.node]?.contribution.evidence : nil } ?? accepted[c.round]?[c.node]
        if let first, first != c.evidence, c.update + 6 > nextUpdate { mustReport = true }
    }

    func note(_ effect: CoordinatorStateMachine.Effect, _ machine: CoordinatorStateMachine) {
        switch effect {
        case .send(let peer, let message): note(peer, message)
        case .order(let peer, let order, _): note(peer, order)
        case .step(let update, let received): note(Round(update, .train), received)
        case .judge(let update, let received):
            note(Round(update, .evaluate), received)
            scored = update
            world.coverage.evaluations += 1
        case .endEarly:
            world.coverage.earlyEnds += 1
            if world.scenario.earlyEnd != nextUpdate { world.violate("the run ends early after \(nextUpdate) updates") }
        case .complete where nextUpdate < UInt64(world.scenario.updates):
            world.violate("the run is called complete after \(nextUpdate) of \(world.scenario.updates) updates")
        case .complete where isUnscored(nextUpdate): world.violate("the run is called complete and its last version is not scored")
        case .complete where world.scenario.earlyEnd != nil: world.violate("the run continues although an evaluation has ended it")
        default: break
        }
    }

    private func note(_ peer: PeerID, _ message: CoordinatorMessage) {
        switch message {
        case .welcome(_, let session, _):
            // An answer that is repeated changes nothing.
            guard sessions[peer] != session else { break }
            sessions[peer] = session
            told[peer] = []
            ordered[peer] = []
        case .lease(let lane, _): told[peer]?.insert(lane)
        case .withdraw(let lane):
            told[peer]?.remove(lane)
            ordered[peer]?.remove(lane)
        case .refuse(let why):
            guard let worker = world.coordinator.connection(of: peer)?.worker else { break }
            if worker.number != world.scenario.foreigner { world.violate("an honest worker is refused: \(why)") }
        default: break
        }
        switch message {
        case .lease, .prepare, .welcome:
            guard let worker = world.coordinator.connection(of: peer)?.worker else { return }
            if worker.number == world.scenario.foreigner { world.violate("a worker of another kind is told \(message)") }
        default: break
        }
    }

    private func isUnscored(_ version: UInt64) -> Bool { world.scenario.isScored(version) && scored < version }

    private func note(_ peer: PeerID, _ order: Order) {
        if begun != order.round {
            begun = order.round
            ordered = [:]
            seen = []
            world.began(order.round)
            if isUnscored(order.update) != (order.purpose == .evaluate) {
                world.violate("\(order.round) is ordered, and version \(scored) was the last that was scored")
            }
        }
        if order.run != run || order.update != nextUpdate { world.violate("update \(order.update) is ordered when \(nextUpdate) is next") }
        if !(told[peer] ?? []).isSuperset(of: order.lanes) {
            world.violate("peer \(peer) is ordered lanes \(order.lanes) but was leased \((told[peer] ?? []).sorted())")
        }
        ordered[peer, default: []].formUnion(order.lanes)
    }

    private func note(_ round: Round, _ received: [CoordinatorStateMachine.Received]) {
        let update = round.update
        if update != nextUpdate { world.violate("update \(update) is stepped when \(nextUpdate) is next") }
        var covered: [LaneID] = []
        for entry in received {
            let lanes = math.tree.lanes(below: entry.node)
            covered += lanes
            let c = entry.contribution
            if c.round != round || c.run != run { world.violate("a contribution to \(c.round) is counted in \(round)") }
            accept(entry)
            if round.purpose == .evaluate, world.scenario.brokenWorker != nil { continue }
            let averages = FakeMath.averages(math.versions[Int(update)])
            let figures = lanes.map {
                round.purpose == .train ? math.figures(update: update, lane: $0) : math.score(lane: $0, averages)
            }
            if c.losses != figures.map(\.loss.bitPattern) || c.words != figures.reduce(0, { $0 + $1.words })
                || c.selected != figures.reduce(0, { $0 + $1.selected })
            {
                world.violate("the figures of lanes \(lanes) in update \(update) are wrong")
            }
        }
        if covered.sorted() != Array(0..<LaneID(math.tree.lanes)) { world.violate("update \(update) adds lanes \(covered)") }
        accepted[round] = received.reduce(into: [:]) { $0[$1.node] = $1.contribution.evidence }
    }

    /// Only the answer of a worker that is responsible when it arrives counts.
    private func accept(_ entry: CoordinatorStateMachine.Received) {
        guard seen.insert(entry.node).inserted else { return }
        let (lanes, ordered) = (math.tree.lanes(below: entry.node), ordered[entry.peer] ?? [])
        if !lanes.allSatisfy({ ordered.contains($0) }) {
            world.violate("peer \(entry.peer)'s answer for lanes \(lanes) is counted, but it was ordered \(ordered.sorted())")
        }
    }

    // MARK: states

    func after(_ event: CoordinatorStateMachine.Event, _ machine: CoordinatorStateMachine, held: Set<BufferID>) {
        for entry in machine.open?.received.values.sorted(by: { $0.node < $1.node }) ?? [] { accept(entry) }
        let received = machine.open?.received.values.compactMap(\.buffer) ?? []
        if held != Set(received) { world.violate("buffers \(held.sorted()) are held, the open update needs \(received.sorted())") }
        checkArriving(machine)
        if mustReport, machine.counters.mismatches == mismatches { world.violate("two different answers for one lane are not reported") }
        guard machine.phase != .ended else { return }
        checkLeases(machine)
        if case .tick = event, machine.phase == .training, machine.startedTraining, !machine.usable(world.now).isEmpty,
            let lane = machine.lanes.firstIndex(where: { $0.active == nil })
        {
            world.violate("no worker holds lane \(lane) although there are workers")
        }
        checkOpenUpdate(machine)
        if case .tick = event { checkDelivery(machine) }
        count(machine)
    }

    /// Memory is kept for the gradients that are fetched, and for no others.
    private func checkArriving(_ machine: CoordinatorStateMachine) {
        for (peer, gradients) in world.coordinator.gradients {
            let wanted = Set((machine.open?.arriving[peer] ?? [:]).values.map(\.number))
            if !wanted.isSuperset(of: gradients.keys) { world.violate("a gradient of peer \(peer) is kept that is not fetched") }
        }
    }

    private func checkLeases(_ machine: CoordinatorStateMachine) {
        var holding: [PeerID: Set<LaneID>] = [:]
        for (index, lane) in zip(machine.lanes.indices, machine.lanes) {
            let peers = lane.holders.map(\.peer)
            if Set(peers).count < peers.count { world.violate("one peer holds lane \(index) twice") }
            if let leaving = lane.leaving?.peer {
                if peers.contains(leaving) { world.violate("peer \(leaving) holds lane \(index) and leaves it") }
                if lane.backup != nil { world.violate("lane \(index) has a backup although a worker leaves it") }
                holding[leaving, default: []].insert(index)
            }
            for peer in peers { holding[peer, default: []].insert(index) }
        }
        for peer in holding.keys where machine.peers[peer] == nil { world.violate("peer \(peer) holds lanes and is not here") }
        for peer in machine.peers.keys where told[peer, default: []] != holding[peer, default: []] {
            world.violate(
                "peer \(peer) was told to hold \(told[peer, default: []].sorted()), the machine has \(holding[peer, default: []].sorted())")
        }
    }

    private func checkOpenUpdate(_ machine: CoordinatorStateMachine) {
        guard let open = machine.open else { return }
        for (index, lane) in zip(machine.lanes.indices, machine.lanes) {
            let ordered = open.orders.filter { $0.value.lanes.contains(index) }.map(\.key)
            if ordered.count > 2 { world.violate("lane \(index) is ordered from \(ordered.count) workers") }
            for holder in [lane.active, lane.backup].compactMap({ $0 }) where holder.ready {
                if !machine.isCovered(index), !ordered.contains(holder.peer) {
                    world.violate("peer \(holder.peer) has lane \(index) ready in update \(open.number) and no order for it")
                }
            }
            if open.round != openBefore, lane.incoming?.ready == true {
                world.violate("update \(open.number) begins while a ready worker waits for lane \(index)")
            }
        }
        if open.received.count > 2 * machine.lanes.count { world.violate("\(open.received.count) contributions are kept") }
    }

    /// While others wait for parameters, the first peer may take only this long.
    private func checkDelivery(_ machine: CoordinatorStateMachine) {
        guard let delivery = machine.open?.delivery, delivery.makesWait, let since = delivery.oldestPlace else { return }
        let windows = Int(world.scenario.size(of: .parameters(0))) / (WireLimits.piece * WireLimits.window) + 1
        let longest = world.scenario.times.taking * Milliseconds(1 + windows) + Milliseconds(world.scenario.tick)
        if world.now > since + longest { world.violate("parameters are held up for \(world.now - since) ms") }
    }

    private func count(_ machine: CoordinatorStateMachine) {
        let counters = machine.counters
        world.coverage.doubleLeases = max(world.coverage.doubleLeases, Int(counters.doubleLeases))
        world.coverage.duplicates = max(world.coverage.duplicates, Int(counters.duplicates))
        world.coverage.moves = max(world.coverage.moves, Int(counters.leasesMoved))
        world.coverage.mismatches = max(world.coverage.mismatches, Int(counters.mismatches))
        world.coverage.refusals = max(world.coverage.refusals, Int(counters.refusals))
    }
}
