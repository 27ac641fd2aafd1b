// Wakes a waiting thread. In: a call from another thread or a signal handler. Out: a readable descriptor.
import Base
import CLinux
import Glibc

/// A kernel counter with a descriptor that a `Poller` can wait for.
package final class EventFD: Sendable {
    /// Readable after `signal()` until `drain()`.
    package let descriptor: Int32

    /// - Throws: `InputError` when the process has no descriptor left.
    package init() throws(InputError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard descriptor >= 0 else {
            let why = String(cString: strerror(errno))
            throw InputError("cannot make an eventfd: \(why)", at: "", remedy: "raise the limit of open files (ulimit -n)")
        }
    }

    deinit { close(descriptor) }

    /// Wakes the reader. From any thread.
    package func signal() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    /// Resets it. - Returns: how often it was signalled since the last call; 0: not at all.
    @discardableResult
    package func drain() -> UInt64 {
        var count: UInt64 = 0
        return read(descriptor, &count, 8) == 8 ? count : 0
    }
}

/// Counts signals and wakes the thread that waits. One per process; the handler only counts and writes to an eventfd.
package final class SignalWatcher {
    /// Readable after a signal.
    package let event: EventFD
    private let signals: [Int32]

    /// - Parameters:
    ///   - signals: such as SIGTERM, SIGINT and SIGHUP.
    ///   - exitOnSecond: at the second of `signals`, SIGHUP excepted, the process ends at once with this status, whatever it is doing.
    /// - Throws: `InputError` when the process has no descriptor left or a signal cannot be caught.
    package init(_ signals: [Int32], exitOnSecond: Int32? = nil) throws(InputError) {
        event = try EventFD()
        self.signals = signals
        for signal in signals {
            guard t2v_watch_signal(signal, event.descriptor, signal == SIGHUP ? -1 : exitOnSecond ?? -1) == 0 else {
                throw InputError("cannot catch signal \(signal): \(String(cString: strerror(errno)))", at: "", remedy: "")
            }
        }
    }

    deinit {
        for signal in signals { t2v_unwatch_signal(signal) }
    }

    /// How often `signal` has been received since the start.
    package func count(of signal: Int32) -> Int { Int(t2v_signal_count(signal)) }

    /// How often SIGTERM and SIGINT have been received.
    package var stopRequests: Int { count(of: SIGTERM) + count(of: SIGINT) }
}
