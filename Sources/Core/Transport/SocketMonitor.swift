// What libzmq's threads see of connections. In: its monitor messages. Out: events; users are told of refusals and retries.
import Base
import CZMQ
import Glibc
import Synchronization

/// Why a handshake failed.
package enum HandshakeFailure: Sendable, Equatable {
    /// The other end hung up. If it happens to a worker repeatedly, its `--server-key` is usually not the coordinator's key.
    case noDetail(errno: Int32)
    /// The other end breaks the protocol, speaks another mechanism (keys here, none there) or has another server key.
    case protocolError(code: UInt32)
    /// The coordinator does not know the key. `status` is ZAP's (RFC 27): 300 try later, 400 refused, 500 its handler failed.
    case refused(status: UInt32)
}

extension HandshakeFailure: CustomStringConvertible {
    /// For people: what happened and, where it is known, why.
    package var description: String {
        switch self {
        case .noDetail(let code):
            "the other end hung up (\(String(cString: strerror(code)))); if this continues, check the worker's --server-key"
        case .protocolError(ZMTP.cryptographic): "the keys do not match: the worker's --server-key is not this coordinator's"
        case .protocolError(ZMTP.mechanismMismatch): "one end uses keys and the other does not"
        case .protocolError(let code): "the other end does not follow the protocol (0x\(String(code, radix: 16)))"
        case .refused(let status): "the coordinator does not know this worker's key (status \(status))"
        }
    }
}

/// Protocol errors by the names of zmq.h (macros with casts, which Swift does not import).
enum ZMTP {
    static let cryptographic: UInt32 = 0x1100_0001
    static let mechanismMismatch: UInt32 = 0x1100_0002
}

/// One event of a socket's connections.
package enum SocketEvent: Sendable, Equatable {
    case listening(endpoint: String)
    case bindFailed(errno: Int32, endpoint: String)
    /// An incoming connection, of which only the address is known ("" for ipc, or if it is gone again).
    case accepted(peer: String)
    case acceptFailed(errno: Int32)
    /// The TCP connection is up; the handshake follows.
    case connected(endpoint: String)
    /// No answer yet; the next attempt is after `milliseconds`.
    case connectRetried(milliseconds: Int, endpoint: String)
    case handshakeSucceeded(endpoint: String)
    case handshakeFailed(HandshakeFailure, endpoint: String)
    /// An established connection is gone. A dealer reconnects by itself.
    case disconnected(endpoint: String)
    /// Anything else that libzmq may report.
    case other(code: UInt16)
}

/// The events of one socket, read through an `inproc` PAIR. It lives and ends with its socket.
package final class SocketMonitor {
    private(set) var raw: UnsafeMutableRawPointer?
    private let context: ZMQContext
    /// Names are never used twice: libzmq frees them some time after the close.
    private static let number = Atomic<Int>(0)

    init(of socket: UnsafeMutableRawPointer, _ context: ZMQContext) throws(InputError) {
        self.context = context
        let name = "inproc://t2v-monitor-\(SocketMonitor.number.add(1, ordering: .relaxed).newValue)"
        guard zmq_socket_monitor(socket, name, 0xFFFF) == 0 else { throw zmqError("cannot watch a socket", at: "libzmq") }
        guard let pair = zmq_socket(context.raw, ZMQ_PAIR) else {
            throw zmqError("cannot make a socket", at: "libzmq", remedy: "raise the limit of open files (ulimit -n)")
        }
        raw = pair
        // No high-water mark: libzmq's I/O thread would wait for the reader, and all connections with it.
        try SocketCore.set(pair, ZMQ_RCVHWM, 0)
        try SocketCore.set(pair, ZMQ_LINGER, 0)
        guard zmq_connect(pair, name) == 0 else { throw zmqError("cannot watch a socket", at: "libzmq") }
    }

    deinit { close() }

    func close() {
        if let raw { zmq_close(raw) }
        raw = nil
    }

    /// The next event, or nil when none is waiting.
    package func next() -> SocketEvent? {
        guard let raw else { return nil }
        let (head, place) = (ZMQMessage(), ZMQMessage())
        guard SocketMonitor.read(raw, head), zmq_msg_more(head.raw) != 0, SocketMonitor.read(raw, place), head.count >= 6 else {
            return nil
        }
        let code = head.data.loadUnaligned(as: UInt16.self)
        let value = head.data.loadUnaligned(fromByteOffset: 2, as: UInt32.self)
        return SocketMonitor.event(code, value, String(decoding: place.data, as: UTF8.self))
    }

    private static func read(_ raw: UnsafeMutableRawPointer, _ message: ZMQMessage) -> Bool {
        while zmq_msg_recv(message.raw, raw, ZMQ_DONTWAIT) < 0 {
            if zmq_errno() != EINTR { return false }
        }
        return true
    }

    private static func event(_ code: UInt16, _ value: UInt32, _ endpoint: String) -> SocketEvent {
        let number = Int32(truncatingIfNeeded: value)
        switch Int32(code) {
        case ZMQ_EVENT_LISTENING: return .listening(endpoint: endpoint)
        case ZMQ_EVENT_BIND_FAILED: return .bindFailed(errno: number, endpoint: endpoint)
        case ZMQ_EVENT_ACCEPTED: return .accepted(peer: peerAddress(of: number))
        case ZMQ_EVENT_ACCEPT_FAILED: return .acceptFailed(errno: number)
        case ZMQ_EVENT_CONNECTED: return .connected(endpoint: endpoint)
        case ZMQ_EVENT_CONNECT_RETRIED: return .connectRetried(milliseconds: Int(value), endpoint: endpoint)
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .handshakeSucceeded(endpoint: endpoint)
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: return .handshakeFailed(.noDetail(errno: number), endpoint: endpoint)
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: return .handshakeFailed(.protocolError(code: value), endpoint: endpoint)
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return .handshakeFailed(.refused(status: value), endpoint: endpoint)
        case ZMQ_EVENT_DISCONNECTED: return .disconnected(endpoint: endpoint)
        default: return .other(code: code)
        }
    }

    /// `HOST:PORT` at the other end of a TCP connection that libzmq has just accepted.
    private static func peerAddress(of descriptor: Int32) -> String {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getpeername(descriptor, address, &length) == 0 ? numericAddress(address, length) : ""
            }
        }
    }
}
