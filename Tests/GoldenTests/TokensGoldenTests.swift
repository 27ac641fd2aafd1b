import CZlib
import Foundation
import Testing

@testable import Base
@testable import Text

/// Compares with what real spaCy versions made of hard texts (reference/tokens_golden.py).
@Suite struct TokensGoldenTests {
    private static let data = Bundle.module.bundleURL.appendingPathComponent("data")

    static let cases = ((try? FileManager.default.contentsOfDirectory(atPath: data.path)) ?? [])
        .filter { $0.hasPrefix("tokens_") && !$0.contains(".") || $0.hasPrefix("tokens_2.") || $0.hasPrefix("tokens_3.") }.sorted()

    @Test func allGoldenFilesAreThere() {
        #expect(
            Self.cases == [
                "tokens_2.1_en", "tokens_2.3_en", "tokens_2.3_fr", "tokens_2.3_hi", "tokens_2.3_hu", "tokens_3.8_en", "tokens_3.8_fr",
                "tokens_3.8_ht",
                "tokens_3.8_hu",
            ])
    }

    @Test(arguments: cases) func hardTextsAreTheSame(name: String) throws {
        let folder = try Self.unpack(name)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let model = try VectorsModel(folder: folder)
        let texts = try MappedFile(Self.data.appendingPathComponent("tokens_texts.jsonl").path)
        let golden = try Self.gunzip(Self.data.appendingPathComponent("\(name)/golden.txt.gz").path)
        let report = try TokensComparison.compare(model: model, texts: texts.bytes, reference: golden)
        #expect(report.documents > 180 && report.tokens > 4000)
        #expect(report.examples == [], "\(report.differingTokens) of \(report.tokens) tokens differ")
    }

    /// The comparison itself must notice a change of one token or attribute.
    @Test func theComparisonSeesADifference() throws {
        let name = "tokens_2.3_en"
        let folder = try Self.unpack(name)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let model = try VectorsModel(folder: folder)
        let texts = try MappedFile(Self.data.appendingPathComponent("tokens_texts.jsonl").path)
        let golden = String(decoding: try Self.gunzip(Self.data.appendingPathComponent("\(name)/golden.txt.gz").path), as: UTF8.self)
        for (from, to) in [
            ("\"norm\":[\"see\"", "\"norm\":[\"sea\""), ("{\"tokens\":[\"See\",", "{\"tokens\":[\"S\",\"ee\","), ("\t", "\t1"),
        ] {
            let changed = Data(golden.replacing(from, with: to, maxReplacements: 1).utf8)
            #expect(try TokensComparison.compare(model: model, texts: texts.bytes, reference: changed).differingTokens > 0)
        }
    }

    private static func unpack(_ name: String) throws -> String {
        let source = data.appendingPathComponent(name)
        let target = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-golden-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: target.appendingPathComponent("vocab"), withIntermediateDirectories: true)
        for file in ModelFiles.names + ["vocab/vectors"] where FileManager.default.fileExists(atPath: source.path + "/\(file).gz") {
            try gunzip(source.path + "/\(file).gz").write(to: target.appendingPathComponent(file))
        }
        return target.path
    }

    static func gunzip(_ path: String) throws -> Data {
        let file = try #require(gzopen(path, "rb"), "\(path)")
        defer { gzclose(file) }
        var result = Data()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = gzread(file, &buffer, UInt32(buffer.count))
            try #require(count >= 0, "\(path) is damaged")
            if count == 0 { return result }
            result += buffer[..<Int(count)]
        }
    }
}
