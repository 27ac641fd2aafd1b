// Gradients that stay on this host. In: sums of the current update. Out: places in memory that the coordinator reads.
import Base
import Transport

/// Places for the payloads of one update's contributions in memory shared with the coordinator.
///
/// The coordinator reads a payload after its message has arrived and before it opens the next update. So a place is written once per
/// update; a node that is sent again is in the same place.
final class ContributionMemory {
    /// Room for a payload that is being written.
    struct Room {
        fileprivate let offset: Int
        fileprivate let update: UInt64
        let bytes: UnsafeMutableRawBufferPointer
    }

    private let memory: SharedMemory
    private var update: UInt64?
    private var used = 0
    /// The rooms that are being written.
    private var open = 0

    init(_ memory: SharedMemory) { self.memory = memory }

    /// Room for a payload of at most this many bytes.
    /// - Returns: nil if there is none, or if one of another update is still being written.
    func room(update: UInt64, byteCount: Int) -> Room? {
        if let present = self.update, update < present { return nil }
        if self.update != update {
            guard open == 0 else { return nil }
            (self.update, used) = (update, 0)
        }
        guard used + byteCount <= memory.bytes.count else { return nil }
        let target = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[used..<used + byteCount])
        defer { used += (byteCount + 63) / 64 * 64 }
        open += 1
        return Room(offset: used, update: update, bytes: target)
    }

    /// The payload has been written: this many bytes of the room.
    func close(_ room: Room, byteCount: Int) -> SharedReference {
        open -= 1
        // The rest can be reused if nothing follows it.
        if update == room.update, used == room.offset + (room.bytes.count + 63) / 64 * 64 {
            used = room.offset + (byteCount + 63) / 64 * 64
        }
        return SharedReference(offset: UInt64(room.offset), length: UInt64(byteCount), stamp: room.update + 1)
    }
}
