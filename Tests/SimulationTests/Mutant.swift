// Machines that are wrong on purpose. In: a mutation by name. Out: the machines' events, effects and states, changed as a bug would.
@testable import Base
@testable import Protocol

/// Bugs that the simulation must find: the test of the test. Production code does not know about them.
enum Mutation: String, CaseIterable, Sendable {
    /// Messages without an answer are not repeated.
    case forgetsReminders
    /// The worker accepts parameters that were damaged in transit.
    case trustsDamagedParameters
    /// A piece of the parameters is sent once, even if it is asked for again.
    case sendsPiecesOnce
    /// A piece of a gradient is requested only once.
    case asksForGradientsOnce
    /// Gradients that are no longer wanted are kept.
    case keepsArrivingGradients
    /// The coordinator waits for a peer that takes its parameters slowly, or not at all.
    case waitsForTheSlow
    /// The coordinator accepts gradients that were damaged in transit.
    case trustsDamagedGradients
    /// An answer to the previous update is taken for one to this update.
    case countsLateAnswers
    /// An answer counts although the lane was not, or is no longer, the worker's to compute.
    case countsUnorderedAnswers
    /// A lane's gradient is added twice.
    case addsALaneTwice
    /// An update proceeds without one of the answers.
    case skipsALane
    case appliesAnUpdateTwice
    case forgetsToWithdraw
    case keepsBuffers
    case letsBuffersGoTwice
    /// A lost worker keeps its lanes.
    case keepsLeasesOfTheLost
    /// A late lane is also ordered from a third worker.
    case ordersFromAThird
    /// Second answers are not compared with the first ones.
    case comparesNothing
    case admitsStrangers
    case finishesAnUpdateEarly
    /// A checkpoint counts from the moment it is begun.
    case acknowledgesBeforeWriting
    /// The worker sends each gradient only once, whatever it is told.
    case neverSendsAgain
    /// A holder that has its lane open gets no order before the next update.
    case letsHeirsWait
    /// An evaluation that is due is left out.
    case forgetsEvaluations
    /// An evaluation is judged without one of the answers.
    case judgesWithoutALane
    /// Training continues although an evaluation has ended it.
    case doesNotEndEarly
    /// The parameters are scored instead of their averages.
    case scoresTheParameters
}

/// Sits between a machine and its shell. Without a mutation everything passes unchanged.
final class Mutant {
    let mutation: Mutation?
    private var sent: Set<String> = []
    private var promised: [Round: UInt64] = [:]
    private var keptLanes: Numbered<LaneID, CoordinatorStateMachine.Lane>?
    private var keptOrder: (peer: PeerID, order: CoordinatorStateMachine.PeerOrder?)?

    init(_ mutation: Mutation?) { self.mutation = mutation }

    // MARK: the worker's

    func rewrite(_ event: WorkerStateMachine.Event) -> [WorkerStateMachine.Event] {
        guard mutation == .trustsDamagedParameters else { return [event] }
        switch event {
        case .message(.begin(let order), var payload):
            promised[order.round] = order.parameterHash
            payload?.hash = order.parameterHash
            return [.message(.begin(order), payload: payload)]
        case .parametersCame(let round, let hash): return [.parametersCame(round, hash: promised[round] ?? hash)]
        default: return [event]
        }
    }

    /// `name` tells workers and their lives apart.
    func rewrite(_ effects: [WorkerStateMachine.Effect], of name: String) -> [WorkerStateMachine.Effect] {
        guard mutation == .neverSendsAgain else { return effects }
        return effects.filter { effect in
            guard case .contribute(let c) = effect else { return true }
            return sent.insert("\(name) \(c.run) \(c.update) \(c.node)").inserted
        }
    }

    // MARK: the coordinator's

    func rewrite(
        _ event: CoordinatorStateMachine.Event, _ machine: inout CoordinatorStateMachine
    ) -> [CoordinatorStateMachine.Event] {
        keptLanes = nil
        switch (mutation, event) {
        case (.keepsLeasesOfTheLost, .peerLost): keptLanes = machine.lanes
        case (.admitsStrangers, .message(let peer, .hello(var hello), let payload)):
            (hello.program, hello.blas) = (machine.setup.program, machine.setup.blas)
            hello.fingerprints[machine.setup.arithmetic] = machine.setup.fingerprint
            return [.message(peer, .hello(hello), payload: payload)]
        case (_, .message(let peer, .contribution(let c), let payload)): return rewrite(c, peer, payload, &machine)
        case (.trustsDamagedGradients, .gradientCame(let peer, let number, var payload)):
            let arriving = machine.open?.arriving[peer]?.values.first { $0.number == number }
            payload.hash = arriving?.hash ?? payload.hash
            return [.gradientCame(peer, number: number, payload)]
        case (.forgetsEvaluations, .stepped(let hash, _)): return [.stepped(parameterHash: hash, evaluation: nil)]
        case (.scoresTheParameters, .stepped(let hash, .some)): return [.stepped(parameterHash: hash, evaluation: hash)]
        case (.doesNotEndEarly, .judged): return [.judged(goesOn: true)]
        default: break
        }
        return [event]
    }

    private func orderEverything(from peer: PeerID, _ machine: inout CoordinatorStateMachine) {
        guard let open = machine.open, machine.peers[peer] != nil else { return }
        keptOrder = (peer, open.orders[peer])
        machine.open?.orders[peer, default: .init(now: 0)].lanes.formUnion(machine.lanes.indices)
    }

    private func rewrite(
        _ c: Contribution, _ peer: PeerID, _ payload: Payload?, _ machine: inout CoordinatorStateMachine
    ) -> [CoordinatorStateMachine.Event] {
        var (c, payload) = (c, payload)
        switch mutation {
        case .trustsDamagedGradients: payload?.hash = c.hash
        case .countsLateAnswers:
            if let open = machine.open, c.purpose == .train, open.round.purpose == .train, c.update < open.number {
                (c.update, c.parameterHash) = (open.number, machine.parameterHash)
            }
        case .countsUnorderedAnswers:
            // Honest workers rarely answer for lanes that are not theirs: an answer without a gradient is said by another first.
            guard payload == nil, c.byteCount == 0, let other = machine.peers.keys.sorted().first(where: { $0 != peer }) else { break }
            orderEverything(from: other, &machine)
            return [other, peer].map { .message($0, .contribution(c), payload: nil) }
        case .comparesNothing:
            if c.purpose == .evaluate {
                if let first = machine.open?.received[c.node]?.contribution, c.round == machine.open?.round { c.losses = first.losses }
            } else if let first = machine.open?.received[c.node] ?? nil, c.round == machine.open?.round {
                c.hash = first.contribution.hash
                payload?.hash = c.hash
            } else if c.node.level == 0, let first = machine.lanes[LaneID(c.node.index)].leaving {
                c.hash = first.hash
                payload?.hash = c.hash
            } else if let first = machine.history[c.round]?.nodes[c.node] {
                c.hash = first.hash
                payload?.hash = c.hash
            }
        default: break
        }
        return [.message(peer, .contribution(c), payload: payload)]
    }

    func rewrite(
        _ effects: [CoordinatorStateMachine.Effect], after event: CoordinatorStateMachine.Event, now: Milliseconds,
        _ machine: inout CoordinatorStateMachine
    ) -> [CoordinatorStateMachine.Effect] {
        switch mutation {
        case .finishesAnUpdateEarly: if case .planned = event { machine.endUpdate = max(machine.nextUpdate, machine.endUpdate - 1) }
        case .keepsLeasesOfTheLost: if let keptLanes { machine.lanes = keptLanes }
        case .ordersFromAThird:
            for (index, lane) in zip(machine.lanes.indices, machine.lanes) where lane.backup?.ready == true {
                for id in machine.open?.orders.keys.sorted() ?? [] { machine.open?.orders[id]?.lanes.insert(index) }
            }
        case .countsUnorderedAnswers:
            if let keptOrder { machine.open?.orders[keptOrder.peer] = keptOrder.order }
            keptOrder = nil
        case .letsHeirsWait:
            guard case .message(_, .laneReady, _) = event else { break }
            return effects.filter { if case .order(let peer, _, _) = $0 { forgetOrder(of: peer, &machine) } else { true } }
        default: break
        }
        return effects.flatMap { rewrite($0, after: event, now: now, machine) }
    }

    private func forgetOrder(of peer: PeerID, _ machine: inout CoordinatorStateMachine) -> Bool {
        machine.open?.orders[peer] = nil
        return false
    }

    private func rewrite(
        _ effect: CoordinatorStateMachine.Effect, after event: CoordinatorStateMachine.Event, now: Milliseconds,
        _ machine: CoordinatorStateMachine
    ) -> [CoordinatorStateMachine.Effect] {
        switch (mutation, effect) {
        case (.forgetsReminders, .order): if case .tick = event { return [] }
        case (.forgetsReminders, .send(let peer, .lease(let lane, _))):
            if machine.lanes[lane].holders.contains(where: { $0.peer == peer && $0.since < now }) { return [] }
        case (.forgetsReminders, .send(let peer, .prepare(let shard, _, _))):
            if let since = machine.peers[peer]?.preparing[shard], since < now { return [] }
        case (.addsALaneTwice, .step(let update, let received)):
            if let node = received.last?.node, node.level > 0, var twice = received.last {
                (twice.node, twice.buffer) = (machine.tree.children(of: node).left, nil)
                return [.step(update: update, received + [twice])]
            }
        case (.skipsALane, .step(let update, let received)):
            if let last = received.last, received.count > 1 {
                return [.step(update: update, received.dropLast())] + (last.buffer.map { [.release($0)] } ?? [])
            }
        case (.judgesWithoutALane, .judge(let update, let received)):
            if received.count > 1 { return [.judge(update: update, received.dropLast())] }
        case (.appliesAnUpdateTwice, .step(let update, let received)):
            let again = received.map { entry in
                var copy = entry
                copy.buffer = nil
                return copy
            }
            return [effect, .step(update: update, again)]
        case (.sendsPiecesOnce, .serve(let peer, let request)):
            if case .parameters = request.blob, !sent.insert("\(peer) \(request)").inserted { return [] }
        case (.asksForGradientsOnce, .send(let peer, .fetch(let request))):
            if case .gradient = request.blob, !sent.insert("\(peer) \(request)").inserted { return [] }
        case (.keepsArrivingGradients, .forgetGradient): return []
        case (.forgetsToWithdraw, .send(_, .withdraw)): return []
        case (.keepsBuffers, .release): return []
        case (.letsBuffersGoTwice, .release): return [effect, effect]
        default: break
        }
        return [effect]
    }
}
