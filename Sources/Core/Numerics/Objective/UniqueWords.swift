// The distinct words of a micro-batch. In: words of shards and tables, token by token. Out: their numbers, in order of first occurrence.
import Base
import Shards

/// Where a word's columns are, without anything that is reference-counted.
struct WordPointers {
    let count: Int
    let ids: UnsafePointer<UInt64>
    let rowStarts: UnsafePointer<UInt32>
    let rows: UnsafePointer<UInt32>
    let bytes: UnsafePointer<UInt8>

    /// Valid as long as the block exists.
    init(_ block: WordBlock) {
        (count, ids, rowStarts, rows, bytes) = (block.count, block.ids, block.rowStarts, block.rows, block.bytes)
    }

    /// The vector rows of a word.
    @inline(__always)
    func vectorRows(_ word: Int) -> UnsafeBufferPointer<UInt32> {
        UnsafeBufferPointer(start: rows + Int(rowStarts[word]), count: Int(rowStarts[word + 1] - rowStarts[word]))
    }
}

/// Numbers words whose ids, or per-token attributes, differ. Clearing takes constant time.
struct UniqueWords {
    /// Per unique word: the ids of all columns, then the token's bits.
    private(set) var keys: [UInt64] = []
    /// Where each was first seen: a block and a word in it.
    private(set) var places: [(block: Int32, word: Int32)] = []
    private(set) var blocks: [WordPointers] = []
    let columns: Int
    private var slots = [Slot](repeating: Slot(), count: 1024)
    private var stamp: UInt32 = 1

    private struct Slot {
        var hash: UInt64 = 0
        var stamp: UInt32 = 0
        var number: Int32 = 0
    }

    init(columns: Int) { self.columns = columns }

    var count: Int { places.count }
    /// Keys of one word.
    var stride: Int { columns + 1 }

    mutating func clear(first: WordPointers) {
        keys.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        blocks.removeAll(keepingCapacity: true)
        blocks.append(first)
        stamp &+= 1
        if stamp == 0 {
            for index in slots.indices { slots[index].stamp = 0 }
            stamp = 1
        }
    }

    /// Adds a block of words for `number`.
    /// - Returns: its index.
    mutating func add(_ block: WordPointers) -> Int {
        blocks.append(block)
        return blocks.count - 1
    }

    /// The number of a word with the given per-token bits.
    @inline(__always)
    mutating func number(block: Int, word: Int, bits: UInt64) -> Int32 {
        if 2 * places.count >= slots.count { grow() }
        let source = blocks[block]
        let (ids, step) = (source.ids + word, source.count)
        var hash = bits
        for column in 0..<columns { hash = (hash ^ ids[column &* step]) &* 0x9E37_79B9_7F4A_7C15 ^ hash >> 31 }
        hash = Philox.mix(hash)
        let mask = slots.count - 1
        var index = Int(truncatingIfNeeded: hash) & mask
        while slots[index].stamp == stamp {
            if slots[index].hash == hash, isEqual(Int(slots[index].number), ids, step, bits) { return slots[index].number }
            index = (index + 1) & mask
        }
        let number = Int32(places.count)
        slots[index] = Slot(hash: hash, stamp: stamp, number: number)
        for column in 0..<columns { keys.append(ids[column &* step]) }
        keys.append(bits)
        places.append((Int32(block), Int32(word)))
        return number
    }

    @inline(__always)
    private func isEqual(_ number: Int, _ ids: UnsafePointer<UInt64>, _ step: Int, _ bits: UInt64) -> Bool {
        let start = number &* stride
        for column in 0..<columns where keys[start &+ column] != ids[column &* step] { return false }
        return keys[start &+ columns] == bits
    }

    private mutating func grow() {
        let old = slots
        slots = [Slot](repeating: Slot(), count: 2 * old.count)
        let mask = slots.count - 1
        for slot in old where slot.stamp == stamp {
            var index = Int(truncatingIfNeeded: slot.hash) & mask
            while slots[index].stamp == stamp { index = (index + 1) & mask }
            slots[index] = slot
        }
    }
}
