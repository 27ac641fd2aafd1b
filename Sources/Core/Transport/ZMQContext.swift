// libzmq's I/O threads and its errors. In: the number of threads. Out: the context that every socket of a process is made from.
import Base
import CZMQ
import Glibc

/// One libzmq context: its I/O threads and the `inproc://` names. Sockets keep it alive; it ends after the last of them.
///
/// Ending blocks until every socket is closed and its unsent messages are sent or `SocketLimits.lingerMilliseconds` has passed.
package final class ZMQContext: @unchecked Sendable {
    let raw: UnsafeMutableRawPointer

    /// - Parameter ioThreads: libzmq's own threads. One moves about 1 GB/s without encryption, and a quarter of that with it.
    /// - Throws: `InputError` when the process is out of file descriptors or memory.
    package init(ioThreads: Int = 1) throws(InputError) {
        guard let raw = zmq_ctx_new() else { throw zmqError("cannot start libzmq", at: "") }
        self.raw = raw
        guard zmq_ctx_set(raw, ZMQ_IO_THREADS, Int32(clamping: ioThreads)) == 0 else {
            throw zmqError("cannot use \(ioThreads) I/O threads", at: "libzmq")
        }
    }

    deinit {
        while zmq_ctx_term(raw) != 0, zmq_errno() == EINTR {}
    }
}

/// The text of libzmq's last error on this thread as an `InputError`.
func zmqError(_ what: String, at place: String, remedy: String = "") -> InputError {
    let code = zmq_errno()
    let text = zmq_strerror(code).map { String(cString: $0) } ?? "error \(code)"
    return InputError("\(what): \(text)", at: place, remedy: remedy)
}
