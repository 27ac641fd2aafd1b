// How much and how long a socket may wait and hold. In: the size of the largest message. Out: libzmq options, each set explicitly.
import CZMQ

/// The limits of a socket. libzmq's own defaults suit neither messages of megabytes nor hosts that vanish, so each one is set.
package struct SocketLimits: Sendable, Equatable {
    /// Messages queued per peer before `send` says `.wouldBlock`. libzmq's 1,000 would be gigabytes of parameters for one slow peer.
    package var sendHighWater = 64
    /// Messages queued per peer before libzmq stops reading from it, so that TCP slows the sender down.
    package var receiveHighWater = 64
    /// A peer that announces a longer frame is disconnected before its bytes are read. 0 or less: no limit (libzmq's default).
    package var maximumFrameBytes: Int64 = 256 << 20
    /// A longer header frame makes a message malformed: headers are copied, payloads are not.
    package var maximumHeaderBytes = 1 << 20
    /// How long closing waits for unsent messages (the last ones say goodbye).
    package var lingerMilliseconds = 1_000
    /// A ping after this much time, so that a peer's silence means that it, or the route to it, is gone.
    package var heartbeatIntervalMilliseconds = 2_000
    /// A peer that has sent nothing complete for this long after a ping is disconnected. A pong waits behind the message that is being
    /// sent: this must be longer than the largest message takes (256 MiB at 1 Gbit/s: 2.2 s).
    package var heartbeatTimeoutMilliseconds = 15_000
    /// A peer must have finished greeting and key exchange by then; idle connections of port scanners end here. libzmq: 30 s.
    package var handshakeMilliseconds = 10_000
    /// A connection attempt without any answer is abandoned after this and repeated. The kernel's own limit is about two minutes.
    package var connectMilliseconds = 5_000
    /// The first pause before connecting again; it doubles up to the maximum, with some randomness.
    package var reconnectMilliseconds = 100
    /// The longest pause before connecting again: how soon workers are back after the coordinator has returned.
    package var maximumReconnectMilliseconds = 2_000
    /// Connections that wait for accept: all workers of a large cluster connect at the same moment. The kernel caps it at somaxconn.
    package var backlog = 1_024
    /// The kernel's own probes, besides heartbeats: they also keep the entries of firewalls and address translators alive.
    package var keepAliveIdleSeconds = 30

    /// The defaults above.
    package init() {}

    /// Limits whose time-outs leave the largest message enough time on a slow link.
    /// - Parameters:
    ///   - largestMessageBytes: the longest frame that the peer has a reason to send.
    ///   - slowestLinkBytesPerSecond: default 12.5 MB/s (100 Mbit/s).
    package init(largestMessageBytes: Int, slowestLinkBytesPerSecond: Int = 12_500_000) {
        // A TiB is as good as no limit, and nothing below overflows.
        let bytes = min(max(0, largestMessageBytes), 1 << 40)
        // The frame that is measured is the encrypted one with ZMTP's command around it.
        maximumFrameBytes = Int64(bytes) + 4_096
        let milliseconds = bytes * 1_000 / max(1, slowestLinkBytesPerSecond)
        heartbeatTimeoutMilliseconds = max(heartbeatTimeoutMilliseconds, 2 * milliseconds)
    }

    /// Limits for hosts and links that are slower by this factor.
    package func slowed(by factor: Int) -> SocketLimits {
        var limits = self
        limits.heartbeatTimeoutMilliseconds *= factor
        limits.handshakeMilliseconds *= factor
        limits.connectMilliseconds *= factor
        return limits
    }

    /// The options as libzmq takes them, except the 64-bit `ZMQ_MAXMSGSIZE`.
    func integerOptions() -> [(option: Int32, value: Int)] {
        [
            (ZMQ_SNDHWM, sendHighWater), (ZMQ_RCVHWM, receiveHighWater), (ZMQ_LINGER, lingerMilliseconds),
            (ZMQ_HEARTBEAT_IVL, heartbeatIntervalMilliseconds), (ZMQ_HEARTBEAT_TIMEOUT, heartbeatTimeoutMilliseconds),
            // How long the PEER may be without a message from here, on its own clock; the option's largest value is 6,553 s.
            (ZMQ_HEARTBEAT_TTL, min(heartbeatTimeoutMilliseconds, 6_553_500)), (ZMQ_HANDSHAKE_IVL, handshakeMilliseconds),
            (ZMQ_CONNECT_TIMEOUT, connectMilliseconds), (ZMQ_RECONNECT_IVL, reconnectMilliseconds),
            (ZMQ_RECONNECT_IVL_MAX, maximumReconnectMilliseconds), (ZMQ_BACKLOG, backlog), (ZMQ_TCP_KEEPALIVE, 1),
            (ZMQ_TCP_KEEPALIVE_IDLE, keepAliveIdleSeconds), (ZMQ_TCP_KEEPALIVE_INTVL, 10), (ZMQ_TCP_KEEPALIVE_CNT, 3),
        ]
    }
}
