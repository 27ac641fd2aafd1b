// The body of a frame. In: bytes that Swift owns, or what libzmq received. Out: bytes that are sent to many peers without a copy.
import Base
import CZMQ

/// Memory that can be filled once and then sent to any number of peers without a copy. Aligned to 64 bytes, for vector loads.
package final class MessageBuffer: @unchecked Sendable {
    /// Fill it before the first message is made from it; libzmq's threads read it afterwards.
    package let bytes: UnsafeMutableRawBufferPointer
    /// Whose memory it is; nil: its own.
    private let owner: AnyObject?

    /// Uninitialized memory.
    package init(byteCount: Int) {
        bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
        owner = nil
    }

    /// Memory of `owner`, which is kept alive.
    init(_ bytes: UnsafeMutableRawBufferPointer, of owner: AnyObject) { (self.bytes, self.owner) = (bytes, owner) }

    deinit { if owner == nil { bytes.deallocate() } }
}

/// Buffers of one size that are reused when no message holds them any more. For one thread.
package struct MessageBufferPool {
    private var buffers: [MessageBuffer] = []
    private let byteCount: Int
    private let limit: Int

    /// - Parameter buffers: the first ones; others are made when all of these are held, and at most `limit` are kept.
    package init(byteCount: Int, limit: Int = 4, buffers: [MessageBuffer] = []) {
        (self.byteCount, self.limit, self.buffers) = (byteCount, limit, buffers)
    }

    /// A buffer that nothing else holds, with arbitrary contents. The one that was given out longest ago comes first.
    package mutating func next() -> MessageBuffer {
        for index in buffers.indices where isKnownUniquelyReferenced(&buffers[index]) {
            let buffer = buffers.remove(at: index)
            buffers.append(buffer)
            return buffer
        }
        let buffer = MessageBuffer(byteCount: byteCount)
        if buffers.count < limit { buffers.append(buffer) }
        return buffer
    }
}

/// A frame's body, wherever it is.
package protocol PayloadBytes: AnyObject, Sendable {
    /// Valid as long as the object exists.
    var data: UnsafeRawBufferPointer { get }
}

extension PayloadBytes {
    /// The length in bytes.
    package var count: Int { data.count }
}

/// A reference-counted frame body (libzmq's `zmq_msg_t`).
///
/// Any thread may read `data` and drop the last reference; only the thread that owns the sockets sends it or calls `copy()`.
package final class ZMQMessage: PayloadBytes, @unchecked Sendable {
    /// On the heap, since `data` of a short message points into the structure itself.
    let raw: UnsafeMutablePointer<zmq_msg_t>

    /// The message takes ownership of `raw`, which is initialized.
    init(adopting raw: UnsafeMutablePointer<zmq_msg_t>) { self.raw = raw }

    /// An empty message.
    package init() {
        raw = .allocate(capacity: 1)
        zmq_msg_init(raw)
    }

    /// A message that is `bytes` themselves: `owner` is kept alive until the last copy is sent and dropped.
    /// - Parameter bytes: must not change any more.
    package init(sharing bytes: UnsafeRawBufferPointer, ownedBy owner: AnyObject) {
        raw = .allocate(capacity: 1)
        guard let start = bytes.baseAddress, bytes.count > 0 else {
            zmq_msg_init(raw)
            return
        }
        let hint = Unmanaged.passRetained(owner)
        let release: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void = { _, hint in
            if let hint { Unmanaged<AnyObject>.fromOpaque(hint).release() }
        }
        let made = zmq_msg_init_data(raw, UnsafeMutableRawPointer(mutating: start), bytes.count, release, hint.toOpaque())
        precondition(made == 0, "out of memory for a message of 64 bytes")
    }

    /// A message that is the whole of `buffer`.
    package convenience init(sharing buffer: MessageBuffer) {
        self.init(sharing: UnsafeRawBufferPointer(buffer.bytes), ownedBy: buffer)
    }

    /// A message of `byteCount` bytes that libzmq holds, not yet filled.
    private init(byteCount: Int) throws(InputError) {
        raw = .allocate(capacity: 1)
        guard zmq_msg_init_size(raw, byteCount) == 0 else {
            zmq_msg_init(raw)
            throw zmqError("cannot allocate a message of \(byteCount) bytes", at: "", remedy: "free memory")
        }
    }

    /// A message with its own copy of `bytes`.
    /// - Throws: `InputError` when there is no memory for it.
    package convenience init(copying bytes: UnsafeRawBufferPointer) throws(InputError) {
        try self.init(byteCount: bytes.count)
        if let target = zmq_msg_data(raw), let source = bytes.baseAddress { target.copyMemory(from: source, byteCount: bytes.count) }
    }

    /// A message with its own copy of `bytes`.
    /// - Throws: `InputError` when there is no memory for it.
    package convenience init(_ bytes: [UInt8]) throws(InputError) {
        try self.init(byteCount: bytes.count)
        UnsafeMutableRawBufferPointer(start: zmq_msg_data(raw), count: bytes.count).copyBytes(from: bytes)
    }

    deinit {
        zmq_msg_close(raw)
        raw.deallocate()
    }

    /// The bytes, valid while this object is.
    package var data: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: zmq_msg_data(raw), count: zmq_msg_size(raw)) }

    /// Another reference to the same bytes. Sending does this by itself: `payload` stays usable after `send`.
    package func copy() -> ZMQMessage {
        let other = ZMQMessage()
        zmq_msg_copy(other.raw, raw)
        return other
    }
}
