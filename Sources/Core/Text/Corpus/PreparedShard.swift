// A shard after tokenizing and feature extraction. In: words and documents. Out: one compact file that is mapped and never parsed.
import Base
import Foundation

/// Layout, all little-endian: header of 8 UInt64 (magic, format version, documents D, tokens N, distinct words W, empty, too short,
/// too long), then arrays, each starting at a multiple of 8 bytes: lines UInt32[D] (line of each document, counted from the shard's first
/// line), starts UInt32[D+1] (first token of each document), tokens UInt32[N] (index of a distinct word), orth, norm, prefix, suffix,
/// shape UInt64[W] each, row Int32[W], count UInt32[W] (occurrences in kept documents). Distinct words stand in order of first occurrence.
public final class PreparedShard: @unchecked Sendable {
    public static let magic: UInt64 = 0x3150_4552_5056_3254  // "T2VPREP1"
    /// Raised when this layout, the tokenizer's code or the features' code changes: part of the cache key.
    public static let version: UInt64 = 1
    static let headerWords = 8

    /// Keeps the mapping or the array alive.
    private let owner: AnyObject
    public let bytes: UnsafeRawBufferPointer
    /// Records whose `text` or `tokens` was empty, documents below min_length, documents of max_length or more.
    public let emptyCount, tooShortCount, tooLongCount: Int
    public let lines: UnsafeBufferPointer<UInt32>
    public let starts: UnsafeBufferPointer<UInt32>
    public let tokens: UnsafeBufferPointer<UInt32>
    let orth, norm, prefix, suffix, shape: UnsafeBufferPointer<UInt64>
    public let row: UnsafeBufferPointer<Int32>
    public let counts: UnsafeBufferPointer<UInt32>

    public var documentCount: Int { lines.count }
    public var wordCount: Int { orth.count }

    /// Features of distinct word `index` of this shard.
    public func word(_ index: Int) -> WordFeatures {
        WordFeatures(
            orth: orth[index], norm: norm[index], prefix: prefix[index], suffix: suffix[index], shape: shape[index], row: row[index])
    }

    /// Maps the file at `path`.
    /// - Throws: `InputError` that says which part is wrong; nothing in the file is trusted.
    public convenience init(path: String) throws(InputError) {
        let file = try MappedFile(path)
        try self.init(bytes: file.bytes, owner: file, place: path)
    }

    /// Reads prepared bytes that `owner` keeps alive. Every index is checked once here, so that no later use can leave its array.
    public init(bytes: UnsafeRawBufferPointer, owner: AnyObject, place: String) throws(InputError) {
        func refuse(_ what: String) -> InputError {
            InputError("prepared shard is damaged: \(what)", at: place, remedy: "delete the file; it is made again")
        }
        guard bytes.count >= 8 * Self.headerWords, let base = bytes.baseAddress, Int(bitPattern: base) % 8 == 0 else {
            throw refuse("no header")
        }
        let header = (0..<Self.headerWords).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self) }
        guard header[0] == Self.magic, header[1] == Self.version else { throw refuse("magic or version differs") }
        guard header[2...].allSatisfy({ $0 < 1 << 31 }) else { throw refuse("a count is out of range") }
        let (documents, tokenCount, words) = (Int(header[2]), Int(header[3]), Int(header[4]))
        guard bytes.count == Self.byteCount(documents: documents, tokens: tokenCount, words: words) else { throw refuse("wrong length") }
        self.owner = owner
        self.bytes = bytes
        (emptyCount, tooShortCount, tooLongCount) = (Int(header[5]), Int(header[6]), Int(header[7]))
        var offset = 8 * Self.headerWords
        func array<T>(_ count: Int, _: T.Type) -> UnsafeBufferPointer<T> {
            let start = (base + offset).assumingMemoryBound(to: T.self)
            offset = Self.aligned(offset + count * MemoryLayout<T>.stride)
            return UnsafeBufferPointer(start: start, count: count)
        }
        lines = array(documents, UInt32.self)
        starts = array(documents + 1, UInt32.self)
        tokens = array(tokenCount, UInt32.self)
        orth = array(words, UInt64.self)
        norm = array(words, UInt64.self)
        prefix = array(words, UInt64.self)
        suffix = array(words, UInt64.self)
        shape = array(words, UInt64.self)
        row = array(words, Int32.self)
        counts = array(words, UInt32.self)
        var last: UInt32 = 0
        for start in starts.dropFirst() {
            // No document is kept that has no token.
            guard start > last else { throw refuse("document starts do not grow") }
            last = start
        }
        guard starts[0] == 0, Int(last) == tokenCount else { throw refuse("document starts do not cover the tokens") }
        guard tokens.allSatisfy({ Int($0) < words }) else { throw refuse("a token points outside the words") }
    }

    /// Whether every word's vector is one of so many, or none (-1).
    public func fits(vectorRows: Int) -> Bool { row.allSatisfy { $0 >= -1 && Int($0) < vectorRows } }

    static func aligned(_ offset: Int) -> Int { (offset + 7) & ~7 }

    static func byteCount(documents: Int, tokens: Int, words: Int) -> Int {
        let arrays = [
            4 * documents, 4 * (documents + 1), 4 * tokens, 8 * words, 8 * words, 8 * words, 8 * words, 8 * words, 4 * words, 4 * words,
        ]
        return arrays.reduce(8 * headerWords) { $0 + aligned($1) }
    }
}

/// Collects documents and gives the bytes of a `PreparedShard`.
public struct PreparedShardBuilder {
    var lines: [UInt32] = []
    var starts: [UInt32] = [0]
    var tokens: [UInt32] = []
    var words: [WordFeatures] = []
    public var emptyCount = 0, tooShortCount = 0, tooLongCount = 0

    public init() {}

    /// Adds a kept document. `documentWords` are indices that `add(word:)` returned; `line` counts from the shard's first line.
    public mutating func add(line: Int, words documentWords: some Collection<UInt32>) {
        lines.append(UInt32(line))
        tokens.append(contentsOf: documentWords)
        starts.append(UInt32(tokens.count))
    }

    /// Adds a kept document of `count` tokens, which `fill` writes as indices of words. The words may be registered right after.
    mutating func add(line: Int, count: Int, fill: (UnsafeMutableBufferPointer<UInt32>) -> Void) {
        lines.append(UInt32(line))
        let first = tokens.count
        tokens.append(contentsOf: repeatElement(0, count: count))
        tokens.withUnsafeMutableBufferPointer { fill(UnsafeMutableBufferPointer(rebasing: $0[first...])) }
        starts.append(UInt32(tokens.count))
    }

    /// Registers a distinct word and returns its index. The caller sees to it that words differ in (ORTH, NORM).
    @discardableResult
    public mutating func add(word: WordFeatures) -> UInt32 {
        words.append(word)
        return UInt32(words.count - 1)
    }

    var wordCount: Int { words.count }

    /// The finished shard. A word that occurs only in dropped documents has count 0.
    public func finish() -> [UInt8] {
        var counts = [UInt32](repeating: 0, count: words.count)
        for token in tokens { counts[Int(token)] += 1 }
        var out: [UInt8] = []
        out.reserveCapacity(PreparedShard.byteCount(documents: lines.count, tokens: tokens.count, words: words.count))
        // the host is little-endian (x86-64-v3), as the layout is
        func put<T: FixedWidthInteger>(_ values: [T]) {
            values.withUnsafeBytes { out.append(contentsOf: $0) }
            while out.count % 8 != 0 { out.append(0) }
        }
        put([
            PreparedShard.magic, PreparedShard.version, UInt64(lines.count), UInt64(tokens.count), UInt64(words.count),
            UInt64(emptyCount), UInt64(tooShortCount), UInt64(tooLongCount),
        ])
        put(lines)
        put(starts)
        put(tokens)
        put(words.map(\.orth))
        put(words.map(\.norm))
        put(words.map(\.prefix))
        put(words.map(\.suffix))
        put(words.map(\.shape))
        put(words.map(\.row))
        put(counts)
        return out
    }
}
