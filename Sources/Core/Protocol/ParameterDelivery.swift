// Who gets the parameters of the open round, and when. In: requests for pieces, acknowledgements, time. Out: the pieces to send now.
import Base

/// Serves the parameters to a few peers at a time, in the order in which they ask: the first begin to compute, and their contributions come
/// in, while the last still wait. What is under way to a peer is bounded by what it may ask for before a piece has come.
///
/// A peer that takes too long holds nobody up: it is still served, but the next one begins as if it were not there, and in later rounds it
/// comes after the others.
struct ParameterDelivery: Sendable, Equatable {
    private struct Taker: Sendable, Equatable {
        /// Counts those who ask.
        let number: Int
        /// It took too long in an earlier round.
        let isSlow: Bool
        /// Offsets that it has asked for so far.
        var asked: Set<UInt64> = []
        /// Those of them that are to be sent, in the order in which they were asked for.
        var waiting: [UInt64] = []
        /// When it was sent its first piece; nil: not yet.
        var begun: Milliseconds?
        /// When it last asked for something new.
        var lastNew: Milliseconds
        var isOverdue = false
        /// It has everything.
        var isDone = false

        var holdsPlace: Bool { begun != nil && !isOverdue && !isDone }

        /// A window of pieces must come in each span of time, and none of them may take longer. A new request says that a piece has come.
        func isLate(_ now: Milliseconds, _ span: Milliseconds) -> Bool {
            guard holdsPlace, let begun else { return false }
            let windows = Milliseconds(asked.count / WireLimits.window)
            return now > max(begun, lastNew) + span || now > begun + span * (1 + windows)
        }
    }

    private var takers: [PeerID: Taker] = [:]
    /// Who has asked so far, those who left included: numbers are given once.
    private var askers = 0

    /// What has changed by serving.
    struct Progress {
        /// Pieces to send: to whom, from which byte on.
        var pieces: [(peer: PeerID, offset: UInt64)] = []
        /// Peers that are sent their first piece.
        var begun: [PeerID] = []
        /// Peers that take too long from now on.
        var overdue: [PeerID] = []
    }

    /// A peer asks for a piece; one that was sent before is sent again.
    mutating func ask(_ id: PeerID, offset: UInt64, isSlow: Bool, _ now: Milliseconds) {
        if takers[id] == nil { askers += 1 }
        var taker = takers[id] ?? Taker(number: askers, isSlow: isSlow, lastNew: now)
        if taker.asked.insert(offset).inserted { taker.lastNew = now }
        if !taker.waiting.contains(offset) { taker.waiting.append(offset) }
        takers[id] = taker
    }

    /// The peer has everything. - Returns: whether it took no longer than it may; nil when it was not being served.
    mutating func taken(_ id: PeerID) -> Bool? {
        guard let taker = takers[id], taker.begun != nil, !taker.isDone else { return nil }
        takers[id]?.isDone = true
        return !taker.isOverdue
    }

    mutating func remove(_ id: PeerID) { takers[id] = nil }

    /// Whether the peer has asked and others come first.
    func isWaiting(_ id: PeerID) -> Bool { takers[id].map { $0.begun == nil } ?? false }

    /// Whether a peer waits because of others.
    var makesWait: Bool { takers.values.contains { $0.begun == nil } }

    /// When the longest of those who are waited for was sent its first piece.
    var oldestPlace: Milliseconds? { takers.values.filter(\.holdsPlace).compactMap(\.begun).min() }

    /// - Parameter span: how long a window of pieces may take.
    mutating func serve(_ now: Milliseconds, span: Milliseconds) -> Progress {
        var progress = Progress()
        let order = takers.keys.sorted { a, b in (takers[a]?.number ?? 0) < (takers[b]?.number ?? 0) }
        for id in order where takers[id]?.isLate(now, span) == true {
            takers[id]?.isOverdue = true
            progress.overdue.append(id)
        }
        var places = WireLimits.served - takers.values.count { $0.holdsPlace }
        let waiting = order.filter { isWaiting($0) }
        let next = waiting.filter { takers[$0]?.isSlow == false } + waiting.filter { takers[$0]?.isSlow == true }
        for id in next where places > 0 {
            places -= 1
            takers[id]?.begun = now
            takers[id]?.lastNew = now
            progress.begun.append(id)
        }
        for id in order where takers[id]?.begun != nil {
            progress.pieces += (takers[id]?.waiting ?? []).map { (id, $0) }
            takers[id]?.waiting = []
        }
        return progress
    }

    /// The coordinator stood still for so long: nobody is to blame for it.
    mutating func excuse(_ gap: Milliseconds, _ now: Milliseconds) {
        for (id, taker) in takers {
            takers[id]?.begun = taker.begun.map { min(now, $0 + gap) }
            takers[id]?.lastNew = min(now, taker.lastNew + gap)
        }
    }
}
