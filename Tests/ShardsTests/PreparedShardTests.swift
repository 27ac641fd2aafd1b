import Base
import Shards
import TestSupport
import Testing

@Suite struct PreparedShardTests {
    @Test func bytesAreTakenFromBothEnds() {
        func bytes(_ text: String, _ count: Int) -> [UInt8] {
            Array(text.utf8).withUnsafeBufferPointer { WordFeatures.selectedBytes($0, count: count) }
        }
        #expect(bytes("jumping", 4) == Array("jgun".utf8))
        #expect(bytes("naïve", 5) == Array("neav".utf8) + [0xC3])
        #expect(bytes("ab", 4) == Array("ab".utf8) + [255, 255])
        #expect(bytes("abc", 4) == Array("acb".utf8) + [255])
        #expect(bytes("", 2) == [255, 255])
    }

    @Test func givesBackWhatWasAdded() throws {
        let schema = FeatureSchema(attributes: ["NORM"], vectorsAttribute: "ORTH", byteCount: 2)
        let words = [
            WordFeatures(ids: [10, 11], rows: [3, 4], bytes: [97, 255]), WordFeatures(ids: [20, 21], rows: [], bytes: [98, 99]),
            WordFeatures(ids: [30, 31], rows: [5], bytes: [255, 255]),
        ]
        var builder = PreparedShardBuilder(schema: schema)
        let indices = words.map { builder.add(word: $0) }
        builder.add(line: 4, words: [indices[2], indices[0] | PreparedShard.spaceBit])
        builder.add(line: 7, count: 1) { $0[0] = indices[0] }
        builder.tooShortCount = 1
        let shard = try PreparedShard(bytes: builder.finish(), schema: schema)
        #expect((0..<3).map { shard.word($0).ids } == words.map(\.ids))
        #expect((0..<3).map { shard.word($0).rows } == words.map(\.rows))
        #expect((0..<3).map { shard.word($0).bytes } == words.map(\.bytes))
        #expect(Array(shard.lines) == [4, 7] && Array(shard.starts) == [0, 2, 3] && Array(shard.counts) == [2, 0, 1])
        #expect((0..<3).map { shard.word(ofToken: $0) } == [2, 0, 0] && shard.tooShortCount == 1)
        #expect(shard.tokens.map { $0 & PreparedShard.spaceBit != 0 } == [false, true, false])
        #expect(shard.fits(vectorRows: 6) && !shard.fits(vectorRows: 5))
        #expect(DocumentView(key: 0, shard: shard, index: 1).tokens == 2..<3)
    }

    @Test func aShardOfOtherColumnsIsRefused() {
        var builder = PreparedShardBuilder(schema: .spacy2)
        builder.add(line: 0, words: [builder.add(word: WordFeatures(ids: [1, 2, 3, 4, 5]))])
        #expect(throws: Never.self) { try PreparedShard(bytes: builder.finish(), schema: .spacy2) }
        #expect {
            try PreparedShard(bytes: builder.finish(), schema: FeatureSchema(attributes: [], vectorsAttribute: nil, byteCount: 0))
        } throws: {
            "\($0)".contains("other columns")
        }
        #expect(throws: InputError.self) { try PreparedShard(bytes: builder.finish().dropLast(8), schema: .spacy2) }
    }

    /// A document without tokens would end where the previous one does.
    @Test func emptyDocumentsAreDamage() {
        var builder = PreparedShardBuilder(schema: .spacy2)
        builder.add(line: 0, words: [])
        #expect(throws: InputError.self) { try PreparedShard(bytes: builder.finish(), schema: .spacy2) }
    }
}
