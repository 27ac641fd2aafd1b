// The coordinator's socket. In: identity, header, payload. Out: the same from any number of workers, each with its proven key.
import Base
import CZMQ
import Glibc

/// One message of a worker.
package struct RouterMessage: Sendable {
    /// libzmq's name of the connection: five bytes that are never reused after it has ended.
    package var identity: [UInt8]
    /// The first frame, copied.
    package var header: [UInt8]
    /// The second frame, if there is one, as libzmq received it.
    package var payload: ZMQMessage?
    /// The worker's public key (Z85) with which this message was encrypted; empty without CURVE.
    package var userID: String
    /// The other end's IP address; empty for ipc.
    package var peerAddress: String
}

/// What a router has received.
package enum RouterEvent: Sendable {
    case message(RouterMessage)
    /// Not [header] or [header, payload]. Read to its end and discarded.
    case malformed(identity: [UInt8], userID: String, peerAddress: String, reason: String)
}

/// How a listening socket knows its peers.
package enum ServerSecurity: Sendable {
    /// No keys: only endpoints that no other host can reach may be bound.
    case localOnly
    /// No keys anywhere. The user has said `--insecure`.
    case insecure
    /// CURVE: traffic is encrypted, and only workers whose key `gate` knows get in. A gate that exists is live.
    case curve(SecretKey, gate: ZAPHandler)
}

/// A ROUTER. Create, use and release it on one thread. Never blocks.
package struct RouterSocket: ~Copyable {
    let core: SocketCore
    private let security: ServerSecurity
    private let identityFrame = ZMQMessage()

    /// - Throws: `InputError` when libzmq refuses an option.
    package init(_ context: ZMQContext, limits: SocketLimits, security: ServerSecurity) throws(InputError) {
        let core = try SocketCore(context, type: ZMQ_ROUTER, limits: limits)
        // Without it, messages to a peer that is gone vanish silently.
        try core.set(ZMQ_ROUTER_MANDATORY, 1)
        // A second peer that claims a name in use is ignored, instead of taking the first one's messages.
        try core.set(ZMQ_ROUTER_HANDOVER, 0)
        if case .curve(let key, let gate) = security {
            try RouterSocket.demandKeys(core, key, domain: gate.domain)
            // Without this option libzmq lets EVERYONE in when no handler answers on `inproc://zeromq.zap.01`. Its number (93,
            // ZMQ_ZAP_ENFORCE_DOMAIN) is hidden in zmq.h as a draft, but builds without drafts, such as Debian's, know it, too.
            try core.set(93, 1)
        }
        (self.core, self.security) = (core, security)
    }

    /// Makes it a CURVE server that asks the handler of `domain`.
    static func demandKeys(_ core: SocketCore, _ key: SecretKey, domain: String) throws(InputError) {
        try core.set(ZMQ_CURVE_SERVER, 1)
        try core.set(ZMQ_CURVE_SECRETKEY, key.bytes)
        try core.set(ZMQ_ZAP_DOMAIN, domain)
    }

    /// Listens. - Returns: the endpoint, with the chosen port if `endpoint` ends with `:*` or `:0`.
    /// - Throws: `InputError` when the address is in use or not this host's, or other hosts could reach it and there are no keys.
    package func bind(_ endpoint: String) throws(InputError) -> String {
        let parsed = try Endpoint(endpoint)
        if case .localOnly = security, !parsed.isLocal {
            throw InputError(
                "other hosts can reach this endpoint and there are no keys", at: endpoint,
                remedy: "make keys with `t2v-coordinator keygen FOLDER` and give --key and --allow, or say --insecure")
        }
        try core.set(ZMQ_IPV6, parsed.needsIPv6 ? 1 : 0)
        guard zmq_bind(core.raw, try parsed.bindable()) == 0 else {
            throw zmqError("cannot listen", at: endpoint, remedy: "choose an address of this host and a free port")
        }
        return try core.lastEndpoint()
    }

    /// What happened to connections.
    package var monitor: SocketMonitor { core.monitor }

    /// Sends header and payload to a peer. `payload` stays usable: its bytes are shared, not copied.
    package func send(to identity: [UInt8], header: [UInt8], payload: ZMQMessage? = nil) -> SendResult {
        let code = core.send(identity, more: true)
        guard code == 0 else { return SocketCore.result(code) }
        return core.sendBody(header: header, payload: payload)
    }

    /// The next message, or nil when none is waiting.
    package func receive() -> RouterEvent? {
        guard let more = core.receive(into: identityFrame) else { return nil }
        let identity = [UInt8](identityFrame.data)
        // libzmq delivers whole messages: at least one frame follows the identity.
        guard more, let body = core.receiveBody() else {
            return .malformed(identity: identity, userID: "", peerAddress: "", reason: "a message without a header frame")
        }
        switch body {
        case .parts(let header, let payload, let origin):
            return .message(
                RouterMessage(
                    identity: identity, header: header, payload: payload, userID: origin.userID, peerAddress: origin.address))
        case .refused(let reason, let origin):
            return .malformed(identity: identity, userID: origin.userID, peerAddress: origin.address, reason: reason)
        }
    }
}
