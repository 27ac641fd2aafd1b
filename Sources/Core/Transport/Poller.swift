// The one place where a shell waits. In: sockets, monitors and file descriptors. Out: which of them can be read or written.
import Base
import CZMQ
import Glibc

/// Waits for any of its sockets and descriptors. Remove a socket before releasing it.
package struct Poller {
    /// The place of a socket or descriptor in this poller.
    package struct Slot: Sendable, Hashable {
        let index: Int
    }

    private var items: [zmq_pollitem_t] = []
    private var free: [Int] = []

    /// Waits for nothing yet.
    package init() {}

    /// - Parameter writable: wake also when a message could be sent. Set it only while one is waiting.
    package mutating func add(_ socket: borrowing RouterSocket, writable: Bool = false) -> Slot { add(socket.core.raw, -1, writable) }

    /// - Parameter writable: wake also when a message could be sent. Set it only while one is waiting.
    package mutating func add(_ socket: borrowing DealerSocket, writable: Bool = false) -> Slot { add(socket.core.raw, -1, writable) }

    /// Readable when the monitored socket has an event.
    package mutating func add(_ monitor: SocketMonitor) -> Slot { add(monitor.raw, -1, false) }

    /// A file descriptor: eventfd, pidfd, timerfd, pipe.
    package mutating func add(descriptor: Int32, writable: Bool = false) -> Slot { add(nil, descriptor, writable) }

    private mutating func add(_ socket: UnsafeMutableRawPointer?, _ descriptor: Int32, _ writable: Bool) -> Slot {
        let events = Int16(ZMQ_POLLIN | (writable ? ZMQ_POLLOUT : 0))
        let item = zmq_pollitem_t(socket: socket, fd: descriptor, events: events, revents: 0)
        guard let index = free.popLast() else {
            items.append(item)
            return Slot(index: items.count - 1)
        }
        items[index] = item
        return Slot(index: index)
    }

    /// Forgets a socket or descriptor. Its slot's number may be reused.
    package mutating func remove(_ slot: Slot) {
        // poll() ignores a negative descriptor.
        items[slot.index] = zmq_pollitem_t(socket: nil, fd: -1, events: 0, revents: 0)
        free.append(slot.index)
    }

    /// Whether to wake also when the slot can be written.
    package mutating func setWritable(_ slot: Slot, _ writable: Bool) {
        items[slot.index].events = Int16(ZMQ_POLLIN | (writable ? ZMQ_POLLOUT : 0))
    }

    /// Waits until something is ready, a signal arrives or the time is up.
    /// - Parameter timeoutMilliseconds: 0 looks without waiting; nil or a negative number waits forever.
    /// - Returns: how many slots are ready. 0 after a time-out, or after a signal.
    /// - Throws: `InputError` when a socket or descriptor is closed (a bug).
    @discardableResult
    package mutating func wait(timeoutMilliseconds: Int?) throws(InputError) -> Int {
        let count = Int32(items.count)
        let ready = items.withUnsafeMutableBufferPointer { zmq_poll($0.baseAddress, count, timeoutMilliseconds ?? -1) }
        if ready >= 0 { return Int(ready) }
        guard zmq_errno() == EINTR else { throw zmqError("cannot wait for messages", at: "poller") }
        for index in items.indices { items[index].revents = 0 }
        return 0
    }

    /// As of the last `wait`.
    package func isReadable(_ slot: Slot) -> Bool { items[slot.index].revents & Int16(ZMQ_POLLIN) != 0 }

    /// As of the last `wait`.
    package func isWritable(_ slot: Slot) -> Bool { items[slot.index].revents & Int16(ZMQ_POLLOUT) != 0 }

    /// Descriptors only: an error, or the other end of a pipe is closed (which need not make it readable).
    package func hasHungUp(_ slot: Slot) -> Bool { items[slot.index].revents & Int16(ZMQ_POLLERR) != 0 }
}
