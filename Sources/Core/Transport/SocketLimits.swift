// How much and how long a socket may wait and hold. In: the longest frame. Out: libzmq options, each set explicitly.
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
    /// The kernel cuts off a connection if the other host has acknowledged nothing for this long although something was sent
    /// (TCP_USER_TIMEOUT, RFC 5482). ZMTP heartbeats stay off: with them, libzmq 4.3 aborts in an assertion
    /// (`stream_engine_base_t::out_event`) if the process reads nothing while a peer fills the queue and leaves.
    package var acknowledgementMilliseconds = 15_000
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
    /// The kernel's probes of an idle connection: they also keep the entries of firewalls and address translators alive.
    package var keepAliveIdleSeconds = 30

    /// The defaults above.
    package init() {}

    /// - Parameter largestFrameBytes: of the longest frame that the peer has a reason to send.
    package init(largestFrameBytes: Int) {
        // The frame that is measured is the encrypted one with ZMTP's command around it.
        maximumFrameBytes = Int64(largestFrameBytes) + 4_096
    }

    /// Limits for hosts and links that are slower by this factor.
    package func slowed(by factor: Int) -> SocketLimits {
        var limits = self
        limits.acknowledgementMilliseconds *= factor
        limits.handshakeMilliseconds *= factor
        limits.connectMilliseconds *= factor
        return limits
    }

    /// The options as libzmq takes them, except the 64-bit `ZMQ_MAXMSGSIZE`.
    func integerOptions() -> [(option: Int32, value: Int)] {
        [
            (ZMQ_SNDHWM, sendHighWater), (ZMQ_RCVHWM, receiveHighWater), (ZMQ_LINGER, lingerMilliseconds),
            (ZMQ_HEARTBEAT_IVL, 0), (ZMQ_TCP_MAXRT, acknowledgementMilliseconds), (ZMQ_HANDSHAKE_IVL, handshakeMilliseconds),
            (ZMQ_CONNECT_TIMEOUT, connectMilliseconds), (ZMQ_RECONNECT_IVL, reconnectMilliseconds),
            (ZMQ_RECONNECT_IVL_MAX, maximumReconnectMilliseconds), (ZMQ_BACKLOG, backlog), (ZMQ_TCP_KEEPALIVE, 1),
            (ZMQ_TCP_KEEPALIVE_IDLE, keepAliveIdleSeconds), (ZMQ_TCP_KEEPALIVE_INTVL, 10), (ZMQ_TCP_KEEPALIVE_CNT, 3),
        ]
    }
}
