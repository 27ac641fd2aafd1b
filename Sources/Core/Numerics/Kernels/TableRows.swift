// Rows of hash embeddings. In: a table and four of its rows per id. Out: their sum; backward, the table's gradient.
import CKernels

/// thinc 7 `hash_embed.py`: the sum of four rows, then a dropout mask of `width` units that the whole update shares.
enum TableRows {
    /// How many ids before it is needed a row is asked for: rows are far apart, and nothing else can tell where the next one is.
    private static let ahead = 2
    /// The same for the gradient: rows that follow each other take less time than memory.
    private static let aheadWritten = 4

    @inline(__always)
    private static func prefetch(_ table: Floats, _ width: Int, _ rows: UnsafePointer<UInt32>, _ id: Int) {
        for key in 0..<4 { t2v_prefetch(table + Int(rows[4 * id + key]) * width, 4 * width) }
    }

    /// output (count, width) = (sum of the four rows of each id) * factors.
    /// - Parameters:
    ///   - rows: four for each id.
    ///   - ids: `count` ids; nil: the first ones.
    ///   - factors: (width), or nil without dropout.
    static func forward(
        table: Floats, width: Int, rows: UnsafePointer<UInt32>, ids: [Int32]? = nil, count: Int, factors: Floats?, output: MutableFloats
    ) {
        for id in 0..<count {
            if id + ahead < count { prefetch(table, width, rows, ids.map { Int($0[id + ahead]) } ?? id + ahead) }
            let keys = rows + 4 * (ids.map { Int($0[id]) } ?? id)
            let a = table + Int(keys[0]) * width
            let b = table + Int(keys[1]) * width
            let c = table + Int(keys[2]) * width
            let d = table + Int(keys[3]) * width
            let out = output + id * width
            forChunks(width) { start, length in
                let sum = (load(a, start, length) + load(b, start, length)) + (load(c, start, length) + load(d, start, length))
                store(factors.map { sum * load($0, start, length) } ?? sum, out, start, length)
            }
        }
    }

    /// dTable[row] = dOutput of the ids that have the row, summed for each lane in their order, then over the lanes; a row that an id has
    /// twice gets it twice. Rows that do not occur stay as they are.
    /// - Parameters:
    ///   - dOutput: (ids, width).
    ///   - rows: four for each id.
    ///   - lanes: ids of each lane.
    ///   - lists: of the table; empty before and after.
    ///   - room: (`LaneRows.places`, width).
    static func backward(
        dOutput: Floats, width: Int, rows: UnsafePointer<UInt32>, lanes: LaneRows, lists: RowLists, room: MutableFloats,
        dTable: MutableFloats
    ) {
        let (occurring, firsts, following) = lists.fill(rows, lanes)
        lanes.starts.withUnsafeBufferPointer { starts in
            lanes.merges.withUnsafeBufferPointer { merges in
                for place in occurring.indices {
                    if place + aheadWritten < occurring.count {
                        t2v_prefetch(dTable + Int(occurring[place + aheadWritten]) * width, 4 * width)
                    }
                    let row = Int(occurring[place])
                    func sum(_ place: Int) -> MutableFloats { place == 0 ? dTable + row * width : room + (place - 1) * width }
                    func source(_ occurrence: UInt32) -> Floats { dOutput + Int(occurrence >> 2) * width }
                    var (next, lane) = (firsts[row].occurrence, Int(firsts[row].lane))
                    firsts[row].occurrence = RowLists.none
                    // Lanes without the row have +0.0, which changes no sum: they are left out. Bit k tells whether the sum k places below
                    // the last one has the row; those that have it follow each other in the places 0...top.
                    var (hasRow, top): (UInt64, Int) = (0, -1)
                    repeat {
                        hasRow <<= 1
                        let end = UInt32(truncatingIfNeeded: 4 * starts[lane + 1])
                        if next < end {
                            (hasRow, top) = (hasRow | 1, top + 1)
                            let (first, target) = (source(next), sum(top))
                            // A sum begins with +0.0, so that it never is -0.0.
                            forChunks(width) { start, length in store(load(first, start, length) + Float8.zero, target, start, length) }
                            next = following[Int(next)]
                            while next < end {
                                add(source(next), to: target, count: width)
                                next = following[Int(next)]
                            }
                        }
                        for _ in 0..<merges[lane] {
                            let last = hasRow & 1
                            hasRow >>= 1
                            if last & hasRow == 1 {
                                add(Floats(sum(top)), to: sum(top - 1), count: width)
                                top -= 1
                            }
                            hasRow |= last
                        }
                        lane += 1
                    } while next != RowLists.none || top > 0
                }
            }
        }
    }
}

/// Where each row of a table occurs, in the order of lanes and ids. Occurrence 4 * id + key is row `key` of an id. Owned by one thread; the
/// memory is kept.
final class RowLists {
    /// No occurrence: greater than all.
    static let none = UInt32.max

    /// The first occurrence of a row, and its lane.
    fileprivate struct First {
        var occurrence = RowLists.none
        var lane: UInt32 = 0
    }

    /// Of each row of the table. Whoever reads the lists empties them.
    private let firsts: UnsafeMutablePointer<First>
    /// Bit i % 64 of word i / 64: row i occurs.
    private let bitmap: UnsafeMutablePointer<UInt64>
    private let bitmapWords: Int
    /// Rows that occur, ascending.
    private let occurring: UnsafeMutablePointer<UInt32>
    /// Of each occurrence: the next one of the same row.
    private var next = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
    private var capacity = 1

    /// Empty lists of a table of so many rows.
    init(rows: Int) {
        firsts = .allocate(capacity: rows)
        firsts.initialize(repeating: First(), count: rows)
        bitmapWords = (rows + 63) / 64
        bitmap = .allocate(capacity: bitmapWords)
        bitmap.initialize(repeating: 0, count: bitmapWords)
        occurring = .allocate(capacity: rows)
    }

    deinit {
        firsts.deallocate()
        bitmap.deallocate()
        occurring.deallocate()
        next.deallocate()
    }

    /// Lists what is there, from the last to the first, since each goes before the others of its row.
    /// - Returns: rows that occur, ascending; where each row's list begins; what follows each occurrence.
    fileprivate func fill(
        _ rows: UnsafePointer<UInt32>, _ lanes: LaneRows
    ) -> (occurring: UnsafeBufferPointer<UInt32>, firsts: UnsafeMutablePointer<First>, next: UnsafePointer<UInt32>) {
        let count = 4 * (lanes.starts.last ?? 0)
        if count > capacity {
            next.deallocate()
            capacity = count + count / 4
            next = .allocate(capacity: capacity)
        }
        let (firsts, bitmap, next) = (firsts, bitmap, next)
        for lane in lanes.merges.indices.reversed() {
            for occurrence in (4 * lanes.starts[lane]..<4 * lanes.starts[lane + 1]).reversed() {
                let row = Int(rows[occurrence])
                next[occurrence] = firsts[row].occurrence
                firsts[row] = First(occurrence: UInt32(truncatingIfNeeded: occurrence), lane: UInt32(truncatingIfNeeded: lane))
                bitmap[row >> 6] |= 1 << UInt64(row & 63)
            }
        }
        return (UnsafeBufferPointer(start: occurring, count: takeOccurring()), firsts, UnsafePointer(next))
    }

    /// Lists the rows of the bitmap, and clears it.
    /// - Returns: how many there are.
    private func takeOccurring() -> Int {
        var count = 0
        for word in 0..<bitmapWords {
            var bits = bitmap[word]
            bitmap[word] = 0
            while bits != 0 {
                occurring[count] = UInt32(truncatingIfNeeded: word << 6 + bits.trailingZeroBitCount)
                bits &= bits - 1
                count += 1
            }
        }
        return count
    }
}
