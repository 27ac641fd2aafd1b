// Tokens, spaces, columns and vector rows of jobs against the real spaCy 3.8. In: the repository's texts. Out: equal lines.
import Base
import Foundation
import Run
import Testing
import Text

@Suite("Columns of jobs", .serialized) struct JobColumnsTests {
    /// Every attribute of words that t2v computes.
    static let attributes = WordAttribute.allCases.filter { $0 != .orth }.map(\.rawValue)

    @Test(
        "every column of every token is spaCy's",
        .enabled(if: ReferencePython.path("spacy-3.8") != nil, ReferencePython.absence("spacy-3.8")),
        arguments: ["en", "fr", "de", "fi", "he", "tl", "uk", "en+vectors", "fr+floret", "de+lookups", "en+lookups"])
    func columns(kind: String) throws {
        let python = try #require(ReferencePython.path("spacy-3.8"))
        if kind.hasSuffix("+lookups"), !Self.hasLookups(python) {
            print("SKIPPED: no package spacy-lookups-data beside the real spaCy: \(kind)")
            return
        }
        let folder = try ExportFolder()
        let (job, output) = ("\(folder.path)/job", "\(folder.path)/lines")
        let texts = ReferencePython.root.appending(path: "Tests/GoldenTests/data/tokens_texts.jsonl").path
        try FileManager.default.createDirectory(atPath: job, withIntermediateDirectories: true)
        let result = try ReferencePython.run(python, "job_columns.py", [kind, job, texts, output] + Self.attributes)
        #expect(result.status == 0, "\(result.output)")
        let loaded = try CompiledJob(folder: job, isWhole: false)
        let printer = JobFeaturesPrinter(model: try VectorsModel(loaded.textFiles, text: loaded.text), text: loaded.text)
        let file = try MappedFile(texts)
        let found = try withExtendedLifetime(file) { String(decoding: try printer.lines(file.bytes), as: UTF8.self).split(separator: "\n") }
        let expected = try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n")
        #expect(expected.count > 100 && found.count == expected.count)
        let different = zip(found, expected).filter { $0 != $1 }
        #expect(different.isEmpty, "\(different.count) lines differ; the first: \(different.first.map(Self.difference) ?? "")")
    }

    private static func hasLookups(_ python: String) -> Bool {
        let process = Process()
        process.executableURL = URL(filePath: python)
        process.arguments = ["-c", "import spacy_lookups_data"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    /// The place where two lines diverge.
    private static func difference(_ found: Substring, _ expected: Substring) -> String {
        let common = zip(found, expected).prefix { $0 == $1 }.count
        let start = max(0, common - 200)
        return "...\(found.dropFirst(start).prefix(260))... instead of ...\(expected.dropFirst(start).prefix(260))..."
    }
}
