// A worker's socket. In: header, payload. Out: the same from the coordinator. Reconnects by itself, as a new peer.
import Base
import CZMQ
import Glibc

/// What a dealer has received.
package enum DealerEvent: Sendable {
    case message(header: [UInt8], payload: ZMQMessage?)
    /// Not [header] or [header, payload]. Read to its end and discarded.
    case malformed(reason: String)
}

/// How a connecting socket proves itself.
package enum ClientSecurity: Sendable {
    /// No keys.
    case open
    /// CURVE: encrypted, to the holder of `server`'s secret key and to no one else.
    case curve(server: PublicKey, own: KeyPair)
}

/// A DEALER. Create, use and release it on one thread. Never blocks.
package struct DealerSocket: ~Copyable {
    let core: SocketCore

    /// - Throws: `InputError` when libzmq refuses an option.
    package init(_ context: ZMQContext, limits: SocketLimits, security: ClientSecurity) throws(InputError) {
        let core = try SocketCore(context, type: ZMQ_DEALER, limits: limits)
        // No queue without a connection: messages for a lost connection must not reach the next one.
        try core.set(ZMQ_IMMEDIATE, 1)
        if case .curve(let server, let own) = security {
            try core.set(ZMQ_CURVE_SERVERKEY, server.z85)
            try core.set(ZMQ_CURVE_PUBLICKEY, own.publicKey.z85)
            try core.set(ZMQ_CURVE_SECRETKEY, own.secretKey.bytes)
        }
        self.core = core
    }

    /// Starts to connect, and keeps trying: a host that does not answer is not an error here, see `monitor`.
    ///
    /// But libzmq silently gives up for good when the other end refuses the key or breaks the protocol (`session_base_t::engine_error`):
    /// `ConnectionWatch` notices, and `reconnect()` starts again.
    /// - Throws: `InputError` when the endpoint is malformed.
    package func connect(_ endpoint: String) throws(InputError) {
        let parsed = try Endpoint(endpoint)
        try core.set(ZMQ_IPV6, parsed.needsIPv6 ? 1 : 0)
        guard zmq_connect(core.raw, endpoint) == 0 else {
            throw zmqError("cannot connect", at: endpoint, remedy: "write tcp://HOST:PORT or ipc://PATH")
        }
        core.connectedTo = endpoint
    }

    /// Drops the connection, if there is one, and starts again with the same endpoint. Say hello when `monitor` reports the handshake:
    /// anything sent earlier may go into the connection that is being dropped.
    /// - Throws: `InputError` when libzmq refuses it.
    package func reconnect() throws(InputError) {
        guard let endpoint = core.connectedTo else { return }
        // Fails if libzmq has already given up the endpoint; then there is nothing to drop.
        zmq_disconnect(core.raw, endpoint)
        try connect(endpoint)
    }

    /// What happened to the connection.
    package var monitor: SocketMonitor { core.monitor }

    /// Sends header and payload. `.wouldBlock` also when there is no connection at the moment; but a connection that has just been lost
    /// accepts messages for a while, and they are lost with it. `payload` stays usable.
    package func send(header: [UInt8], payload: ZMQMessage? = nil) -> SendResult { core.sendBody(header: header, payload: payload) }

    /// The next message, or nil when none is waiting.
    package func receive() -> DealerEvent? {
        switch core.receiveBody() {
        case nil: return nil
        case .parts(let header, let payload, _): return .message(header: header, payload: payload)
        case .refused(let reason, _): return .malformed(reason: reason)
        }
    }
}
