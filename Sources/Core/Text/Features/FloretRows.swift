// floret: vectors of subwords. In: a word's text. Out: the rows whose mean is the word's vector.
import Base

/// How a floret table finds rows (spaCy 3.8 vectors.pyx, `Vectors._get_ngrams`, `_get_ngram_hashes`, `get_batch`).
package struct FloretRows: Codable, Sendable, Equatable {
    /// Lengths of n-grams in code points.
    package var minimum, maximum: Int
    /// Hashes taken of each n-gram, 1 to 4.
    package var hashCount: Int
    package var seed: UInt32
    /// Put before and after a word.
    package var begin, end: String
    /// Rows of the table.
    package var rows: Int

    package init(minimum: Int, maximum: Int, hashCount: Int, seed: UInt32, begin: String, end: String, rows: Int) {
        (self.minimum, self.maximum, self.hashCount, self.seed) = (minimum, maximum, hashCount, seed)
        (self.begin, self.end, self.rows) = (begin, end, rows)
    }

    /// No word of spaCy's is longer: its texts are not.
    private static let longest = 1_000_000

    /// - Throws: `InputError` that names the key whose value no table has.
    package func validate(place: String) throws(InputError) {
        func require(_ good: Bool, _ key: String, _ value: Any, _ expected: String) throws(InputError) {
            guard good else {
                throw InputError("vectors.\(key) is \(value), expected \(expected)", at: place, remedy: "compile the config again")
            }
        }
        try require((1...4).contains(hashCount), "hash_count", hashCount, "1 to 4")
        try require((0...Self.longest).contains(minimum), "minn", minimum, "0 or more")
        try require((minimum...Self.longest).contains(maximum), "maxn", maximum, "minn (\(minimum)) or more")
        try require((1...Int(UInt32.max)).contains(rows), "rows", rows, "1 or more")
    }

    /// The rows of a word in the order in which spaCy adds them up; the same row may come more than once. The empty word has none.
    package func rows(of word: UnsafeBufferPointer<UInt8>) -> [UInt32] {
        guard !word.isEmpty else { return [] }
        let text = Array(begin.utf8) + word + Array(end.utf8)
        // First byte of each code point, and the end.
        var starts = text.indices.filter { text[$0] & 0xc0 != 0x80 }
        let count = starts.count
        starts.append(text.count)
        var found: [UInt32] = []
        text.withUnsafeBufferPointer { text in
            func add(_ from: Int, _ to: Int) {
                let hash = murmurHash3(UnsafeBufferPointer(rebasing: text[starts[from]..<starts[to]]), seed: seed)
                let keys = [hash.0, hash.1, hash.2, hash.3]
                for index in 0..<hashCount { found.append(keys[index] % UInt32(rows)) }
            }
            add(0, count)
            guard maximum >= minimum else { return }
            for length in minimum...min(maximum, max(minimum, count)) where length <= count {
                for start in 0...count - length { add(start, start + length) }
            }
        }
        return found
    }
}

/// MurmurHash3 x64 128 (Austin Appleby, public domain) of any bytes.
/// - Returns: h1 low, h1 high, h2 low, h2 high.
func murmurHash3(_ bytes: UnsafeBufferPointer<UInt8>, seed: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
    let (c1, c2): (UInt64, UInt64) = (0x87C3_7B91_1142_53D5, 0x4CF5_AD43_2745_937F)
    func rotate(_ x: UInt64, _ bits: UInt64) -> UInt64 { x &<< bits | x &>> (64 &- bits) }
    func finish(_ value: UInt64) -> UInt64 {
        var k = value
        k = (k ^ k >> 33) &* 0xFF51_AFD7_ED55_8CCD
        k = (k ^ k >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return k ^ k >> 33
    }
    let raw = UnsafeRawBufferPointer(bytes)
    var (h1, h2) = (UInt64(seed), UInt64(seed))
    let whole = raw.count & ~15
    for place in stride(from: 0, to: whole, by: 16) {
        let k1 = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: place, as: UInt64.self))
        let k2 = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self))
        h1 ^= rotate(k1 &* c1, 31) &* c2
        h1 = (rotate(h1, 27) &+ h2) &* 5 &+ 0x52DC_E729
        h2 ^= rotate(k2 &* c2, 33) &* c1
        h2 = (rotate(h2, 31) &+ h1) &* 5 &+ 0x3849_5AB5
    }
    var (k1, k2): (UInt64, UInt64) = (0, 0)
    for (index, place) in (whole..<raw.count).enumerated() {
        let byte = UInt64(raw[place])
        if index < 8 { k1 |= byte << UInt64(8 * index) } else { k2 |= byte << UInt64(8 * (index - 8)) }
    }
    if raw.count - whole > 8 { h2 ^= rotate(k2 &* c2, 33) &* c1 }
    if raw.count > whole { h1 ^= rotate(k1 &* c1, 31) &* c2 }
    h1 ^= UInt64(raw.count)
    h2 ^= UInt64(raw.count)
    h1 = h1 &+ h2
    h2 = h2 &+ h1
    h1 = finish(h1)
    h2 = finish(h2)
    h1 = h1 &+ h2
    h2 = h2 &+ h1
    return (UInt32(truncatingIfNeeded: h1), UInt32(h1 >> 32), UInt32(truncatingIfNeeded: h2), UInt32(h2 >> 32))
}
