// Shards of pieces. In: pieces of a job. Out: prepared shards with the model's columns, or an error that names the document.
import TestSupport
import Testing

@testable import Base
@testable import Shards
@testable import Text

@Suite("Piece preparer") struct PiecePreparerTests {
    static let text = TextSettings(
        path: .pieces, format: .jsonl, language: "ja", columns: ["NORM", "LIKE_NUM", "SHAPE"],
        vectors: .table(attribute: "ORTH", rows: 9))
    static let schema = FeatureSchema(attributes: ["SHAPE", "SPACY", "NORM"], vectorsAttribute: "ORTH", byteCount: 3)

    private func preparer(min: Int = 0, max: Int = .max, rowOf: [String: Int32] = [:], columns: [String] = text.columns) throws
        -> PiecePreparer
    {
        var text = Self.text
        text.columns = columns
        let ids = StringIDs(.spacy38)
        let rows = Dictionary(uniqueKeysWithValues: rowOf.map { (ids.id($0.key), $0.value) })
        let lexicon = Lexicon(
            symbols: .spacy38, norms: LanguageNorms(language: "ja", version: .spacy38), normTable: [:], stored: [:], rowOf: rows, job: text)
        return try PiecePreparer(text: text, lexicon: lexicon, schema: Self.schema, minLength: min, maxLength: max)
    }

    /// Two pieces: documents 7, 8 and 12.
    private func pieces() -> [UInt8] {
        let first = PieceWriter(
            firstDocument: 7, documents: [[0 | Piece.spaceBit, 1, 0], [2, 2]],
            words: [("né", [10, 1, 30]), ("a", [11, 0, 31]), ("né", [12, 1, 30])])
        let second = PieceWriter(firstDocument: 12, documents: [[0]], words: [("a", [11, 1, 31])])
        return first.bytes() + second.bytes()
    }

    private func shard(_ bytes: [UInt8]) throws -> PreparedShard { try PreparedShard(bytes: bytes, schema: Self.schema) }

    @Test("words have the model's columns, rows and bytes, and equal words are merged across pieces")
    func words() throws {
        let bytes = try pieces().withUnsafeBytes { try preparer(rowOf: ["a": 4]).prepare($0) }
        let shard = try shard(bytes)
        #expect(shard.documentCount == 3 && shard.wordCount == 3)
        #expect(Array(shard.lines) == [0, 1, 5])
        #expect(Array(shard.tokens) == [0 | PreparedShard.spaceBit, 1, 0, 2, 2, 1])
        let ids = StringIDs(.spacy38)
        #expect(shard.word(0).ids == [ids.id("né"), 30, 10] && shard.word(0).rows == [])
        #expect(shard.word(1).ids == [ids.id("a"), 31, 11] && shard.word(1).rows == [4])
        #expect(shard.word(2).ids == [ids.id("né"), 30, 12])
        #expect(shard.word(0).bytes == [0x6e, 0xa9, 0xc3] && shard.word(1).bytes == [0x61, 255, 255])
        #expect(Array(shard.counts) == [2, 2, 2])
    }

    @Test("bounds of the length hold")
    func lengths() throws {
        let shard = try shard(try pieces().withUnsafeBytes { try preparer(min: 2, max: 3).prepare($0) })
        #expect(shard.documentCount == 1 && shard.tooShortCount == 1 && shard.tooLongCount == 1)
        #expect(Array(shard.lines) == [1])
    }

    @Test("a missing column is refused by name, and [MASK] takes the job's ids")
    func columns() throws {
        #expect(throws: InputError.self) { try preparer(columns: ["NORM", "LIKE_NUM"]) }
        let mask = try preparer().maskWord(ids: [1, 2, 3])
        #expect(mask.ids == [StringIDs(.spacy38).id("[MASK]"), 3, 1] && mask.bytes == Array("[]M".utf8))
    }

    @Test("no truncation is accepted, and a fault names its document")
    func damaged() throws {
        let whole = pieces()
        let border = PieceWriter(
            firstDocument: 7, documents: [[0, 1, 0], [2, 2]], words: [("né", [10, 1, 30]), ("a", [11, 0, 31]), ("né", [12, 1, 30])]
        ).bytes().count
        for length in 1..<whole.count where length != border {
            #expect(throws: ShardPreparationError.self) { try Array(whole[..<length]).withUnsafeBytes { try preparer().prepare($0) } }
        }
        var changed = whole
        changed[border] ^= 1
        do {
            _ = try changed.withUnsafeBytes { try preparer().prepare($0) }
            Issue.record("accepted")
        } catch let error as ShardPreparationError {
            #expect(error.line == 2 && error.what.contains("T2VPIEC1"))
        }
    }
}
