import CLinux
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Shards
@testable import Text

/// A cached file is what was put there, or it is not used.
@Suite struct PreparedCacheTests {
    private static let key = CacheKey(repeating: 7)

    private static let shard: [UInt8] = {
        var builder = PreparedShardBuilder(schema: .spacy2)
        let word = builder.add(word: WordFeatures(ids: [1, 2, 3, 4, 5], rows: [2]))
        builder.add(line: 0, words: [word, word])
        return builder.finish()
    }()

    private func digest(_ bytes: [UInt8]) -> ShardDigest { bytes.withUnsafeBytes(PreparedCache.digest) }

    @Test func givesBackWhatWasPutIn() throws {
        let folder = try TemporaryFolder()
        let cache = try PreparedCache(folder: folder.path)
        #expect(cache.entry(Self.key, schema: .spacy2) == nil)
        try cache.store(Self.shard, key: Self.key)
        let entry = try #require(cache.entry(Self.key, schema: .spacy2))
        #expect(entry == (UInt64(Self.shard.count), digest(Self.shard)))
        #expect(cache.contents(Self.key).map { Array($0.bytes) } == Self.shard)
        #expect(cache.open(Self.key, schema: .spacy2, size: entry.size, digest: entry.digest)?.tokens.count == 2)
        #expect(cache.open(Self.key, schema: .spacy2, size: entry.size, digest: ShardDigest(1)) == nil)
    }

    /// A file that a disk has changed in a place that no structural check covers, one with a hole, a truncated one, one of an older format.
    @Test(arguments: ["changed", "hole", "cut", "unsealed"]) func usesNothingThatWasDamaged(how: String) throws {
        let folder = try TemporaryFolder()
        try PreparedCache(folder: folder.path).store(Self.shard, key: Self.key)
        let path = try PreparedCache(folder: folder.path).path(Self.key)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        // An id: any 64 bits are one.
        let place = 8 * 12 + 8 + 8 + 8
        switch how {
        case "changed": bytes[place] ^= 1
        case "hole": for index in place..<place + 8 { bytes[index] = 0 }
        case "cut": bytes.removeLast()
        default: bytes.removeLast(16)
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let cache = try PreparedCache(folder: folder.path)
        #expect(cache.entry(Self.key, schema: .spacy2) == nil && cache.contents(Self.key) == nil)
        #expect(cache.open(Self.key, schema: .spacy2, size: UInt64(Self.shard.count), digest: digest(Self.shard)) == nil)
        try cache.store(Self.shard, key: Self.key)
        #expect(cache.entry(Self.key, schema: .spacy2) != nil, "it is made again")
    }

    /// A file that this process has verified is checked again if it has changed.
    @Test func looksAgainAtAChangedFile() throws {
        let folder = try TemporaryFolder()
        let cache = try PreparedCache(folder: folder.path)
        try cache.store(Self.shard, key: Self.key)
        #expect(cache.entry(Self.key, schema: .spacy2) != nil && cache.entry(Self.key, schema: .spacy2) != nil)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: cache.path(Self.key))))
        bytes[8 * 12 + 8 + 8 + 8] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: cache.path(Self.key)))
        #expect(cache.entry(Self.key, schema: .spacy2) == nil)
    }

    @Test func takesOnlyWhatWasAnnounced() throws {
        let folder = try TemporaryFolder()
        let cache = try PreparedCache(folder: folder.path)
        func take(_ bytes: [UInt8], size: Int, digest: ShardDigest, rows: Int = 3) throws {
            let file = try IncomingFile(target: cache.path(Self.key))
            try file.write(bytes, at: 0)
            try cache.take(file, key: Self.key, schema: .spacy2, size: UInt64(size), digest: digest, vectorRows: rows)
        }
        var damaged = Self.shard
        damaged[8 * 12 + 8 + 8 + 8] ^= 1
        #expect(throws: InputError.self) { try take(damaged, size: damaged.count, digest: digest(Self.shard)) }
        #expect(throws: InputError.self) { try take(Self.shard, size: Self.shard.count + 1, digest: digest(Self.shard)) }
        #expect(throws: InputError.self) { try take(Self.shard, size: Self.shard.count, digest: digest(Self.shard), rows: 2) }
        let text = Array("no shard at all, of whatever length".utf8)
        #expect(throws: InputError.self) { try take(text, size: text.count, digest: digest(text)) }
        let left = try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/prepared")
        #expect(left == [], "nothing of them is left")
        try take(Self.shard, size: Self.shard.count, digest: digest(Self.shard))
        #expect(cache.entry(Self.key, schema: .spacy2) != nil)
        let file = try IncomingFile(target: cache.path(Self.key))
        #expect(throws: InputError.self) { try file.write([1], at: .max) }
    }

    /// Another user knows the name and may be first.
    @Test func trustsNoFolderThatOthersCanWrite() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/t2v-cache"
        try PreparedCache.makePrivate(path)
        try PreparedCache.makePrivate(path)
        chmod(path, 0o777)
        #expect(throws: InputError.self) { try PreparedCache.makePrivate(path) }
        chmod(path, 0o700)
        let link = "\(folder.path)/link"
        symlink(path, link)
        #expect(throws: InputError.self) { try PreparedCache.makePrivate(link) }
        if geteuid() == 0 {
            chown(path, 65_534, 65_534)
            #expect(throws: InputError.self) { try PreparedCache.makePrivate(path) }
        }
    }
}
