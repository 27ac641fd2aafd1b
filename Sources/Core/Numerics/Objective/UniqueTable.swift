// Numbers distinct keys in order of first occurrence. In: a pair of 64-bit keys. Out: its number. Clearing takes constant time.
import Base

/// An open-addressing hash table that a micro-batch clears by raising a stamp: no allocation in the steady state.
struct UniqueTable {
    private struct Slot {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var stamp: UInt32 = 0
        var number: Int32 = 0
    }

    private var slots = [Slot](repeating: Slot(), count: 1024)
    private var stamp: UInt32 = 1
    private(set) var count = 0

    mutating func clear() {
        count = 0
        stamp &+= 1
        if stamp == 0 {
            for index in slots.indices { slots[index].stamp = 0 }
            stamp = 1
        }
    }

    /// The key's number, and whether it was new.
    @inline(__always)
    mutating func number(_ first: UInt64, _ second: UInt64 = 0) -> (number: Int32, isNew: Bool) {
        if 2 * count >= slots.count { grow() }
        let index = find(first, second)
        if slots[index].stamp == stamp { return (slots[index].number, false) }
        let number = Int32(count)
        slots[index] = Slot(first: first, second: second, stamp: stamp, number: number)
        count += 1
        return (number, true)
    }

    /// The slot that holds the key, or the free one where it belongs.
    private func find(_ first: UInt64, _ second: UInt64) -> Int {
        let mask = slots.count - 1
        var index = Int(truncatingIfNeeded: Philox.mix(first ^ (second &* 0x9E37_79B9_7F4A_7C15))) & mask
        while slots[index].stamp == stamp, slots[index].first != first || slots[index].second != second { index = (index + 1) & mask }
        return index
    }

    private mutating func grow() {
        let old = slots
        slots = [Slot](repeating: Slot(), count: 2 * old.count)
        for slot in old where slot.stamp == stamp { slots[find(slot.first, slot.second)] = slot }
    }
}
