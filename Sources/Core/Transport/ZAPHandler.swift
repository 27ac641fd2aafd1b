// The gate. In: the keys of connecting peers, verified by libzmq. Out: 200 or 400, and a record of who was refused.
import Base
import CZMQ
import Dispatch
import Glibc
import Synchronization

/// Answers libzmq's question whether to admit a peer (ZAP, ZeroMQ RFC 27), on a thread of its own.
///
/// It is live when `init` returns. One per context. It ends with the last reference, and so does its thread.
package final class ZAPHandler: Sendable {
    /// One connection that was refused.
    package struct Refusal: Sendable, Equatable {
        /// The IP address of the other end.
        package let address: String
        /// The key that it proved to hold; nil if there was none, or it was malformed.
        package let key: PublicKey?
        /// For people.
        package let reason: String
    }

    /// What its thread and its owner share.
    private final class Shared: Sendable {
        let refusals = Mutex<(waiting: [Refusal], total: Int)>(([], 0))
        /// Why its thread could not start.
        let fault = Mutex<InputError?>(nil)
        let stop: EventFD
        let wake: EventFD?
        let finished = DispatchSemaphore(value: 0)

        init(wake: EventFD?) throws(InputError) {
            self.wake = wake
            stop = try EventFD()
        }
    }

    /// A name that libzmq passes on; peers of another domain are refused.
    let domain = "t2v"
    private let shared: Shared

    /// - Parameter wake: signalled when a peer was refused.
    /// - Throws: `InputError` when the context already has a handler.
    package init(_ context: ZMQContext, allow: AllowList, wake: EventFD? = nil) throws(InputError) {
        let shared = try Shared(wake: wake)
        self.shared = shared
        let started = DispatchSemaphore(value: 0)
        try startThread("zap") { [domain] in
            // The socket is made, used and closed on this thread.
            do throws(InputError) {
                let socket = try Replier(context)
                started.signal()
                socket.serve(domain, allow, shared.stop) { refusal in
                    shared.refusals.withLock {
                        $0.total += 1
                        if $0.waiting.count < 1_000 { $0.waiting.append(refusal) }
                    }
                    shared.wake?.signal()
                }
            } catch {
                shared.fault.withLock { $0 = error }
                started.signal()
            }
            shared.finished.signal()
        }
        started.wait()
        if let error = shared.fault.withLock({ $0 }) { throw error }
    }

    deinit {
        shared.stop.signal()
        shared.finished.wait()
    }

    /// The peers refused since the last call; the first 1,000 if there were more.
    package func drainRefusals() -> [Refusal] {
        shared.refusals.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
    }

    /// How many were refused since the start.
    package var refusalCount: Int { shared.refusals.withLock { $0.total } }
}

/// The REP socket of the handler's thread.
private final class Replier {
    private let raw: UnsafeMutableRawPointer
    private let context: ZMQContext

    init(_ context: ZMQContext) throws(InputError) {
        guard let raw = zmq_socket(context.raw, ZMQ_REP) else {
            throw zmqError("cannot make a socket", at: "libzmq", remedy: "raise the limit of open files (ulimit -n)")
        }
        (self.raw, self.context) = (raw, context)
        try SocketCore.set(raw, ZMQ_LINGER, 0)
        guard zmq_bind(raw, "inproc://zeromq.zap.01") == 0 else { throw zmqError("cannot check keys", at: "inproc://zeromq.zap.01") }
    }

    deinit { zmq_close(raw) }

    /// Answers until `stop` is signalled.
    func serve(_ domain: String, _ allow: AllowList, _ stop: EventFD, _ refused: (ZAPHandler.Refusal) -> Void) {
        var items = [
            zmq_pollitem_t(socket: raw, fd: -1, events: Int16(ZMQ_POLLIN), revents: 0),
            zmq_pollitem_t(socket: nil, fd: stop.descriptor, events: Int16(ZMQ_POLLIN), revents: 0),
        ]
        while true {
            guard zmq_poll(&items, 2, -1) >= 0 else {
                if zmq_errno() == EINTR { continue }
                return
            }
            if items[1].revents != 0 { return }
            while let request = receive() { answer(request, domain, allow, refused) }
        }
    }

    private func answer(_ request: [ZMQMessage], _ domain: String, _ allow: AllowList, _ refused: (ZAPHandler.Refusal) -> Void) {
        func text(_ index: Int) -> String { index < request.count ? String(decoding: request[index].data, as: UTF8.self) : "" }
        func reply(_ status: String, _ explanation: String, user: String = "") {
            // Version, request, status, explanation, user, metadata.
            let frames = [
                Array("1.0".utf8), request.count > 1 ? [UInt8](request[1].data) : [], Array(status.utf8), Array(explanation.utf8),
            ]
            for frame in frames + [Array(user.utf8)] { zmq_send(raw, frame, frame.count, ZMQ_SNDMORE) }
            zmq_send(raw, nil, 0, 0)
        }
        guard text(0) == "1.0", request.count >= 6, text(2) == domain else { return reply("500", "malformed request") }
        guard text(5) == "CURVE", request.count == 7, let key = PublicKey(bytes: request[6].data) else {
            refused(ZAPHandler.Refusal(address: text(3), key: nil, reason: "no key (mechanism \(text(5)))"))
            return reply("400", "a key is needed")
        }
        guard allow.contains(key.z85) else {
            refused(ZAPHandler.Refusal(address: text(3), key: key, reason: "the key is not in \(allow.path)"))
            return reply("400", "unknown key")
        }
        reply("200", "", user: key.z85)
    }

    /// The frames of one request, or nil when none is waiting.
    private func receive() -> [ZMQMessage]? {
        var frames: [ZMQMessage] = []
        while true {
            let frame = ZMQMessage()
            guard zmq_msg_recv(frame.raw, raw, ZMQ_DONTWAIT) >= 0 else {
                if zmq_errno() == EINTR { continue }
                return nil
            }
            frames.append(frame)
            if zmq_msg_more(frame.raw) == 0 { return frames }
        }
    }
}
