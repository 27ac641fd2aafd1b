import Foundation
import Testing

@testable import Base
@testable import Text

/// Compares with the real spaCy, if it is installed and the shared data exist.
///
/// The virtual environments are looked for in .venvs beside Package.swift or in T2V_VENVS, the data in T2V_SHARED_DATA or ../shared/data.
@Suite(.serialized) struct TokensRealTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    private static let environment = ProcessInfo.processInfo.environment

    private static func place(_ variable: String, _ standard: String) -> URL {
        environment[variable].map { URL(fileURLWithPath: $0) } ?? root.appendingPathComponent(standard)
    }

    private static func python(_ spacy: String) -> URL { place("T2V_VENVS", ".venvs").appendingPathComponent("\(spacy)/bin/python") }

    /// Whether all of `files` exist; if not, a line says what is missing.
    private static func areThere(_ files: [URL], for what: String) -> Bool {
        guard let missing = files.first(where: { !FileManager.default.fileExists(atPath: $0.path) }) else { return true }
        print("SKIPPED: \(what): \(missing.path) is not there")
        return false
    }

    private static func run(_ python: URL, _ script: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = python
        process.arguments = ["-W", "ignore", "-B", root.appendingPathComponent("Tests/GoldenTests/reference/\(script)").path] + arguments
        process.environment = environment.merging(["OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"]) { $1 }
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(script) failed")
    }

    private static func temporaryFolder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-tokens-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }

    /// By default the first 1,000 reviews; T2V_ALL_REVIEWS=1 takes all 10,000 (a minute for each version).
    @Test(arguments: [("2.1", "spacy-2.1.9"), ("2.3", "spacy-2.3.9"), ("3.8", "spacy-3.8")])
    func reviewsAreTheSame(version: String, spacy: String) throws {
        let data = Self.place("T2V_SHARED_DATA", "../shared/data")
        let folder = data.appendingPathComponent("en-vectors-20k-spacy\(version)")
        let texts = data.appendingPathComponent("imdb-reviews-10000.jsonl")
        guard Self.areThere([Self.python(spacy), folder, texts], for: "comparison of reviews with \(spacy)") else { return }
        let count = Self.environment["T2V_ALL_REVIEWS"] == nil ? 1_000 : 10_000
        let scratch = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: scratch) }
        let output = scratch.appendingPathComponent("output")
        try Self.run(Self.python(spacy), "tokens_features.py", [folder.path, texts.path, output.path, "0", "\(count)"])
        let file = try MappedFile(texts.path)
        var end = 0
        for _ in 0..<count { end = (file.bytes[end...].firstIndex(of: 0x0a) ?? file.bytes.count - 1) + 1 }
        let report = try TokensComparison.compare(
            model: VectorsModel(folder: folder.path), texts: UnsafeRawBufferPointer(rebasing: file.bytes[..<end]),
            reference: Data(contentsOf: output, options: .alwaysMapped))
        print("reviews: \(report.tokens) tokens compared with \(spacy), \(report.differingTokens) differ")
        #expect(report.documents == count)
        #expect(report.examples == [] && report.differingTokens == 0)
    }

    /// T2V_FUZZ gives the number of texts for each (300), T2V_SEED the seed (1).
    @Test(arguments: ["spacy-2.1.9", "spacy-2.3.9", "spacy-3.8"], ["en", "fr"])
    func randomTextsAreTheSame(spacy: String, language: String) throws {
        let python = Self.python(spacy)
        guard Self.areThere([python], for: "random texts in \(language) with \(spacy)") else { return }
        let (count, seed) = (Self.environment["T2V_FUZZ"] ?? "300", Self.environment["T2V_SEED"] ?? "1")
        let scratch = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: scratch) }
        func path(_ name: String) -> String { scratch.appendingPathComponent(name).path }
        try Self.run(python, "tokens_models.py", [language, path("model")])
        try Self.run(python, "tokens_fuzz.py", [path("model"), count, seed, path("texts")])
        try Self.run(python, "tokens_features.py", [path("model"), path("texts"), path("output")])
        let texts = try MappedFile(path("texts"))
        let report = try TokensComparison.compare(
            model: VectorsModel(folder: path("model")), texts: texts.bytes,
            reference: Data(contentsOf: URL(fileURLWithPath: path("output"))))
        print("random texts: \(report.tokens) tokens compared with \(spacy) \(language), \(report.differingTokens) differ")
        #expect("\(report.documents)" == count)
        #expect(report.examples == [], "again: T2V_FUZZ=\(count) T2V_SEED=\(seed) swift test --filter TokensRealTests")
    }
}
