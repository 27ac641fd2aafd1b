// Preparing the corpus: shards are sent to workers, and prepared shards come back.
import Base

extension CoordinatorStateMachine {
    /// Gives unprepared shards to workers that have capacity. A shard that takes too long is given out again.
    mutating func dispatch(_ now: Milliseconds, _ out: inout [Effect]) {
        var since: [ShardID: Milliseconds] = [:]
        for peer in peers.values { for (shard, time) in peer.preparing { since[shard] = max(since[shard] ?? 0, time) } }
        for (id, peer) in peers {
            for request in peer.preparing where !unprepared.contains(request.key) { peers[id]?.preparing[request.key] = nil }
        }
        guard unprepared.count > 0 else { return }
        var pool = unprepared.filter { since[$0].map { now >= $0 + setup.times.prepare } ?? true }.ascending()[...]
        // Round robin, so that the workers start at the same time.
        let usable = usable(now).map(\.id)
        var found = true
        while found, !pool.isEmpty {
            found = false
            for id in usable {
                guard let peer = peers[id], peer.preparing.count <= Int(max(1, peer.hello.threads)),
                    let shard = pool.first(where: { peer.preparing[$0] == nil })
                else { continue }
                pool.removeAll { $0 == shard }
                // A worker that had announced it but does not send it is no longer waited for.
                for other in peers.keys { peers[other]?.fetches.remove(.prepared(shard)) }
                peers[id]?.preparing[shard] = now
                out.append(.send(id, prepareMessage(shard)))
                found = true
            }
        }
        remindPreparing(now, &out)
    }

    private func prepareMessage(_ shard: ShardID) -> CoordinatorMessage {
        .prepare(shard: shard, textBytes: setup.shards[shard].textBytes, key: setup.shards[shard].key)
    }

    /// Repeats requests that a worker may have missed; it answers, or continues if it is preparing the shard.
    private mutating func remindPreparing(_ now: Milliseconds, _ out: inout [Effect]) {
        for (id, peer) in peers.ascending(\.key) where now >= peer.lastServed + setup.times.reminder {
            peers[id]?.lastServed = now
            for (shard, time) in peer.preparing.ascending(\.key) where now >= time + setup.times.reminder {
                out.append(.send(id, prepareMessage(shard)))
            }
        }
    }

    /// A worker announces a prepared shard.
    mutating func announced(
        _ shard: ShardID, _ size: UInt64, _ digest: ShardDigest, _ id: PeerID, _ now: Milliseconds, _ out: inout [Effect]
    ) {
        guard unprepared.contains(shard) else {
            peers[id]?.preparing[shard] = nil
            return
        }
        // If it was not given this shard, or lost it: the worker that has the shard now will announce it.
        guard let peer = peers[id], peer.preparing[shard] != nil else { return }
        // The shard remains assigned to this worker until the shell has checked.
        peers[id]?.preparing[shard] = now
        guard !peer.fetches.contains(.prepared(shard)) else { return }
        peers[id]?.announced[shard] = (size, digest)
        out.append(.locate(shard: shard, id))
    }

    mutating func stored(_ shard: ShardID, _ now: Milliseconds, _ out: inout [Effect]) {
        unprepared.remove(shard)
        for id in peers.keys {
            peers[id]?.announced[shard] = nil
            peers[id]?.preparing[shard] = nil
            peers[id]?.fetches.remove(.prepared(shard))
        }
        if phase == .preparing { dispatch(now, &out) }
    }

    /// A worker has a shard that is missing from the coordinator's cache: fetch it.
    mutating func pull(_ shard: ShardID, _ id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        guard unprepared.contains(shard), phase == .preparing, let peer = peers[id], let (size, digest) = peer.announced[shard],
            !peer.fetches.contains(.prepared(shard))
        else { return }
        // One source at a time: two would write the same file.
        guard !peers.contains(where: { $0.key != id && $0.value.fetches.contains(.prepared(shard)) }) else {
            peers[id]?.preparing[shard] = nil
            return
        }
        out.append(.expect(shard: shard, id, size: size, digest: digest))
        peers[id]?.fetches.add(Wanted(blob: .prepared(shard), total: size))
        peers[id]?.preparing[shard] = now
        pump(\.fetches, of: id, now, &out)
    }

    /// - Returns: whether the payload was kept.
    mutating func take(
        _ chunk: Chunk, _ payload: Payload?, _ id: PeerID, _ now: Milliseconds, _ out: inout [Effect]
    ) -> Bool {
        guard let payload else { return false }
        if case .gradient(let number) = chunk.blob { return take(chunk, payload, ofGradient: number, from: id, now, &out) }
        guard case .prepared(let shard) = chunk.blob else { return false }
        let receipt = peers[id]?.fetches.receive(chunk, count: payload.count) ?? .unexpected
        guard receipt != .unexpected else { return false }
        peers[id]?.preparing[shard] = now
        out.append(.store(id, chunk, payload.buffer, last: receipt == .finished))
        pump(\.fetches, of: id, now, &out)
        return true
    }
}
