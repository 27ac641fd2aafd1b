// One update at a time: orders, contributions, the cover of the tree, late lanes, second holders.
import Base

extension CoordinatorStateMachine {
    /// Whether there is an update to do, or an evaluation.
    var hasWork: Bool { nextUpdate < endUpdate || evaluation != nil }

    /// Opens the next round when every lane has a holder that is ready: an evaluation if one is due, otherwise the next update.
    mutating func beginUpdate(_ now: Milliseconds, _ out: inout [Effect]) {
        guard open == nil else { return }
        if !hasWork {
            finish(.complete, &out)
            return
        }
        if stopping {
            finish(.stop, &out)
            return
        }
        guard startedTraining || peers.count >= setup.minimumWorkers else { return }
        promote(now, &out)
        guard lanes.allSatisfy({ $0.active?.ready == true }) else { return }
        startedTraining = true
        var update = OpenUpdate(
            round: Round(nextUpdate, evaluation == nil ? .train : .evaluate), parameterHash: evaluation ?? parameterHash,
            covered: LaneSet(lanes: lanes.count))
        for (index, lane) in zip(lanes.indices, lanes) {
            guard let active = lane.active else { return }
            update.orders[active.peer, default: PeerOrder(now: now)]
                .lanes.insert(index)
        }
        open = update
        wait = Wait(begun: now)
        for id in update.orders.keys.ascending({ peers[$0]?.number ?? 0 }) {
            sendOrder(id, withParameters: true, &out)
        }
    }

    mutating func sendOrder(_ id: PeerID, withParameters: Bool, _ out: inout [Effect]) {
        guard let open, let order = open.orders[id] else { return }
        if withParameters { self.open?.orders[id]?.parametersSent = true }
        out.append(
            .order(
                id,
                Order(
                    run: setup.run, roster: roster, update: open.number, purpose: open.round.purpose,
                    epoch: UInt32(clamping: open.number / updatesPerEpoch), updateInEpoch: open.number % updatesPerEpoch,
                    parameterHash: open.parameterHash, lanes: order.lanes.ascending(), leaves: order.leaves.ascending()),
                withParameters: withParameters))
    }

    // MARK: Parameters

    /// A peer requests a piece of the parameters. Without an order, or for another round, the request is not answered.
    mutating func askForParameters(_ id: PeerID, _ request: FetchRequest, _ now: Milliseconds) {
        guard let open, request.blob == open.round.blob, open.orders[id] != nil else { return }
        self.open?.delivery.ask(id, offset: request.offset, isSlow: peers[id]?.takesSlowly ?? false, now)
    }

    mutating func noteTaken(_ id: PeerID) {
        if let inTime = open?.delivery.taken(id) { peers[id]?.takesSlowly = !inTime }
    }

    /// Sends the pieces whose turn it is.
    mutating func deliver(_ now: Milliseconds, _ out: inout [Effect]) {
        guard let blob = open?.round.blob, let progress = open?.delivery.serve(now, span: setup.times.taking) else { return }
        for id in progress.overdue { peers[id]?.takesSlowly = true }
        // Waiting for other peers does not make a peer late.
        for id in progress.begun { open?.orders[id]?.begun = now }
        for (id, offset) in progress.pieces {
            let length = min(UInt64(WireLimits.piece), setup.parameterBytes - offset)
            out.append(.serve(id, FetchRequest(blob: blob, offset: offset, length: UInt32(length))))
        }
    }

    /// A holder became ready while an update is open: it is ordered to compute the lane.
    mutating func orderOpenLane(_ lane: LaneID, _ id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        guard open != nil, phase == .training, !isCovered(lane) else { return }
        let isSecond = lanes[lane].backup != nil
        roster += 1
        var order = open?.orders[id] ?? PeerOrder(now: now)
        // The same order is not repeated: the worker would send all of its gradients again.
        let isNew = order.lanes.insert(lane).inserted
        guard isSecond ? order.leaves.insert(lane).inserted || isNew : isNew else { return }
        order.reminded = now
        open?.orders[id] = order
        sendOrder(id, withParameters: !order.parametersSent, &out)
        if isSecond, let first = lanes[lane].active?.peer, first != id, open?.orders[first]?.lanes.contains(lane) == true,
            open?.orders[first]?.leaves.insert(lane).inserted == true
        {
            open?.orders[first]?.reminded = now
            sendOrder(first, withParameters: false, &out)
        }
    }

    /// Whether some received node covers the lane.
    func isCovered(_ lane: LaneID) -> Bool {
        open?.covered.contains(lane) ?? false
    }

    /// - Returns: whether the payload was kept.
    mutating func accept(
        _ contribution: Contribution, _ payload: Payload?, _ id: PeerID, _ now: Milliseconds, _ out: inout [Effect]
    ) -> Bool {
        let node = contribution.node
        guard contribution.run == setup.run else { return refuse(id, "a contribution to another run", &out) }
        if let payload, payload.hash != contribution.hash {
            return refuse(id, "a contribution for update \(contribution.update) that was damaged on the way", &out)
        }
        if let fault = payload?.fault {
            expel(id, "a gradient that cannot be decoded: \(fault)", now, &out)
            return false
        }
        guard let current = open, contribution.round == current.round else {
            compareLate(contribution, id, &out)
            return false
        }
        guard contribution.parameterHash == current.parameterHash else {
            return refuse(id, "a contribution to update \(contribution.update) computed from other parameters", &out)
        }
        let ordered = current.orders[id]?.lanes ?? []
        noteTaken(id)
        open?.answered[node, default: []].insert(id)
        if let first = current.received[node] {
            counters.duplicates += 1
            compare(node, first.contribution.evidence, first.peer, contribution.evidence, id, &out)
            return false
        }
        guard tree.lanes(below: node).allSatisfy({ ordered.contains($0) }) else {
            // A late answer for a lease that was withdrawn: the sum is the same, but the peer no longer holds its lanes.
            counters.duplicates += 1
            return false
        }
        if contribution.byteCount > 0, payload == nil {
            fetchGradient(of: contribution, from: id, now, &out)
            return false
        }
        open?.received[node] = Received(node: node, contribution: contribution, buffer: payload?.buffer, peer: id)
        open?.covered.insert(tree.lanes(below: node))
        for other in current.arriving.keys.ascending() { endFetch(of: node, from: other, &out) }
        if let order = open?.orders[id], !order.isDone, order.lanes.allSatisfy({ isCovered($0) }) {
            open?.orders[id]?.isDone = true
            latencies[current.round.purpose] = (latencies[current.round.purpose, default: []] + [now - order.begun])
                .suffix(Self.latencyWindow)
        }
        finishUpdate(now, &out)
        return true
    }

    private mutating func refuse(_ id: PeerID, _ what: String, _ out: inout [Effect]) -> Bool {
        counters.refusals += 1
        out.append(.log(.warning, "refused from \(peers[id]?.name ?? "a peer"): \(what)"))
        return false
    }

    private mutating func compareLate(_ contribution: Contribution, _ id: PeerID, _ out: inout [Effect]) {
        counters.duplicates += 1
        let index = LaneID(contribution.node.index)
        if contribution.node.level == 0, let leaving = lanes[index].leaving, leaving.peer == id, leaving.round == contribution.round {
            if leaving.parameterHash == contribution.parameterHash {
                compare(contribution.node, leaving.hash, leaving.winner, contribution.evidence, id, &out)
            }
            endLeaving(index, &out)
            return
        }
        if let past = history[contribution.round], past.parameterHash == contribution.parameterHash,
            let first = past.nodes[contribution.node]
        {
            compare(contribution.node, first.hash, first.peer, contribution.evidence, id, &out)
        }
    }

    mutating func compare(_ node: TreeNode, _ a: UInt64, _ first: PeerID, _ b: UInt64, _ second: PeerID, _ out: inout [Effect]) {
        guard a != b else { return }
        counters.mismatches += 1
        let names = [first, second].map { peers[$0]?.name ?? "a worker that has left" }
        out.append(
            .log(
                .error,
                "\(names[0]) and \(names[1]) computed different gradients for lanes \(tree.lanes(below: node)) of the same update: "
                    + "one of the machines is broken, or they differ in OpenBLAS core (see --strict-bits, --blas-core)"))
    }

    private mutating func finishUpdate(_ now: Milliseconds, _ out: inout [Effect]) {
        guard let current = open, let cover = tree.cover(tree.root, have: { current.received[$0] != nil }) else { return }
        let chosen = cover.compactMap { current.received[$0] }
        let rest = current.received.keys.filter { !cover.contains($0) }.ascending()
        for node in rest { if let buffer = current.received[node]?.buffer { out.append(.release(buffer)) } }
        history[current.round] = (current.parameterHash, current.received.mapValues { ($0.contribution.evidence, $0.peer) })
        if current.number >= Self.historyLength {
            for purpose in [Purpose.train, .evaluate] { history[Round(current.number - Self.historyLength, purpose)] = nil }
        }
        decideRaces(current, chosen, now, &out)
        for id in current.arriving.keys.ascending() {
            for node in (current.arriving[id] ?? [:]).keys.ascending() { endFetch(of: node, from: id, &out) }
        }
        open = nil
        switch current.round.purpose {
        case .train:
            phase = .stepping
            out.append(.step(update: current.number, chosen))
        case .evaluate:
            phase = .judging
            out.append(.judge(update: current.number, chosen))
        }
    }

    /// Where two workers held a lane, the one whose answer counted keeps it.
    private mutating func decideRaces(_ update: OpenUpdate, _ chosen: [Received], _ now: Milliseconds, _ out: inout [Effect]) {
        for index in lanes.indices {
            guard let backup = lanes[index].backup else { continue }
            let winner = chosen.first { tree.lanes(below: $0.node).contains(index) }
            lanes[index].backup = nil
            if winner?.peer == backup.peer {
                if let loser = lanes[index].active {
                    leave(index, loser, update, winner, now, &out)
                    suspend(loser.peer, now)
                }
                lanes[index].active = backup
                counters.leasesMoved += 1
            } else {
                leave(index, backup, update, winner, now, &out)
            }
            roster += 1
        }
    }

    /// The loser keeps the lane until its answer has arrived: a difference between two machines must be reported, however late.
    private mutating func leave(
        _ index: LaneID, _ loser: Holder, _ update: OpenUpdate, _ winner: Received?, _ now: Milliseconds, _ out: inout [Effect]
    ) {
        let leaf = TreeNode(lane: index)
        guard let winner, winner.node == leaf, loser.ready, update.orders[loser.peer]?.lanes.contains(index) == true,
            update.answered[leaf]?.contains(loser.peer) != true
        else { return withdraw(index, from: loser.peer, &out) }
        lanes[index].leaving = Leaving(
            peer: loser.peer, round: update.round, parameterHash: update.parameterHash, hash: winner.contribution.evidence,
            winner: winner.peer, deadline: now + setup.times.opening)
    }

    mutating func stepped(_ hash: UInt64, _ evaluation: UInt64?, _ now: Milliseconds, _ out: inout [Effect]) {
        guard phase == .stepping else { return }
        train(now)
        (parameterHash, self.evaluation) = (hash, evaluation)
        nextUpdate += 1
        counters.updates += 1
        assign(now, &out)
    }

    mutating func judged(_ goesOn: Bool, _ now: Milliseconds, _ out: inout [Effect]) {
        guard phase == .judging else { return }
        train(now)
        evaluation = nil
        counters.evaluations += 1
        if goesOn { assign(now, &out) } else { finish(.endEarly, &out) }
    }

    /// The usual time from an order to its answer; nil if there was no answer yet.
    func usualLatency(_ purpose: Purpose) -> Milliseconds? {
        guard let known = latencies[purpose], !known.isEmpty else { return nil }
        // The lower median: with two workers, one that never answers must not determine the usual time. Held-out documents are spread
        // unevenly over the lanes, and many lanes may have none: there the longest time counts.
        return purpose == .train ? known.ascending()[(known.count - 1) / 2] : known.max()
    }

    /// Leases a lane that is later than the others to a second worker.
    mutating func watchLate(_ now: Milliseconds, _ out: inout [Effect]) {
        guard let current = open else { return }
        let limit = max(setup.times.late, usualLatency(current.round.purpose).map { setup.times.lateFactor * $0 } ?? setup.times.opening)
        for index in lanes.indices where !isCovered(index) {
            guard let late = lanes[index].active, late.ready, lanes[index].backup == nil, !current.delivery.isWaiting(late.peer),
                let order = current.orders[late.peer], order.lanes.contains(index), now >= order.begun + limit
            else { continue }
            if let incoming = lanes[index].incoming {
                endLeaving(index, &out)
                // The incoming holder is already opening the lane: it becomes the second holder.
                lanes[index].backup = incoming
                lanes[index].incoming = nil
                noteSecond(index, incoming.peer, late.peer, &out)
                if incoming.ready { orderOpenLane(index, incoming.peer, now, &out) }
                continue
            }
            endLeaving(index, &out)
            // The worker with the least work left; not one that is late itself.
            let candidates = peers.filter { id, peer in
                id != late.peer && peer.standing.maySecond(now) && openLanes(id) == 0
                    && backups(id) < Int(max(1, peer.hello.threads))
            }
            guard
                let second = candidates.min(by: { a, b in
                    let (suspendedA, suspendedB) = (now < a.value.standing.until ? 1 : 0, now < b.value.standing.until ? 1 : 0)
                    return (suspendedA, backups(a.key), a.value.number) < (suspendedB, backups(b.key), b.value.number)
                })
            else { continue }
            lanes[index].backup = Holder(peer: second.key, now: now)
            noteSecond(index, second.key, late.peer, &out)
            out.append(.send(second.key, .lease(lane: index, planBytes: planBytes)))
        }
    }

    private mutating func noteSecond(_ index: LaneID, _ id: PeerID, _ late: PeerID, _ out: inout [Effect]) {
        counters.doubleLeases += 1
        roster += 1
        let names = [late, id].map { peers[$0]?.name ?? "a worker" }
        out.append(.log(.info, "lane \(index) is late with \(names[0]): also leased to \(names[1])"))
    }

    /// Lanes of the open update that the peer was ordered to compute and that are not covered, without second leases.
    private func openLanes(_ id: PeerID) -> Int {
        (open?.orders[id]?.lanes ?? []).count { lane in !isCovered(lane) && lanes[lane].active?.peer == id }
    }

    /// Second leases that have not been answered.
    private func backups(_ id: PeerID) -> Int { lanes.indices.count { lanes[$0].backup?.peer == id && !isCovered($0) } }
}
