// Files that are given as texts by mistake: each kind is named, and no text is refused.
import Base
import Foundation
import Testing

@testable import Text

@Suite struct TextKindTests {
    private func fault(_ bytes: [UInt8], name: String = "raw.jsonl", format: CorpusIndex.Format = .jsonl) -> String? {
        bytes.withUnsafeBytes { TextKind.fault($0, name: name, format: format) }?.description
    }

    private static let record = "{\"text\": \"One two.\"}\n"

    /// The bytes of a text in UTF-16.
    private static func wide(_ text: String, _ encoding: String.Encoding) -> [UInt8] { Array(text.data(using: encoding) ?? Data()) }

    @Test(
        arguments: [
            ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00], "xz data", "`xz -dc raw.jsonl > raw.jsonl`"),
            (Array("BZh91AY&SY".utf8), "bzip2 data", "`bzip2 -dc "), ([0x28, 0xB5, 0x2F, 0xFD, 0x04], "Zstandard", "`zstd -dc "),
            ([0x1F, 0x8B, 0x08, 0x00], "does not end in .gz", "`gzip -dc "), ([0x50, 0x4B, 0x03, 0x04], "zip archive", "`unzip -p "),
            (Array("PAR1".utf8), "Parquet", "one a line"), ([0x78, 0x9C, 0x01], "DocBin", "one a line"),
            (wide(record, .utf16), "UTF-16, not UTF-8", "`iconv -f UTF-16 "), (wide(record, .utf16LittleEndian), "UTF-16LE", "`iconv "),
            (wide(record, .utf16BigEndian), "UTF-16BE", "`iconv "),
            ([0xEF, 0xBB, 0xBF] + Array(record.utf8), "byte order mark", "`tail -c +4 "),
            ([0x7F, 0x45, 0x4C, 0x46, 0x02, 0x00], "binary file", "UTF-8"),
            (Array("[\n {\"text\": \"a\"}\n]\n".utf8), "JSON array", "`jq -c '.[]' "),
            (Array(" [\"a\", \"b\"]".utf8), "JSON array", "'.[] | {text: .}' "),
            (Array("{\n  \"text\": \"a\"\n}\n".utf8), "several lines", "`jq -c . "),
            (Array("One two.\nThree.\n".utf8), "plain text", "PlainTextCorpus"),
        ] as [([UInt8], String, String)]) func namesTheKind(bytes: [UInt8], what: String, remedy: String) throws
    {
        let said = try #require(fault(bytes))
        #expect(said.hasPrefix("raw.jsonl: ") && said.contains(what) && said.contains(remedy), "\(said)")
        #expect(fault(bytes, name: "-")?.hasPrefix("standard input: ") == true)
        #expect(fault(bytes, format: .pieces(columns: 1)) == nil)
    }

    @Test(arguments: ["", record, "\n \n\(record)", "{\"text\": \"x", "not JSON\n\(record)", "\"x\"\n", "12\n"])
    func whatIsJudgedLineByLinePasses(_ text: String) { #expect(fault(Array(text.utf8)) == nil) }

    @Test(arguments: ["One two.\n", "[1] A note.\n", "{}\n", "PA"])
    func plainTextMayBeAnything(_ text: String) { #expect(fault(Array(text.utf8), format: .lines) == nil) }

    @Test func looksAtAFilesBeginning() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-kind-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try AtomicFile.write(Array(Self.record.utf8), to: path)
        try TextKind.check(path, name: path, format: .jsonl)
        try AtomicFile.write(Array("Plain.\n".utf8), to: path)
        #expect(throws: InputError.self) { try TextKind.check(path, name: path, format: .jsonl) }
        let error = #expect(throws: InputError.self) { try TextKind.check("/tmp", name: "/tmp", format: .jsonl) }
        #expect(error?.what == "this is a folder")
    }
}
