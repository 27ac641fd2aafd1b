// Gradients that stay on this host. In: sums of the open update. Out: places in memory that the coordinator reads.
import Base
import Transport

/// Places for the payloads of one update's contributions in memory shared with the coordinator.
///
/// The coordinator reads a payload after it has come and before it opens the next update. So a place is written once in an update; a node
/// that
/// is sent again is the same place again.
final class ContributionMemory {
    struct Place {
        let reference: SharedReference
        /// Of the payload's bytes.
        let hash: UInt64
    }

    private let memory: SharedMemory
    private var update: UInt64?
    private var used = 0
    private var places: [TreeNode: Place] = [:]

    init(_ memory: SharedMemory) { self.memory = memory }

    /// Where the node's payload is, if it was written in this update.
    func place(of node: TreeNode, update: UInt64) -> Place? { self.update == update ? places[node] : nil }

    /// Writes a payload.
    /// - Parameter encode: fills the room it is given and returns the payload's length.
    /// - Returns: nil when there is no room, or the update is over and its places are not to be touched.
    func write(_ node: TreeNode, update: UInt64, room: Int, _ encode: (UnsafeMutableRawBufferPointer) -> Int) -> Place? {
        if let open = self.update, update < open { return nil }
        if self.update != update { (self.update, used, places) = (update, 0, [:]) }
        guard used + room <= memory.bytes.count else { return nil }
        let target = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[used..<used + room])
        let length = encode(target)
        let hash = Digest64.hash(UnsafeRawBufferPointer(rebasing: target[..<length]))
        let place = Place(reference: SharedReference(offset: UInt64(used), length: UInt64(length), stamp: update + 1), hash: hash)
        places[node] = place
        used += (length + 63) / 64 * 64
        return place
    }
}
