// Gradients that arrive in pieces. In: contributions that announce one, pieces. Out: requests, a window at a time; whole gradients.
import Base

extension CoordinatorStateMachine {
    /// Fetches a gradient that will count if it arrives. A repeated announcement changes nothing; a different gradient for the same node
    /// replaces it.
    mutating func fetchGradient(of contribution: Contribution, from id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        let node = contribution.node
        if let known = open?.arriving[id]?[node] {
            let isSame = (known.number, known.byteCount, known.hash) == (contribution.number, contribution.byteCount, contribution.hash)
            if !isSame { stopFetching(node, from: id, &out) }
        }
        let isNew = open?.arriving[id, default: [:]].updateValue(contribution, forKey: node) == nil
        guard isNew else { return }
        out.append(.expectGradient(id, number: contribution.number, byteCount: contribution.byteCount))
        peers[id]?.gradients.add(Wanted(blob: contribution.blob, total: contribution.byteCount))
        pump(\.gradients, of: id, now, &out)
    }

    private func arriving(_ number: UInt32, from id: PeerID) -> Contribution? {
        open?.arriving[id]?.values.first { $0.number == number }
    }

    /// A piece. - Returns: whether the payload was kept.
    mutating func take(
        _ piece: Chunk, _ payload: Payload, ofGradient number: UInt32, from id: PeerID, _ now: Milliseconds, _ out: inout [Effect]
    ) -> Bool {
        guard arriving(number, from: id) != nil, let receipt = peers[id]?.gradients.receive(piece, count: payload.count),
            receipt != .unexpected
        else { return false }
        peers[id]?.lastProgress = now
        out.append(.store(id, piece, payload.buffer, last: receipt == .finished))
        pump(\.gradients, of: id, now, &out)
        return true
    }

    /// The gradient is complete: the contribution is treated as if it had carried it.
    mutating func take(_ payload: Payload, ofGradient number: UInt32, from id: PeerID, _ now: Milliseconds, _ out: inout [Effect]) {
        guard let contribution = arriving(number, from: id) else { return out.append(.release(payload.buffer)) }
        open?.arriving[id]?[contribution.node] = nil
        if !accept(contribution, payload, id, now, &out) { out.append(.release(payload.buffer)) }
    }

    /// The node's gradient arrived from another worker, or the update is over without it: the hashes are still compared.
    mutating func endFetch(of node: TreeNode, from id: PeerID, _ out: inout [Effect]) {
        guard let contribution = open?.arriving[id]?[node] else { return }
        counters.duplicates += 1
        if let first = open?.received[node] { compare(node, first.contribution.evidence, first.peer, contribution.evidence, id, &out) }
        stopFetching(node, from: id, &out)
    }

    /// Stops fetching everything that this peer is sending.
    mutating func stopFetching(from id: PeerID, _ out: inout [Effect]) {
        for node in (open?.arriving[id] ?? [:]).keys.ascending() { stopFetching(node, from: id, &out) }
        open?.arriving[id] = nil
    }

    private mutating func stopFetching(_ node: TreeNode, from id: PeerID, _ out: inout [Effect]) {
        guard let contribution = open?.arriving[id]?.removeValue(forKey: node) else { return }
        peers[id]?.gradients.remove(contribution.blob)
        out.append(.forgetGradient(id, number: contribution.number))
    }
}
