// Memory that the coordinator shares with the workers it starts. In: parameters, gradients. Out: the same bytes, without a copy.
import Base
import CLinux
import Glibc

/// Unnamed memory that several processes map. It ends with the last of them.
package final class SharedMemory: @unchecked Sendable {
    /// Inherited by a child to which it is given; closed on exec otherwise.
    package let descriptor: Int32
    package let bytes: UnsafeMutableRawBufferPointer

    /// New, zeroed memory; pages are allocated when they are first written.
    /// - Throws: `InputError` when the system has none.
    package init(name: String, byteCount: Int) throws(InputError) {
        let made = t2v_memfd_create(name, UInt32(MFD_CLOEXEC))
        guard made >= 0 else { throw Self.failure("make") }
        descriptor = t2v_duplicate(made)
        close(made)
        guard descriptor >= 0 else { throw Self.failure("make") }
        guard ftruncate(descriptor, byteCount) == 0 else {
            let error = Self.failure("size")
            close(descriptor)
            throw error
        }
        bytes = try Self.map(descriptor, byteCount)
    }

    /// Memory that another process made.
    /// - Parameter descriptor: inherited; owned from now on.
    package init(descriptor: Int32) throws(InputError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_size > 0 else { throw Self.failure("find") }
        self.descriptor = descriptor
        _ = t2v_close_on_exec(descriptor)
        bytes = try Self.map(descriptor, Int(status.st_size))
    }

    deinit {
        munmap(bytes.baseAddress, bytes.count)
        close(descriptor)
    }

    private static func map(_ descriptor: Int32, _ byteCount: Int) throws(InputError) -> UnsafeMutableRawBufferPointer {
        guard let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
            let error = failure("map")
            close(descriptor)
            throw error
        }
        return UnsafeMutableRawBufferPointer(start: base, count: byteCount)
    }

    private static func failure(_ what: String) -> InputError {
        InputError("cannot \(what) shared memory: \(String(cString: strerror(errno)))", at: "this host", remedy: "free memory")
    }

    /// The bytes that a reference points to; nil if they are outside.
    package func payload(_ reference: SharedReference) -> SharedPayload? {
        let size = UInt64(bytes.count)
        guard reference.offset % 64 == 0, reference.offset <= size, reference.length <= size - reference.offset else { return nil }
        let start = Int(reference.offset)
        return SharedPayload(UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(reference.length)]), self)
    }
}

/// Bytes in shared memory in place of a frame's body.
package final class SharedPayload: PayloadBytes, @unchecked Sendable {
    package let data: UnsafeRawBufferPointer
    private let memory: SharedMemory

    init(_ data: UnsafeRawBufferPointer, _ memory: SharedMemory) { (self.data, self.memory) = (data, memory) }
}

/// Places for versions of the parameters. The coordinator writes one while workers may still read another.
///
/// Each place has a stamp: 0 while it is written, then its update's number plus 1. After computing from a place, a worker checks that the
/// stamp has not changed: if it has, the result comes from a mixture and is discarded. This happens only to a worker that is several
/// updates late.
package final class SharedParameters: @unchecked Sendable {
    package let memory: SharedMemory
    private let stride: Int
    private static let page = 4096
    /// The stamps are here.
    private static let header = page
    /// Places for whole versions.
    private static let places = 4

    /// Whole pages for one version.
    private static func stride(_ byteCount: Int) -> Int { (byteCount + page - 1) / page * page }

    /// - Parameter byteCount: of one version.
    package init(byteCount: Int) throws(InputError) {
        stride = Self.stride(byteCount)
        memory = try SharedMemory(name: "t2v-parameters", byteCount: Self.header + Self.places * stride)
    }

    /// The places, for a pool.
    package func buffers(byteCount: Int) -> [MessageBuffer] {
        (0..<Self.places).map { place in
            let start = Self.header + place * stride
            return MessageBuffer(UnsafeMutableRawBufferPointer(rebasing: memory.bytes[start..<start + byteCount]), of: memory)
        }
    }

    private func place(_ buffer: MessageBuffer) -> Int? {
        guard let base = memory.bytes.baseAddress, let start = buffer.bytes.baseAddress, start >= base, start < base + memory.bytes.count
        else { return nil }
        return (start - base - Self.header) / stride
    }

    private func stamp(_ place: Int) -> UnsafeMutablePointer<UInt64>? {
        memory.bytes.baseAddress.map { $0.assumingMemoryBound(to: UInt64.self) + place }
    }

    /// From here until `publish` the place holds no version. Does nothing for a buffer that is not one of the places.
    package func withdraw(_ buffer: MessageBuffer) {
        guard let place = place(buffer), let stamp = stamp(place) else { return }
        t2v_store_before(stamp, 0)
    }

    /// The place holds a whole version.
    /// - Returns: the reference to send in its place; nil for a buffer that is not one of the places.
    package func publish(_ buffer: MessageBuffer, update: UInt64) -> SharedReference? {
        guard let place = place(buffer), let stamp = stamp(place) else { return nil }
        t2v_store_after(stamp, update + 1)
        return SharedReference(offset: UInt64(Self.header + place * stride), length: UInt64(buffer.bytes.count), stamp: update + 1)
    }

    /// Whether the place still holds the version that the reference was made for. In any process.
    package static func isWhole(_ reference: SharedReference, in memory: SharedMemory, byteCount: Int) -> Bool {
        let stride = stride(byteCount)
        guard let base = memory.bytes.baseAddress, reference.offset >= header else { return false }
        let place = (Int(reference.offset) - header) / stride
        return place < places && t2v_load_after(base.assumingMemoryBound(to: UInt64.self) + place) == reference.stamp
    }
}
