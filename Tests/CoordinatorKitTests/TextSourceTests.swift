// Texts as users give them: plain, compressed, truncated.
import Base
import CZlib
import Foundation
import TestSupport
import Testing

@testable import CoordinatorKit

@Suite("Text source")
struct TextSourceTests {
    static let lines = String(repeating: "{\"text\": \"One sentence.\"}\n", count: 500)

    /// The bytes of a .gz file of `lines`.
    private func compressed(_ folder: TemporaryFolder) throws -> [UInt8] {
        let path = "\(folder.path)/whole.gz"
        let file = try #require(gzopen(path, "wb"))
        #expect(gzwrite(file, Self.lines, UInt32(Self.lines.utf8.count)) == Int32(Self.lines.utf8.count))
        #expect(gzclose(file) == Z_OK)
        return try folder.bytes("whole.gz")
    }

    @Test func takesPlainTextsWhereTheyLie() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("texts.jsonl", Self.lines)
        #expect(try TextSource.withPlainFile(path) { $0 } == path)
    }

    @Test func unpacksAndCleansUp() throws {
        let folder = try TemporaryFolder()
        _ = try compressed(folder)
        let (text, path) = try TextSource.withPlainFile("\(folder.path)/whole.gz") { path in
            (String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self), path)
        }
        #expect(text == Self.lines)
        #expect(!FileManager.default.fileExists(atPath: path), "nothing of it stays")
    }

    @Test func refusesATruncatedFile() throws {
        let folder = try TemporaryFolder()
        let bytes = try compressed(folder)
        let path = "\(folder.path)/cut.gz"
        try Data(bytes[..<(bytes.count / 2)]).write(to: URL(filePath: path))
        let error = #expect(throws: InputError.self) { try TextSource.withPlainFile(path) { $0 } }
        #expect(error?.place == path)
    }
}
