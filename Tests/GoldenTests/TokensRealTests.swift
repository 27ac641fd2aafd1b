import Foundation
import Testing

@testable import Core

/// Compares with the real spaCy, where it is installed and the shared data are there.
///
/// The virtual environments are looked for in .venvs beside Package.swift or in T2V_VENVS, the data in T2V_SHARED_DATA or ../shared/data.
/// By default the first 1,000 reviews are compared; T2V_ALL_REVIEWS=1 takes all 10,000 (a minute for each version).
@Suite struct TokensRealTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func place(_ variable: String, _ standard: String) -> URL {
        ProcessInfo.processInfo.environment[variable].map { URL(fileURLWithPath: $0) } ?? root.appendingPathComponent(standard)
    }

    @Test(arguments: [("2.1", "spacy-2.1.9"), ("2.3", "spacy-2.3.9"), ("3.8", "spacy-3.8")])
    func reviewsAreTheSame(version: String, environment: String) throws {
        let python = Self.place("T2V_VENVS", ".venvs").appendingPathComponent("\(environment)/bin/python")
        let data = Self.place("T2V_SHARED_DATA", "../shared/data")
        let folder = data.appendingPathComponent("en-vectors-20k-spacy\(version)")
        let texts = data.appendingPathComponent("imdb-reviews-10000.jsonl")
        for needed in [python, folder, texts] where !FileManager.default.fileExists(atPath: needed.path) {
            print("SKIPPED: comparison of reviews with \(environment): \(needed.path) is not there")
            return
        }
        let count = ProcessInfo.processInfo.environment["T2V_ALL_REVIEWS"] == nil ? 1_000 : 10_000
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-reviews-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: output) }
        let process = Process()
        process.executableURL = python
        let script = Self.root.appendingPathComponent("Tests/GoldenTests/reference/tokens_features.py").path
        process.arguments = ["-W", "ignore", "-B", script, folder.path, texts.path, output.path, "0", "\(count)"]
        process.environment = ProcessInfo.processInfo.environment.merging(["OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"]) { $1 }
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        let file = try MappedFile(texts.path)
        var end = 0
        for _ in 0..<count { end = (file.bytes[end...].firstIndex(of: 0x0a) ?? file.bytes.count - 1) + 1 }
        let report = try TokensComparison.compare(
            model: VectorsModel(folder: folder.path), texts: UnsafeRawBufferPointer(rebasing: file.bytes[..<end]),
            reference: Data(contentsOf: output, options: .alwaysMapped))
        print("reviews: \(report.tokens) tokens compared with \(environment), \(report.differingTokens) differ")
        #expect(report.documents == count)
        #expect(report.examples == [] && report.differingTokens == 0)
    }
}
