// Is there a connection? In: the monitor's events of a dealer, and the time. Out: up or down, why, and when libzmq has given up.

/// What a worker knows of its one connection. A value: time comes from outside.
public struct ConnectionWatch: Sendable, Equatable {
    /// After a loss libzmq says within milliseconds when it will try again. Nothing for so long: it never will.
    static let giveUpMilliseconds: Int64 = 1_000

    /// Greeting and keys have been exchanged, and nothing was lost since.
    public private(set) var isUp = false
    /// The last handshake that failed since the last one that succeeded.
    public private(set) var failure: HandshakeFailure?
    /// When the connection was lost without a new try since.
    private var lostAtMilliseconds: Int64?

    /// Before the first connection.
    public init() {}

    /// - Parameter nowMilliseconds: a clock that only goes forward.
    public mutating func note(_ event: SocketEvent, nowMilliseconds: Int64) {
        switch event {
        case .handshakeSucceeded: (isUp, failure, lostAtMilliseconds) = (true, nil, nil)
        case .connected, .connectRetried: (isUp, lostAtMilliseconds) = (false, nil)
        case .disconnected: (isUp, lostAtMilliseconds) = (false, nowMilliseconds)
        case .handshakeFailed(let reason, _): (isUp, failure, lostAtMilliseconds) = (false, reason, nowMilliseconds)
        case .listening, .bindFailed, .accepted, .acceptFailed, .other: break
        }
    }

    /// Whether libzmq has given up, so that only `DealerSocket.reconnect()` can help. Says so again every second until it does.
    public mutating func needsReconnect(nowMilliseconds: Int64) -> Bool {
        guard let lost = lostAtMilliseconds, nowMilliseconds - lost >= ConnectionWatch.giveUpMilliseconds else { return false }
        lostAtMilliseconds = nowMilliseconds
        return true
    }
}
