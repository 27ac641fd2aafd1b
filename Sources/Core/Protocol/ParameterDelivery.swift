// Which peer gets the parameters of the open round, and when. In: requests for pieces, acknowledgements, time. Out: pieces to send now.
import Base

/// Serves the parameters to a few peers at a time, in the order of their requests: the first peers begin to compute, and their
/// contributions arrive, while the last still wait. The data in flight to a peer is bounded by what it may request before a piece arrives.
///
/// A peer that takes too long does not hold up the others: it is still served, but the next one starts regardless, and in later rounds it
/// comes after the others.
struct ParameterDelivery: Sendable, Equatable {
    private struct Taker: Sendable, Equatable {
        /// Position in the order of first requests.
        let number: Int
        /// It took too long in an earlier round.
        let isSlow: Bool
        /// Offsets that it has requested so far.
        var asked: Set<UInt64> = []
        /// Those of them that still have to be sent, in the order of the requests.
        var waiting: [UInt64] = []
        /// When its first piece was sent; nil: not yet.
        var begun: Milliseconds?
        /// When it last requested something new.
        var lastNew: Milliseconds
        var isOverdue = false
        /// It has everything.
        var isDone = false

        var holdsPlace: Bool { begun != nil && !isOverdue && !isDone }

        /// A window of pieces must arrive in each span of time, and no piece may take longer. A new request shows that a piece has arrived.
        func isLate(_ now: Milliseconds, _ span: Milliseconds) -> Bool {
            guard holdsPlace, let begun else { return false }
            let windows = Milliseconds(asked.count / WireLimits.window)
            return now > max(begun, lastNew) + span || now > begun + span * (1 + windows)
        }
    }

    private var takers: [PeerID: Taker] = [:]
    /// Number of peers that have made a request so far, including those that left: numbers are not reused.
    private var askers = 0

    /// What a call of `serve` has changed.
    struct Progress {
        /// Pieces to send: the recipient and the first byte.
        var pieces: [(peer: PeerID, offset: UInt64)] = []
        /// Peers whose first piece is sent now.
        var begun: [PeerID] = []
        /// Peers that are overdue from now on.
        var overdue: [PeerID] = []
    }

    /// A peer requests a piece; a piece that was sent before is sent again.
    mutating func ask(_ id: PeerID, offset: UInt64, isSlow: Bool, _ now: Milliseconds) {
        if takers[id] == nil { askers += 1 }
        var taker = takers[id] ?? Taker(number: askers, isSlow: isSlow, lastNew: now)
        if taker.asked.insert(offset).inserted { taker.lastNew = now }
        if !taker.waiting.contains(offset) { taker.waiting.append(offset) }
        takers[id] = taker
    }

    /// The peer has everything. - Returns: whether it was in time; nil if it was not being served.
    mutating func taken(_ id: PeerID) -> Bool? {
        guard let taker = takers[id], taker.begun != nil, !taker.isDone else { return nil }
        takers[id]?.isDone = true
        return !taker.isOverdue
    }

    mutating func remove(_ id: PeerID) { takers[id] = nil }

    /// Whether the peer has made a request and is waiting for others.
    func isWaiting(_ id: PeerID) -> Bool { takers[id].map { $0.begun == nil } ?? false }

    /// Whether any peer is waiting for others.
    var makesWait: Bool { takers.values.contains { $0.begun == nil } }

    /// When the first piece was sent to the peer that has held its slot longest.
    var oldestPlace: Milliseconds? { takers.values.filter(\.holdsPlace).compactMap(\.begun).min() }

    /// - Parameter span: how long a window of pieces may take.
    mutating func serve(_ now: Milliseconds, span: Milliseconds) -> Progress {
        var progress = Progress()
        let order = takers.keys.ascending { takers[$0]?.number ?? 0 }
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

    /// The coordinator was stalled for `gap`: this does not count against any peer.
    mutating func excuse(_ gap: Milliseconds, _ now: Milliseconds) {
        for (id, taker) in takers {
            takers[id]?.begun = taker.begun.map { min(now, $0 + gap) }
            takers[id]?.lastNew = min(now, taker.lastNew + gap)
        }
    }
}
