// Which worker computes which lane. Every lane has one active holder if there are workers; moves never interrupt an update.
import Base

extension CoordinatorStateMachine {
    /// Peers that may get work: those in good standing, or if there are none, all that are not in quarantine.
    func usable(_ now: Milliseconds) -> [(id: PeerID, peer: Peer)] {
        let all = peers.ascending(\.value.number).map { (id: $0.key, peer: $0.value) }
        let good = all.filter { $0.peer.standing.isGood(now) }
        return good.isEmpty ? all.filter { !$0.peer.standing.isQuarantined(now) } : good
    }

    /// How many lanes each usable peer should have: each lane goes to the peer with the fewest per thread.
    func targets(_ usable: [(id: PeerID, peer: Peer)]) -> [PeerID: Int] {
        var counts = [Int](repeating: 0, count: usable.count)
        for _ in 0..<lanes.count {
            let best = usable.indices.min { a, b in
                let (loadA, loadB) = (
                    (counts[a] + 1) * Int(max(1, usable[b].peer.hello.threads)), (counts[b] + 1) * Int(max(1, usable[a].peer.hello.threads))
                )
                return (loadA, a) < (loadB, b)
            }
            if let best { counts[best] += 1 }
        }
        return Dictionary(uniqueKeysWithValues: zip(usable.map(\.id), counts))
    }

    /// Gives every lane an owner and balances the load, moving as few lanes as possible.
    mutating func assign(_ now: Milliseconds, _ out: inout [Effect]) {
        guard phase == .training || phase == .stepping || phase == .judging, !peers.isEmpty else { return }
        guard startedTraining || peers.count >= setup.minimumWorkers else {
            if !saidWaiting {
                saidWaiting = true
                out.append(.log(.info, "\(peers.count) of \(setup.minimumWorkers) workers are here: waiting for the others"))
            }
            return
        }
        let usable = usable(now)
        guard !usable.isEmpty else { return }
        let targets = targets(usable)
        var owned: [PeerID: [LaneID]] = [:]
        var free: [LaneID] = []
        for index in lanes.indices {
            // A late active holder that has a backup keeps the lane until the race is decided.
            let owner = lanes[index].incoming?.peer ?? lanes[index].active?.peer
            if let owner, targets[owner] != nil || lanes[index].backup != nil {
                owned[owner, default: []].append(index)
            } else {
                free.append(index)
            }
        }
        for entry in usable {
            let surplus = (owned[entry.id]?.count ?? 0) - (targets[entry.id] ?? 0)
            guard surplus > 0, var list = owned[entry.id] else { continue }
            let movable = list.filter { lanes[$0].backup == nil }.suffix(surplus)
            free.append(contentsOf: movable)
            list.removeAll(where: movable.contains)
            owned[entry.id] = list
        }
        for index in free.ascending() {
            let room = usable.filter { (owned[$0.id]?.count ?? 0) < (targets[$0.id] ?? 0) }
            // Next to the lane before it, so that a worker's lanes share a node of the tree.
            guard let heir = room.first(where: { owned[$0.id]?.contains(index.advanced(by: -1)) == true }) ?? room.first else { continue }
            owned[heir.id, default: []].append(index)
            give(index, to: heir.id, now, &out)
        }
    }

    private mutating func give(_ index: LaneID, to id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        if lanes[index].active?.peer == id {
            if let other = lanes[index].incoming { withdraw(index, from: other.peer, &out) }
            lanes[index].incoming = nil
            return
        }
        if let other = lanes[index].incoming { withdraw(index, from: other.peer, &out) }
        lanes[index].incoming = nil
        if lanes[index].leaving?.peer == id { endLeaving(index, &out) }
        let holder = Holder(peer: id, now: now)
        if lanes[index].active == nil { lanes[index].active = holder } else { lanes[index].incoming = holder }
        roster += 1
        out.append(.send(id, .lease(lane: index, planBytes: planBytes)))
    }

    func withdraw(_ index: LaneID, from id: PeerID, _ out: inout [Effect]) {
        out.append(.send(id, .withdraw(lane: index)))
    }

    /// A worker has opened a lane.
    mutating func ready(_ index: LaneID, _ id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        guard index < lanes.endIndex else { return }
        if lanes[index].active?.peer == id, lanes[index].active?.ready == false {
            lanes[index].active?.ready = true
            orderOpenLane(index, id, now, &out)
        } else if lanes[index].incoming?.peer == id {
            lanes[index].incoming?.ready = true
            if lanes[index].active?.ready != true { takeOver(index, now, &out) }
        } else if lanes[index].backup?.peer == id, lanes[index].backup?.ready == false {
            lanes[index].backup?.ready = true
            orderOpenLane(index, id, now, &out)
        } else if !lanes[index].holders.contains(where: { $0.peer == id }), lanes[index].leaving?.peer != id {
            withdraw(index, from: id, &out)
        }
    }

    /// Incoming holders that are ready take over; called between updates only.
    mutating func promote(_ now: Milliseconds, _ out: inout [Effect]) {
        for index in lanes.indices where lanes[index].incoming?.ready == true { takeOver(index, now, &out) }
    }

    /// The incoming holder, which is ready, becomes the active one.
    private mutating func takeOver(_ index: LaneID, _ now: Milliseconds, _ out: inout [Effect]) {
        guard let next = lanes[index].incoming else { return }
        if let old = lanes[index].active {
            withdraw(index, from: old.peer, &out)
            counters.leasesMoved += 1
        }
        lanes[index].active = next
        lanes[index].incoming = nil
        roster += 1
        orderOpenLane(index, next.peer, now, &out)
    }

    /// The loser of a race has answered, or its answer is no longer expected.
    mutating func endLeaving(_ index: LaneID, _ out: inout [Effect]) {
        guard let leaving = lanes[index].leaving else { return }
        lanes[index].leaving = nil
        withdraw(index, from: leaving.peer, &out)
    }

    mutating func watchLeaving(_ now: Milliseconds, _ out: inout [Effect]) {
        for index in lanes.indices { if let leaving = lanes[index].leaving, now >= leaving.deadline { endLeaving(index, &out) } }
    }

    /// A holder that neither opens its lane nor requests anything loses it to another.
    mutating func watchOpening(_ now: Milliseconds, _ out: inout [Effect]) {
        var stuck: Set<PeerID> = []
        for holder in lanes.flatMap(\.holders) where !holder.ready {
            guard let peer = peers[holder.peer], now >= peer.standing.until,
                now >= max(holder.since, peer.lastProgress) + setup.times.opening
            else { continue }
            stuck.insert(holder.peer)
        }
        guard !stuck.isEmpty else { return }
        for id in stuck.ascending() {
            let seconds = setup.times.opening / 1000
            out.append(
                .log(
                    .warning,
                    "\(peers[id]?.name ?? "a worker") made no progress opening its lanes for \(seconds) s; leasing them to others"))
            suspend(id, now)
        }
        assign(now, &out)
    }

    /// Repeats leases and orders that were not answered.
    mutating func remind(_ now: Milliseconds, _ out: inout [Effect]) {
        func due(_ holder: Holder?) -> Bool {
            guard let holder else { return false }
            return !holder.ready && now >= holder.reminded + setup.times.reminder
        }
        for index in lanes.indices {
            for path in [\Lane.active, \Lane.incoming, \Lane.backup] where due(lanes[index][keyPath: path]) {
                guard let holder = lanes[index][keyPath: path] else { continue }
                lanes[index][keyPath: path]?.reminded = now
                out.append(.send(holder.peer, .lease(lane: index, planBytes: planBytes)))
            }
        }
        for (id, order) in open?.orders.ascending(\.key) ?? [] {
            // The wait doubles: each reminder may make a worker send a gradient again, which a slow link must carry.
            guard now >= order.reminded + setup.times.reminder << min(4, order.reminders),
                order.lanes.contains(where: { !isCovered($0) })
            else { continue }
            open?.orders[id]?.reminded = now
            open?.orders[id]?.reminders += 1
            sendOrder(id, withParameters: false, &out)
        }
    }
}
