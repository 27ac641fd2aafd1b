// Members: greeting, refusing, losing and suspending workers.
import Base

extension CoordinatorStateMachine {
    mutating func greet(_ id: PeerID, _ hello: Hello, _ now: Milliseconds, _ out: inout [Effect]) {
        guard phase != .ended else { return }
        if let why = refusal(hello) ?? RunBounds.objection(to: hello) {
            counters.refusals += 1
            if peers[id] != nil { lose(id, why, now, &out) }
            out.append(.send(id, .refuse(why)))
            out.append(.log(.warning, "refused a worker on \(hello.host.isEmpty ? "an unknown host" : hello.host): \(why)"))
            out.append(.drop(id))
            return
        }
        guard !isRepeated(hello, from: id, now, &out) else { return }
        if givesOtherBits(hello) {
            out.append(.log(.warning, "worker on \(hello.host): \(otherArithmetic(hello))"))
        }
        if peers[id] != nil {
            // It has forgotten what it held.
            reclaim(from: id, now, &out)
        } else {
            peersSeen += 1
        }
        var peer = Peer(hello: hello, number: peers[id]?.number ?? peersSeen, lastHeard: now)
        if let before = peers[id] {
            (peer.incidents, peer.takesSlowly) = (before.incidents, before.takesSlowly)
            // A new introduction ends a suspension, but not a quarantine: the host is the same.
            if before.standing.isQuarantined(now) { peer.standing = before.standing }
        }
        let isNew = peers[id] == nil
        peers[id] = peer
        saidWaiting = false
        out.append(.send(id, .welcome(run: setup.run, session: hello.session, description: setup.description)))
        out.append(.log(.info, "\(peer.name) joined"))
        if isNew {
            out.append(
                .notice(.joined(worker: peer.number, host: hello.host, threads: Int(hello.threads), workers: peers.count)))
        }
        handOut(now, &out)
    }

    /// Why a worker cannot take part, or nil.
    private func refusal(_ hello: Hello) -> String? {
        if hello.protocolVersion != WireLimits.version {
            return
                "it speaks protocol version \(hello.protocolVersion), the coordinator \(WireLimits.version); install the same t2v on both"
        }
        if hello.program != setup.program {
            return "it is t2v \(hello.program), the coordinator \(setup.program); install the same version on both"
        }
        if hello.fingerprints[setup.arithmetic] == 0 {
            return "its CPU cannot compute with \(setup.arithmetic.rawValue), as this run does; use another host, or precision float32"
        }
        return givesOtherBits(hello) && setup.strictBits ? otherArithmetic(hello) : nil
    }

    /// With t2v's own kernels the fingerprint tells everything; with OpenBLAS, sizes that it does not test may differ as well.
    private func givesOtherBits(_ hello: Hello) -> Bool {
        hello.fingerprints[setup.arithmetic] != setup.fingerprint || (setup.arithmetic == .blas && hello.blas != setup.blas)
    }

    private func otherArithmetic(_ hello: Hello) -> String {
        guard setup.arithmetic == .blas else {
            return "its CPU gives other bits than the one that started the run; use CPUs of one kind if the bits must be equal"
        }
        return
            "its arithmetic gives other bits (OpenBLAS \(hello.blas), here \(setup.blas)); start both with --blas-core to make them equal"
    }

    /// A repeated hello is answered again and changes nothing. A hello on another connection replaces the worker's previous connection.
    private mutating func isRepeated(_ hello: Hello, from id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) -> Bool {
        guard hello.instance != 0, let old = peers.first(where: { $0.value.hello.instance == hello.instance }) else { return false }
        if hello.session < old.value.hello.session { return true }
        if old.key == id {
            guard hello.session == old.value.hello.session else { return false }
            out.append(.send(id, .welcome(run: setup.run, session: hello.session, description: setup.description)))
            return true
        }
        lose(old.key, "it is back on another connection", now, &out)
        out.append(.drop(old.key))
        return false
    }

    /// The peer is gone: what it held is given to others.
    mutating func lose(_ id: PeerID, _ reason: String, _ now: Milliseconds, _ out: inout [Effect]) {
        guard let peer = peers[id] else { return }
        out.append(.log(.warning, "lost \(peer.name): \(reason)"))
        reclaim(from: id, now, &out)
        peers[id] = nil
        out.append(.notice(.left(worker: peer.number, host: peer.hello.host, reason: reason, workers: peers.count)))
        handOut(now, &out)
        if peers.isEmpty && phase != .ended && !saidWaiting {
            saidWaiting = true
            out.append(.log(.warning, "no worker is left: waiting for one"))
        }
    }

    /// Assigns shards or lanes after the set of workers has changed.
    private mutating func handOut(_ now: Milliseconds, _ out: inout [Effect]) {
        switch phase {
        case .preparing: dispatch(now, &out)
        case .training: assign(now, &out)
        default: break
        }
    }

    /// The peer sent what no honest worker of this run could have sent. It is told so and forgotten; it may return with a new hello.
    mutating func expel(_ id: PeerID, _ what: String, _ now: Milliseconds, _ out: inout [Effect]) {
        guard peers[id] != nil, phase != .ended else { return }
        counters.refusals += 1
        lose(id, "it sent \(what)", now, &out)
        out.append(.send(id, .refuse("it sent \(what); install the same t2v on both hosts")))
        out.append(.drop(id))
    }

    /// A worker could not do its work. It loses everything that it holds, and gets nothing for a while.
    mutating func quarantine(_ id: PeerID, _ what: String, _ now: Milliseconds, _ out: inout [Effect]) {
        guard let peer = peers[id] else { return }
        out.append(.log(.warning, "\(peer.name) reports: \(what)"))
        for index in lanes.indices where lanes[index].holders.contains(where: { $0.peer == id }) || lanes[index].leaving?.peer == id {
            withdraw(index, from: id, &out)
        }
        // A single fault is often reported many times.
        if !peer.standing.isQuarantined(now) {
            suspend(id, now)
            if let until = peers[id]?.standing.until { peers[id]?.standing = .quarantined(until: until, heard: false) }
        }
        reclaim(from: id, now, &out)
        handOut(now, &out)
    }

    /// Takes every lease and shard from the peer.
    mutating func reclaim(from id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        peers[id]?.preparing = [:]
        peers[id]?.announced = [:]
        peers[id]?.fetches = FetchQueue()
        stopFetching(from: id, &out)
        open?.orders[id] = nil
        open?.delivery.remove(id)
        roster += 1
        for index in lanes.indices {
            if lanes[index].leaving?.peer == id { lanes[index].leaving = nil }
            if lanes[index].incoming?.peer == id { lanes[index].incoming = nil }
            if lanes[index].backup?.peer == id { lanes[index].backup = nil }
            guard lanes[index].active?.peer == id else { continue }
            counters.leasesMoved += 1
            // The backup or incoming holder takes the lane now.
            lanes[index].active = lanes[index].backup ?? lanes[index].incoming
            if lanes[index].backup == nil { lanes[index].incoming = nil }
            lanes[index].backup = nil
            if let heir = lanes[index].active, heir.ready { orderOpenLane(index, heir.peer, now, &out) }
        }
    }

    /// A suspension is at most the first one times 2 to this power.
    private static var mostDoublings: UInt64 { 6 }

    /// No new work for the peer until the time is over and a message from it has arrived.
    mutating func suspend(_ id: PeerID, _ now: Milliseconds) {
        guard let peer = peers[id] else { return }
        // After a long time without incidents, the count restarts.
        let longest = setup.times.suspension << Self.mostDoublings
        let incidents = now > peer.standing.until + longest ? 0 : peer.incidents
        peers[id]?.standing = .suspended(until: now + setup.times.suspension << min(Self.mostDoublings, incidents), heard: false)
        peers[id]?.incidents = incidents + 1
    }
}
