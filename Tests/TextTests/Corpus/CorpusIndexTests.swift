import Foundation
import Testing

@testable import Base
@testable import Text

@Suite struct CorpusIndexTests {
    /// The index of a file with these bytes.
    private func index(_ bytes: [UInt8], lanes: Int = 1, limit: Int = CorpusIndex.maximumShardBytes) throws(InputError) -> CorpusIndex {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-corpus-\(UUID().uuidString).jsonl").path
        guard FileManager.default.createFile(atPath: path, contents: Data(bytes)) else {
            throw InputError("cannot write", at: path, remedy: "")
        }
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try CorpusIndex(path: path, lanes: lanes, maximumShardBytes: limit)
    }

    /// Shards follow each other without a gap, begin and end at lines, count them correctly and identify their text.
    private func check(_ index: CorpusIndex, _ bytes: [UInt8], limit: Int = .max) {
        var (offset, line) = (0, 0)
        for shard in index.shards {
            #expect(shard.offset == offset && shard.firstLine == line && shard.byteCount > 0 && shard.byteCount <= limit)
            let text = bytes[shard.offset..<shard.offset + shard.byteCount]
            let newlines = text.count { $0 == 0x0A }
            #expect(shard.lineCount == newlines + (text.last == 0x0A ? 0 : 1))
            #expect(shard.digest == SHA256.hash(Array(text)))
            offset += shard.byteCount
            line += shard.lineCount
            #expect(bytes[offset - 1] == 0x0A || offset == bytes.count)
        }
        #expect(offset == bytes.count)
    }

    @Test(arguments: ["a", "a\n", "\n", "\n\n\n", "a\nb", "a\r\nb\r\n", "{\"text\": \"é\"}\n{}\n\n", "\r", "a\nb\nc\nd\ne\nf\ng\nh\ni\n"])
    func tinyFiles(_ text: String) throws {
        let bytes = Array(text.utf8)
        check(try index(bytes), bytes)
        check(try index(bytes, lanes: 8), bytes)
    }

    // MARK: Several files, limits

    private func files(_ texts: [String], _ body: ([String]) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-corpus-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let paths = texts.indices.map { folder.appendingPathComponent("\($0).jsonl").path }
        for (path, text) in zip(paths, texts) { try AtomicFile.write(Array(text.utf8), to: path) }
        try body(paths)
    }

    @Test func severalFilesFollowEachOther() throws {
        try files(["a\nb\nc", "", "d\n", "\ne\n"]) { paths in
            let index = try CorpusIndex(paths: paths, lanes: 1)
            #expect(index.firstLines == [0, 3, 3, 4])
            #expect(index.shards.map(\.file) == index.shards.map(\.file).sorted())
            var line = 0
            for shard in index.shards {
                #expect(shard.firstLine == line)
                let file = try MappedFile(paths[shard.file])
                let text = Array(file.bytes[shard.offset..<shard.offset + shard.byteCount])
                #expect(shard.digest == SHA256.hash(text))
                line += shard.lineCount
            }
            #expect(line == 6)
            let last = ShardID(index.shards.count - 1)
            #expect(index.place(shard: last, line: index.shards[last].lineCount - 1) == (3, 2))
        }
    }

    @Test func aSingleFileHasTheDigestThatItHadAlone() throws {
        try files(["a\nb\nc\n"]) { paths in
            let (several, one) = (try CorpusIndex(paths: paths, lanes: 2), try CorpusIndex(path: paths[0], lanes: 2))
            #expect(several == one)
        }
    }

    @Test(arguments: [(1, 1), (2, 3), (3, 4), (4, 6), (5, 7), (9, 7)])
    func limitCountsRecordsThatAreNotBlank(limit: Int, lines: Int) throws {
        try files(["a\n\nb\nc\n", " \nd\ne"]) { paths in
            let index = try CorpusIndex(paths: paths, limit: limit, lanes: 1)
            #expect(index.shards.reduce(0) { $0 + $1.lineCount } == lines)
        }
    }

    @Test func blankLinesOfPlainTextAreThoseWithoutAnyCharacter() throws {
        try files(["\r\n \na\n"]) { paths in
            let plain = try CorpusIndex(paths: paths, format: .lines, limit: 1, lanes: 1)
            #expect(plain.shards.reduce(0) { $0 + $1.lineCount } == 2)
            let json = try CorpusIndex(paths: paths, format: .jsonl, limit: 1, lanes: 1)
            #expect(json.shards.reduce(0) { $0 + $1.lineCount } == 3)
        }
    }

    @Test func randomFilesAreCoveredExactly() throws {
        var random = Philox(seed: 5, purpose: .select)
        for round in 0..<60 as Range<UInt64> {
            random = Philox(seed: round, purpose: .select)
            var bytes: [UInt8] = []
            // Lines of 0 to 60 bytes; newlines also before, after and at the pieces' border of 1 MiB.
            let lines = round % 20 == 0 ? 60_000 : Int(random.integer(below: 300, 1))
            for line in 0..<lines {
                bytes += [UInt8](repeating: 0x61, count: Int(random.integer(below: 61, 2, UInt32(line))))
                if line % 9 == 0 { bytes.append(0x0D) }
                bytes.append(0x0A)
            }
            if round % 3 == 0 { bytes += Array("the end".utf8) }
            guard !bytes.isEmpty else { continue }
            let limit = round % 2 == 0 ? 16 << 20 : 70
            let index = try index(bytes, lanes: 1 + Int(round % 5), limit: limit)
            check(index, bytes, limit: limit)
        }
    }

    @Test func aSmallCorpusHasEightShardsALane() throws {
        for (lanes, lines) in [(1, 8), (4, 32), (4, 1_000), (8, 64), (3, 10_000)] {
            let bytes = Array(String(repeating: "{\"text\": \"abc\"}\n", count: lines).utf8)
            let index = try index(bytes, lanes: lanes)
            #expect(index.shards.count == 8 * lanes)
            check(index, bytes)
            let loads = index.lanes(lanes).map { $0.reduce(0) { $0 + index.shards[$1].byteCount } }
            #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= 2 * bytes.count / (8 * lanes))
        }
        // Fewer lines than that: one line each.
        let few = Array("a\nb\nc\n".utf8)
        #expect(try index(few, lanes: 4).shards.count == 3)
    }

    @Test func lanesShareTheShards() throws {
        var bytes: [UInt8] = []
        for line in 1...500 { bytes += [UInt8](repeating: 0x78, count: line * 37 % 101) + [0x0A] }
        let index = try index(bytes, lanes: 7)
        let lanes = index.lanes(7)
        #expect(Array(lanes.joined()).sorted() == Array(index.shards.indices))
        #expect(lanes == index.lanes(7) && lanes.allSatisfy { $0 == $0.sorted() })
        // More lanes than shards: some have none.
        #expect(try self.index(Array("a\nb\n".utf8), lanes: 4).lanes(4).filter(\.isEmpty).count == 2)
    }

    @Test func theDigestNamesTheTexts() throws {
        let digest = try index(Array("a\nb\n".utf8), lanes: 2).digest
        #expect(digest.count == 64)
        #expect(try digest == index(Array("a\nb\n".utf8), lanes: 2).digest)
        #expect(try digest != index(Array("a\nc\n".utf8), lanes: 2).digest)
    }

    @Test func aLineThatNoShardHoldsIsNamed() throws {
        let long = [UInt8](repeating: 0x61, count: 3 << 20)
        let bytes = Array("a\nb\n".utf8) + long + [0x0A] + Array("c\n".utf8)
        let error = #expect(throws: InputError.self) { try index(bytes, limit: 1 << 20) }
        #expect(error?.description.contains(":3: the line is longer than 1 MiB; one record a line") == true, "\(error?.description ?? "")")
        // A line at the limit is accepted, with its newline and without.
        let fits = [UInt8](repeating: 0x61, count: (1 << 20) - 1) + [0x0A] + [UInt8](repeating: 0x62, count: 1 << 20)
        check(try index(fits, limit: 1 << 20), fits, limit: 1 << 20)
        let over = [UInt8](repeating: 0x61, count: 1 << 20) + [0x0A]
        #expect(throws: InputError.self) { try index(over, limit: 1 << 20) }
    }

    @Test func whatIsNoCorpusIsRefused() throws {
        #expect(throws: InputError.self) { try index([]) }
        #expect(throws: InputError.self) { try CorpusIndex(path: "/nowhere/texts.jsonl", lanes: 1) }
        let error = #expect(throws: InputError.self) { try CorpusIndex(path: "/tmp", lanes: 1) }
        #expect(error?.description.contains("this is a folder") == true)
    }

    @Test func hexadecimal() { #expect([0, 1, 0xAB, 0xFF].hex == "0001abff") }
}
