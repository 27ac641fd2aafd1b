// Is there a connection? In: the monitor's events of a dealer, and the time. Out: up or down, why, and when libzmq has given up.
import Base

/// What a worker knows about its connection. A value: the caller gives the time.
package struct ConnectionWatch: Sendable, Equatable {
    /// After a loss libzmq says within milliseconds when it will try again. If it says nothing for this long, it never will.
    static let giveUp: Milliseconds = 1_000

    /// Greeting and keys have been exchanged, and the connection has not been lost since.
    package private(set) var isUp = false
    /// The last failed handshake after the last successful one.
    package private(set) var failure: HandshakeFailure?
    /// When the connection was lost, if there has been no new attempt since.
    private var lostAt: Milliseconds?

    /// Before the first connection.
    package init() {}

    /// Records an event.
    package mutating func note(_ event: SocketEvent, now: Milliseconds) {
        switch event {
        case .handshakeSucceeded: (isUp, failure, lostAt) = (true, nil, nil)
        case .connected, .connectRetried: (isUp, lostAt) = (false, nil)
        case .disconnected: (isUp, lostAt) = (false, now)
        case .handshakeFailed(let reason, _): (isUp, failure, lostAt) = (false, reason, now)
        case .listening, .bindFailed, .accepted, .acceptFailed, .other: break
        }
    }

    /// Whether libzmq has given up, so that only `DealerSocket.reconnect()` can help. Says so again every second until it does.
    package mutating func needsReconnect(now: Milliseconds) -> Bool {
        guard let lost = lostAt, now >= lost + ConnectionWatch.giveUp else { return false }
        lostAt = now
        return true
    }
}

/// How long a worker waits for a coordinator that does not accept it. A value: the caller gives the time.
package struct WorkerPatience: Sendable, Equatable {
    /// Ten minutes: longer than a coordinator takes to start or to come back; a batch job must not wait forever.
    package static let limit: Milliseconds = 600_000

    private var since: Milliseconds

    package init(now: Milliseconds) { since = now }

    /// - Parameter isWell: the connection is up, and the coordinator has welcomed the worker.
    package mutating func note(isWell: Bool, now: Milliseconds) { if isWell { since = now } }

    package func isOver(now: Milliseconds) -> Bool { now >= since + Self.limit }
}

/// Keeps a log readable when the same thing happens again and again: port scanners, a worker with a wrong key.
package struct RepeatedMessages: Sendable {
    /// The same text passes once in this time.
    static let interval: Milliseconds = 60_000
    /// The most different texts to remember: memory is bounded, whatever strangers send.
    static let maximumTexts = 256

    private var last: [String: (at: Milliseconds, kept: Int)] = [:]

    /// Nothing said yet.
    package init() {}

    /// - Returns: what to log now: `text`, with the number of times it was suppressed, or nil.
    package mutating func admit(_ text: String, now: Milliseconds) -> String? {
        if let entry = last[text], now < entry.at + RepeatedMessages.interval {
            last[text]?.kept += 1
            return nil
        }
        let kept = last[text]?.kept ?? 0
        if last.count >= RepeatedMessages.maximumTexts { last = [:] }
        last[text] = (now, 0)
        return kept == 0 ? text : "\(text) (and \(kept) times more)"
    }

    /// Lets every text pass again at once, because the situation has changed.
    package mutating func forget() { last = [:] }
}

/// Bounds a log, whatever strangers send: a burst passes, then a few lines per second.
package struct LogBudget: Sendable {
    /// How many lines pass at once, and the interval at which one more does.
    static let burst = 200
    static let interval: Milliseconds = 200

    private var left = LogBudget.burst
    private var refilledAt: Milliseconds = 0
    private var heldBack = 0

    /// Nothing said yet.
    package init() {}

    /// - Returns: `text`, with the number of lines that were suppressed before it, or nil if this one is suppressed.
    package mutating func admit(_ text: String, now: Milliseconds) -> String? {
        let more = (now - refilledAt) / LogBudget.interval
        if more > 0 {
            left = min(LogBudget.burst, left + Int(min(more, Milliseconds(LogBudget.burst))))
            refilledAt = now
        }
        guard left > 0 else {
            heldBack += 1
            return nil
        }
        left -= 1
        defer { heldBack = 0 }
        return heldBack == 0 ? text : "\(text) (\(heldBack) messages before it were held back)"
    }
}
