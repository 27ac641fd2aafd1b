// Pieces, prepared by Python. In: bytes, whole, truncated and changed. Out: documents, or an error; shards at the pieces' borders.
import Foundation
import Testing

@testable import Base
@testable import Text

/// Writes pieces as the Python front end does.
struct PieceWriter {
    var firstDocument: UInt64 = 0
    /// Documents as indices of words, with the space bit.
    var documents: [[UInt32]] = []
    var words: [(text: String, ids: [UInt64])] = []

    func bytes() -> [UInt8] {
        var out: [UInt8] = []
        func put<T: FixedWidthInteger>(_ values: [T]) {
            for value in values { withUnsafeBytes(of: value.littleEndian) { out += $0 } }
            while out.count % 8 != 0 { out.append(0) }
        }
        let texts = words.map { Array($0.text.utf8) }
        let columns = words.first?.ids.count ?? 0
        put(documents.map { UInt32($0.count) })
        put((0..<columns).flatMap { column in words.map { $0.ids[column] } })
        put(texts.reduce(into: [UInt32(0)]) { $0.append(($0.last ?? 0) + UInt32($1.count)) })
        put(texts.flatMap { $0 })
        put(documents.flatMap { $0 })
        let body = out
        out = []
        let header = [
            0x3143_4549_5056_3254, 64 + body.count, documents.count, documents.reduce(0) { $0 + $1.count }, words.count, columns,
            Int(firstDocument), texts.reduce(0) { $0 + $1.count },
        ]
        put(header.map { UInt64($0) })
        return out + body
    }

    static let sample = PieceWriter(
        firstDocument: 7, documents: [[0 | Piece.spaceBit, 1, 0], [2]], words: [("a", [1, .max]), ("né", [2, 5]), (" ", [3, 0])])
}

@Suite("Pieces") struct PieceTests {
    private func message(_ bytes: [UInt8], columns: Int = 2) -> String {
        bytes.withUnsafeBytes {
            do {
                _ = try Piece($0, columns: columns, place: "x")
                return "accepted"
            } catch { return "\(error)" }
        }
    }

    @Test("what is written can be read")
    func sample() throws {
        let bytes = PieceWriter.sample.bytes()
        try bytes.withUnsafeBytes {
            let piece = try Piece($0, columns: 2, place: "x")
            #expect(piece.documentCount == 2 && piece.tokenCount == 4 && piece.wordCount == 3 && piece.firstDocument == 7)
            #expect(piece.byteCount == bytes.count)
            #expect((0..<2).map(piece.length) == [3, 1])
            #expect((0..<4).map(piece.token) == [1 << 31, 1, 0, 2])
            #expect((0..<3).map { String(decoding: piece.text($0), as: UTF8.self) } == ["a", "né", " "])
            #expect((0..<3).map { piece.id(column: 1, word: $0) } == [.max, 5, 0])
        }
    }

    @Test("every field is checked")
    func damaged() {
        let sample = PieceWriter.sample
        #expect(message(sample.bytes(), columns: 3).contains("2 columns, the job has 3"))
        var piece = sample
        piece.documents[1] = []
        #expect(message(piece.bytes()).contains("document 1 has no tokens"))
        piece = sample
        piece.documents[1] = [3]
        #expect(message(piece.bytes()).contains("token 3 is word 3 of 3"))
        piece = sample
        piece.words[2].text = ""
        #expect(message(piece.bytes()).contains("word 2 has no text"))
        var bytes = sample.bytes()
        bytes[64] += 1
        #expect(message(bytes).contains("have 5 tokens, its header says 4"))
        bytes = sample.bytes()
        bytes[bytes.count - 16 - 8 + 1] = 0xff
        #expect(message(bytes).contains("not UTF-8"))
    }

    @Test("no truncation is accepted and no changed byte causes a trap")
    func foreign() {
        let whole = PieceWriter.sample.bytes()
        for length in 0..<whole.count { #expect(message(Array(whole[..<length])) != "accepted") }
        var refused = 0
        for index in whole.indices {
            for change in UInt8(1)...255 {
                var changed = whole
                changed[index] ^= change
                if message(changed) != "accepted" { refused += 1 }
            }
        }
        #expect(refused > 64 * 200)
    }

    // MARK: Shards

    private func file(_ bytes: [UInt8]) throws -> String {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-pieces-\(UUID().uuidString)").path
        try AtomicFile.write(bytes, to: path)
        return path
    }

    @Test("shards are cut at the pieces' borders and numbered by documents")
    func shards() throws {
        var (whole, borders, first) = ([UInt8](), Set([0]), UInt64(3))
        for number in 0..<50 {
            var piece = PieceWriter.sample
            piece.firstDocument = first
            piece.documents = [[UInt32]](repeating: [0, 1], count: 1 + number % 7)
            whole += piece.bytes()
            borders.insert(whole.count)
            first += UInt64(1 + number % 7) + (number % 5 == 0 ? 2 : 0)
        }
        let path = try file(whole)
        defer { try? FileManager.default.removeItem(atPath: path) }
        for (lanes, limit) in [(1, 1 << 20), (3, 1 << 20), (1, 400), (100, 1 << 20)] {
            let index = try CorpusIndex(paths: [path], format: .pieces(columns: 2), lanes: lanes, maximumShardBytes: limit)
            var offset = 0
            for shard in index.shards {
                #expect(shard.offset == offset && borders.contains(offset + shard.byteCount) && shard.byteCount <= limit)
                offset += shard.byteCount
            }
            #expect(offset == whole.count)
            #expect(index.shards.count >= min(50, 8 * lanes) / 2)
            #expect(index.shards[0].firstLine == 3)
            for (shard, next) in zip(index.shards, index.shards.dropFirst()) {
                #expect(shard.firstLine + shard.lineCount <= next.firstLine)
            }
        }
    }

    @Test("files that are not pieces, and truncated, too long or misordered pieces are refused")
    func wrongFiles() throws {
        func message(_ bytes: [UInt8], columns: Int = 2, limit: Int = 1 << 20) throws -> String {
            let path = try file(bytes)
            defer { try? FileManager.default.removeItem(atPath: path) }
            do {
                _ = try CorpusIndex(paths: [path], format: .pieces(columns: columns), lanes: 1, maximumShardBytes: limit)
                return "accepted"
            } catch { return "\(error)" }
        }
        let piece = PieceWriter.sample.bytes()
        var later = PieceWriter.sample
        later.firstDocument = 9
        #expect(try message(piece + later.bytes()) == "accepted")
        #expect(
            try message(piece + piece).contains("byte \(piece.count): damaged piece of prepared texts: its first document is 7, expected 9")
        )
        #expect(try message(piece, columns: 4).contains("2 columns"))
        #expect(try message(piece, limit: 100).contains("a piece at most 100"))
        #expect(try message(Array("{\"text\": \"a\"}".utf8)).contains("middle of a header"))
        #expect(try message([UInt8](repeating: 0x41, count: 100)).contains("begins with"))
        #expect(try message([]).contains("empty"))
        for length in 1..<piece.count { #expect(try message(Array(piece[..<length])) != "accepted") }
    }
}
