// Rows of hash embeddings. In: a table and four of its rows per id. Out: their sum; backward, the table's gradient.
import CKernels

/// thinc 7 `hash_embed.py`: the sum of four rows, then a dropout mask of `width` units that the whole update shares.
enum TableRows {
    /// How many ids before it is needed a row is asked for: rows are far apart, and nothing else can tell where the next one is.
    private static let ahead = 2

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

    /// dTable[row] += dOutput * factors for each of the four rows; a row that occurs twice gets it twice.
    static func backward(
        dOutput: Floats, width: Int, rows: UnsafePointer<UInt32>, count: Int, factors: Floats?, dTable: MutableFloats
    ) {
        for id in 0..<count {
            if id + ahead < count { prefetch(Floats(dTable), width, rows, id + ahead) }
            let source = dOutput + id * width
            for key in 0..<4 {
                let target = dTable + Int(rows[4 * id + key]) * width
                forChunks(width) { start, length in
                    let gradient = load(source, start, length)
                    let scaled = factors.map { gradient * load($0, start, length) } ?? gradient
                    store(load(target, start, length) + scaled, target, start, length)
                }
            }
        }
    }
}
