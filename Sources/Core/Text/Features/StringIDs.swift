// String ids. In: UTF-8 bytes. Out: the 64-bit number that spaCy's string store gives them.
import Shards

/// Turns strings into spaCy's ids (spacy/strings.pyx): 0 for the empty string, a symbol's number for its name, else MurmurHash64A.
package struct StringIDs: Sendable {
    /// MurmurHash64A of every symbol's name, to its number.
    private let symbols: [UInt64: UInt64]

    /// Ids as the spaCy version gives them.
    package init(_ version: SymbolVersion) {
        var symbols: [UInt64: UInt64] = [:]
        for (index, name) in version.names.enumerated() {
            symbols[Array(name.utf8).withUnsafeBufferPointer(Self.murmurHash64A)] = UInt64(index + 1)
        }
        self.symbols = symbols
    }

    /// The id of `bytes`, which are UTF-8.
    package func id(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        guard !bytes.isEmpty else { return 0 }
        let hash = Self.murmurHash64A(bytes)
        return symbols[hash] ?? hash
    }

    /// The id of a string.
    package func id(_ string: String) -> UInt64 {
        Array(string.utf8).withUnsafeBufferPointer { id($0) }
    }

    /// MurmurHash64A with seed 1 (Appleby; murmurhash 1.0 `hash64`), little-endian.
    static func murmurHash64A(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        let m: UInt64 = 0xc6a4_a793_5bd1_e995
        let raw = UnsafeRawBufferPointer(bytes)
        var hash = 1 ^ (UInt64(raw.count) &* m)
        let whole = raw.count & ~7
        var place = 0
        while place < whole {
            var k = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: place, as: UInt64.self)) &* m
            k = (k ^ k >> 47) &* m
            hash = (hash ^ k) &* m
            place += 8
        }
        if place < raw.count {
            var tail: UInt64 = 0
            for index in place..<raw.count { tail |= UInt64(raw[index]) << UInt64(8 * (index - place)) }
            hash = (hash ^ tail) &* m
        }
        hash = (hash ^ hash >> 47) &* m
        return hash ^ hash >> 47
    }
}
