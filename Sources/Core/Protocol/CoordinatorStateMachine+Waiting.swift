// What a run waits for. In: time. Out: a line that names the workers and what is missing, less and less often.
import Base

extension CoordinatorStateMachine {
    /// The current wait: until all lanes are opened, or until an update or evaluation is complete.
    struct Wait: Sendable, Equatable {
        var begun: Milliseconds
        /// Lines that were written about it.
        var lines = 0
    }

    /// Updates may begin as soon as all lanes are opened.
    mutating func train(_ now: Milliseconds) { (phase, wait) = (.training, Wait(begun: now)) }

    /// A run that stands still is not silent. The time until the next line doubles.
    mutating func sayWhatIsMissing(_ now: Milliseconds, _ out: inout [Effect]) {
        guard startedTraining || peers.count >= setup.minimumWorkers else { return }
        let usual = open.flatMap { usualLatency($0.round.purpose) } ?? 0
        guard now >= wait.begun + max(setup.times.waiting, setup.times.lateFactor * usual) << min(8, wait.lines) else { return }
        let missing = missing
        guard !missing.isEmpty else { return }
        wait.lines += 1
        let rest = missing.count > 3 ? ["\(missing.count - 3) more"] : []
        let seconds = (now - wait.begun) / 1000
        out.append(.log(.info, "waiting for \(seconds) s: \((missing.prefix(3) + rest).joined(separator: "; "))"))
    }

    /// What each worker has not done. As long as a lane is not opened, no update begins.
    private var missing: [String] {
        var (unopened, uncomputed): ([PeerID: Int], [PeerID: Int]) = ([:], [:])
        for (index, lane) in zip(lanes.indices, lanes) where !isCovered(index) {
            guard let holder = lane.active else { continue }
            if !holder.ready { unopened[holder.peer, default: 0] += 1 } else if open != nil { uncomputed[holder.peer, default: 0] += 1 }
        }
        let done = open?.round.purpose == .evaluate ? "scored" : "computed"
        return peers.ascending(\.value.number).flatMap { id, peer in
            [(unopened[id], "opened"), (uncomputed[id], done)].compactMap { count, verb in
                count.map { "\(peer.name) has not \(verb) \($0) of \(lanes.count) lanes" }
            }
        }
    }
}
