// What both kinds of socket share. In: options and frames. Out: frames, without blocking.
import Base
import CZMQ
import Glibc

/// The outcome of a send, which never blocks.
package enum SendResult: Sendable, Equatable {
    /// Queued: libzmq's thread sends it. It may still be lost.
    case sent
    /// There is no such peer, or not any more.
    case unreachable
    /// The queue to the peer has `SocketLimits.sendHighWater` messages (of a dealer: or there is no connection). Nothing was sent.
    case wouldBlock
}

/// A libzmq socket, its monitor, and its closing.
final class SocketCore {
    let raw: UnsafeMutableRawPointer
    let context: ZMQContext
    let limits: SocketLimits
    let monitor: SocketMonitor
    /// What `zmq_connect` was called with; nil on a listening socket.
    var connectedTo: String?
    /// Reused for each frame that is sent or received.
    private let scratch: UnsafeMutablePointer<zmq_msg_t>

    init(_ context: ZMQContext, type: Int32, limits: SocketLimits) throws(InputError) {
        guard let raw = zmq_socket(context.raw, type) else {
            throw zmqError("cannot make a socket", at: "libzmq", remedy: "raise the limit of open files (ulimit -n)")
        }
        var monitor: SocketMonitor?
        do throws(InputError) {
            for (option, value) in limits.integerOptions() { try SocketCore.set(raw, option, value) }
            var bytes = limits.maximumFrameBytes > 0 ? limits.maximumFrameBytes : -1
            guard zmq_setsockopt(raw, ZMQ_MAXMSGSIZE, &bytes, MemoryLayout<Int64>.size) == 0 else {
                throw zmqError("cannot limit messages to \(bytes) bytes", at: "libzmq")
            }
            monitor = try SocketMonitor(of: raw, context)
        } catch {
            zmq_close(raw)
            throw error
        }
        guard let monitor else { preconditionFailure("a monitor is made or an error thrown") }
        (self.raw, self.context, self.limits, self.monitor) = (raw, context, limits, monitor)
        scratch = .allocate(capacity: 1)
        zmq_msg_init(scratch)
    }

    deinit {
        // The order matters: libzmq BLOCKS its I/O thread on a monitor that is not read.
        zmq_socket_monitor(raw, nil, 0)
        monitor.close()
        zmq_msg_close(scratch)
        scratch.deallocate()
        zmq_close(raw)
    }

    static func set(_ raw: UnsafeMutableRawPointer, _ option: Int32, _ value: Int) throws(InputError) {
        var value = Int32(clamping: value)
        guard zmq_setsockopt(raw, option, &value, MemoryLayout<Int32>.size) == 0 else {
            throw zmqError("libzmq refuses value \(value) of its option \(option)", at: "socket", remedy: "use libzmq 4.3 or newer")
        }
    }

    func set(_ option: Int32, _ value: Int) throws(InputError) { try SocketCore.set(raw, option, value) }

    func set(_ option: Int32, _ text: String) throws(InputError) {
        guard zmq_setsockopt(raw, option, text, text.utf8.count) == 0 else {
            throw zmqError("libzmq refuses its option \(option)", at: "socket", remedy: "use a libzmq that is built with CURVE")
        }
    }

    func set(_ option: Int32, _ secret: SecretBytes) throws(InputError) {
        guard secret.withBytes({ zmq_setsockopt(raw, option, $0.baseAddress, $0.count) }) == 0 else {
            throw zmqError("libzmq refuses its option \(option)", at: "socket", remedy: "use a libzmq that is built with CURVE")
        }
    }

    /// The endpoint of the last bind or connect, with the real port.
    func lastEndpoint() throws(InputError) -> String {
        var buffer = [CChar](repeating: 0, count: 1_024)
        var length = buffer.count
        guard zmq_getsockopt(raw, ZMQ_LAST_ENDPOINT, &buffer, &length) == 0 else {
            throw zmqError("cannot tell its endpoint", at: "socket")
        }
        return String(decoding: buffer[..<max(0, length - 1)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Sends the copy of a frame. - Returns: 0, or libzmq's error.
    func send(_ bytes: [UInt8], more: Bool) -> Int32 {
        while zmq_send(raw, bytes, bytes.count, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0 {
            let code = zmq_errno()
            if code != EINTR { return code }
        }
        return 0
    }

    /// Sends another reference to the message's bytes. - Returns: 0, or libzmq's error.
    func send(_ message: ZMQMessage) -> Int32 {
        zmq_msg_copy(scratch, message.raw)
        while zmq_msg_send(scratch, raw, ZMQ_DONTWAIT) < 0 {
            let code = zmq_errno()
            if code != EINTR {
                zmq_msg_close(scratch)
                zmq_msg_init(scratch)
                return code
            }
        }
        return 0
    }

    /// The header and the optional payload. The first frame of a message decides whether the rest can be sent (`router_t::xsend`,
    /// `lb_t::sendpipe`): libzmq counts whole messages against the high-water mark.
    func sendBody(header: [UInt8], payload: ZMQMessage?) -> SendResult {
        let code = send(header, more: payload != nil)
        guard code == 0 else { return SocketCore.result(code) }
        guard let payload else { return .sent }
        return SocketCore.result(send(payload))
    }

    static func result(_ code: Int32) -> SendResult {
        switch code {
        case 0: .sent
        case EAGAIN: .wouldBlock
        default: .unreachable
        }
    }

    /// Receives one frame into `message`. - Returns: whether another frame of the same message follows, or nil when there is nothing.
    func receive(into message: ZMQMessage) -> Bool? {
        while zmq_msg_recv(message.raw, raw, ZMQ_DONTWAIT) < 0 {
            if zmq_errno() != EINTR { return nil }
        }
        return zmq_msg_more(message.raw) != 0
    }

    /// Discards everything after a message's first `frames`. - Returns: the number of frames and of bytes.
    func discardRest() -> (frames: Int, bytes: Int) {
        var (frames, bytes) = (0, 0)
        let message = ZMQMessage()
        while let more = receive(into: message) {
            (frames, bytes) = (frames + 1, bytes + message.count)
            if !more { break }
        }
        return (frames, bytes)
    }

    /// The header and payload of a message whose earlier frames are read; nil when there is nothing to read.
    func receiveBody() -> Body? {
        let first = ZMQMessage()
        guard let more = receive(into: first) else { return nil }
        let origin = Origin(first)
        guard first.count <= limits.maximumHeaderBytes else {
            if more { _ = discardRest() }
            return .refused("a header of \(first.count) bytes, at most \(limits.maximumHeaderBytes) are allowed", origin)
        }
        let header = [UInt8](first.data)
        guard more else { return .parts(header, nil, origin) }
        let payload = ZMQMessage()
        guard let evenMore = receive(into: payload) else { return .refused("a message that ends after its header", origin) }
        guard !evenMore else {
            let rest = discardRest()
            return .refused("\(rest.frames) frames too many, of \(rest.bytes) bytes", origin)
        }
        return .parts(header, payload, origin)
    }

    /// What `receiveBody` found.
    enum Body {
        case parts([UInt8], ZMQMessage?, Origin)
        case refused(String, Origin)
    }

    /// What libzmq knows about a message's sender.
    struct Origin {
        let userID: String
        let address: String

        init(_ message: ZMQMessage) {
            func property(_ name: String) -> String { zmq_msg_gets(message.raw, name).map { String(cString: $0) } ?? "" }
            (userID, address) = (property("User-Id"), property("Peer-Address"))
        }
    }
}
