// Rows of hash embeddings. In: a table and four of its rows per id. Out: their sum; backward, the table's gradient.

/// thinc 7 `hash_embed.py`: the sum of four rows, then a dropout mask of `width` units that the whole update shares.
enum TableRows {
    /// output (count, width) = (sum of the four rows of each id) * factors.
    /// - Parameters:
    ///   - rows: four for each id.
    ///   - factors: (width), or nil without dropout.
    static func forward(table: Floats, width: Int, rows: UnsafePointer<UInt32>, count: Int, factors: Floats?, output: MutableFloats) {
        for id in 0..<count {
            let keys = rows + 4 * id
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
