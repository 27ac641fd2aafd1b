// Byte strings, each with a number that the caller chooses. In: bytes. Out: the number. The tokenizer's inner loop is a look-up in this
// table.
import CLinux
import Glibc

/// Keys are copied into one arena, so that a look-up allocates nothing and touches one slot and at most one other line of memory. The slot
/// has the first eight bytes: most words of most languages are compared there.
final class ByteTable {
    private struct Slot {
        var head: UInt64 = 0
        var hash: UInt32 = 0
        /// Length + 1; 0 marks an empty slot.
        var mark: UInt32 = 0
        var start: UInt32 = 0
        var value: UInt32 = 0
    }

    private var slots: UnsafeMutablePointer<Slot>
    private var mask: Int
    private(set) var count = 0
    private var arena: UnsafeMutablePointer<UInt8>
    private var arenaUsed = 0
    private var arenaCapacity = 1 << 16
    /// Where each key is in the arena, in order of arrival, and its value.
    private var places: [(start: UInt32, length: UInt32, value: UInt32)] = []

    init() {
        mask = (1 << 12) - 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: Slot(), count: mask + 1)
        arena = .allocate(capacity: arenaCapacity)
    }

    deinit {
        slots.deallocate()
        arena.deallocate()
    }

    /// Bytes held, for deciding when to start over.
    var memory: Int { arenaUsed + (mask + 1) * MemoryLayout<Slot>.stride }

    /// The key that was inserted as number `number`, from 0 on. Valid until the next insertion.
    @inline(__always)
    func key(_ number: Int) -> UnsafeBufferPointer<UInt8> {
        let place = places[number]
        return UnsafeBufferPointer(start: arena + Int(place.start), count: Int(place.length))
    }

    /// The first eight bytes, zero beyond the end, read without leaving the string.
    @inline(__always)
    private static func head(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
        let raw = UnsafeRawPointer(bytes)
        if count >= 8 { return raw.loadUnaligned(as: UInt64.self) }
        if count >= 4 {
            let high = UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)) << UInt64(8 * (count - 4))
            return UInt64(raw.loadUnaligned(as: UInt32.self)) | high
        }
        if count >= 2 {
            let high = UInt64(raw.loadUnaligned(fromByteOffset: count - 2, as: UInt16.self)) << UInt64(8 * (count - 2))
            return UInt64(raw.loadUnaligned(as: UInt16.self)) | high
        }
        return count == 1 ? UInt64(bytes[0]) : 0
    }

    /// Mixes eight bytes at a time by 64x64 -> 128 bit multiplication; an internal hash: nothing stored depends on it.
    @inline(__always)
    private static func hash(_ head: UInt64, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
        var state = fold(head ^ 0x9e37_79b9_7f4a_7c15, UInt64(count) &* 2 &+ 0xa076_1d64_78bd_642f)
        var place = 8
        while place + 8 <= count {
            state = fold(state ^ UnsafeRawPointer(bytes + place).loadUnaligned(as: UInt64.self), 0xe703_7ed1_a0b4_28db)
            place += 8
        }
        if place < count {
            state = fold(state ^ UnsafeRawPointer(bytes + count - 8).loadUnaligned(as: UInt64.self), 0x8ebc_6af0_9c88_c6e3)
        }
        return state
    }

    @inline(__always)
    private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// The key's value, or -1.
    @inline(__always)
    func find(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        guard let base = bytes.baseAddress else { return -1 }
        let head = Self.head(base, bytes.count)
        let hash = Self.hash(head, base, bytes.count)
        var index = Int(truncatingIfNeeded: hash) & mask
        let short = UInt32(truncatingIfNeeded: hash >> 32)
        while true {
            let slot = slots + index
            if slot.pointee.mark == 0 { return -1 }
            if slot.pointee.head == head, slot.pointee.hash == short, slot.pointee.mark == UInt32(truncatingIfNeeded: bytes.count + 1),
                bytes.count <= 8 || memcmp(arena + Int(slot.pointee.start) + 8, base + 8, bytes.count - 8) == 0
            {
                return Int(slot.pointee.value)
            }
            index = (index + 1) & mask
        }
    }

    /// Adds a key that `find` did not know. Keys must not be empty.
    func insert(_ bytes: UnsafeBufferPointer<UInt8>, value: UInt32) {
        guard let base = bytes.baseAddress else { return }
        if 3 * (count + 1) > 2 * (mask + 1) { grow() }
        if arenaUsed + bytes.count > arenaCapacity {
            // before the copy: `bytes` may be in the arena itself
            let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: max(2 * arenaCapacity, arenaUsed + bytes.count))
            larger.update(from: arena, count: arenaUsed)
            larger.advanced(by: arenaUsed).update(from: base, count: bytes.count)
            arena.deallocate()
            arena = larger
            arenaCapacity = max(2 * arenaCapacity, arenaUsed + bytes.count)
        } else {
            (arena + arenaUsed).update(from: base, count: bytes.count)
        }
        let key = UnsafeBufferPointer(start: UnsafePointer(arena + arenaUsed), count: bytes.count)
        places.append((UInt32(arenaUsed), UInt32(bytes.count), value))
        arenaUsed += bytes.count
        count += 1
        place(key, value: value)
    }

    private func place(_ key: UnsafeBufferPointer<UInt8>, value: UInt32) {
        guard let base = key.baseAddress else { return }
        let head = Self.head(base, key.count)
        let hash = Self.hash(head, base, key.count)
        var index = Int(truncatingIfNeeded: hash) & mask
        while slots[index].mark != 0 { index = (index + 1) & mask }
        slots[index] = Slot(
            head: head, hash: UInt32(truncatingIfNeeded: hash >> 32), mark: UInt32(key.count + 1),
            start: UInt32(base - UnsafePointer(arena)), value: value)
    }

    private func grow() {
        slots.deallocate()
        mask = 2 * mask + 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: Slot(), count: mask + 1)
        for number in 0..<count { place(key(number), value: places[number].value) }
    }
}
