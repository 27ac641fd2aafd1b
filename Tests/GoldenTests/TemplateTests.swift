// Weights files of spaCy 3 as templates to fill in. In: files that the real spaCy 3.8 wrote. Out: equal bytes, and files that it loads.
import Base
import Formats
import Foundation
import Numerics
import Testing

@Suite("Template files")
struct TemplateTests {
    static let kinds = ["multi", "vectors", "characters"]

    /// What spaCy says about one parameter.
    private struct Described: Decodable, Equatable {
        var node: Int
        var layer: String
        var parameter: String
        var shape: [Int]
        var digest: String
    }

    private func bytes(_ name: String) throws -> [UInt8] {
        let url = try #require(Bundle.module.url(forResource: "data/\(name)", withExtension: nil))
        return [UInt8](try Data(contentsOf: url))
    }

    private func file(_ kind: String) throws -> TemplateFile { try TemplateFile(bytes: bytes("template-\(kind).bin"), place: kind) }

    private func described(_ kind: String) throws -> [Described] {
        try JSONDecoder().decode([Described].self, from: Data(bytes("template-\(kind).json")))
    }

    private func described(_ file: TemplateFile) -> [Described] {
        file.places.map { place in
            let values = file.values(node: place.node, parameter: place.parameter) ?? []
            let digest = values.withUnsafeBytes { SHA256.hash([UInt8]($0)).hex }
            return Described(
                node: place.node, layer: file.nodes[place.node].name, parameter: place.parameter,
                shape: file.nodes[place.node].parameters[place.parameter]?.shape ?? [], digest: digest)
        }
    }

    /// A map with made-up names, complete.
    private func template(_ file: TemplateFile) throws -> WeightsTemplate {
        let entries = file.places.map { TemplateEntry(tensor: "t\($0.node).\($0.parameter)", node: $0.node, parameter: $0.parameter) }
        let tensors = entries.map { ($0.tensor, file.nodes[$0.node].parameters[$0.parameter]?.shape ?? []) }
        return try WeightsTemplate(file: file, entries: entries, tensors: tensors)
    }

    @Test("parameters are those that spaCy sees", arguments: kinds)
    func parameters(kind: String) throws {
        #expect(try described(file(kind)) == described(kind))
    }

    @Test("a file filled with its own values does not change", arguments: kinds)
    func unchanged(kind: String) throws {
        let template = try template(file(kind))
        #expect(try template.filled(with: template.tensors) == bytes("template-\(kind).bin"))
    }

    @Test(
        "the real spaCy loads other values",
        .enabled(if: ReferencePython.path("spacy-3.8") != nil, ReferencePython.absence("spacy-3.8")),
        arguments: kinds)
    func loads(kind: String) throws {
        let python = try #require(ReferencePython.path("spacy-3.8"))
        let template = try template(file(kind))
        var next: Float = 0
        let tensors = template.tensors.map { tensor in
            NamedTensor(
                name: tensor.name, shape: tensor.shape,
                values: tensor.values.map { _ in
                    next += 1; return next / 32
                })
        }
        let folder = try ExportFolder()
        let filled = try template.filled(with: tensors)
        try AtomicFile.write(filled, to: "\(folder.path)/model0.bin")
        let result = try ReferencePython.run(python, "template_files.py", ["--load", kind, "\(folder.path)/model0.bin"])
        #expect(result.status == 0, "\(result.output)")
        let arrived = try JSONDecoder().decode([Described].self, from: Data(result.output.utf8))
        #expect(arrived == described(try TemplateFile(bytes: filled, place: "filled")))
        #expect(arrived.map(\.digest) != (try described(kind).map(\.digest)))
    }

    @Test("a map that does not fit is refused with the tensor's name")
    func wrongMaps() throws {
        let file = try file("multi")
        let good = try template(file)
        let tensors = good.tensors.map { ($0.name, $0.shape) }
        func message(_ entries: [TemplateEntry], _ tensors: [(String, [Int])]) -> String {
            do {
                _ = try WeightsTemplate(file: file, entries: entries, tensors: tensors)
                return "accepted"
            } catch { return "\(error)" }
        }
        let entry = good.entries[0]
        var other = tensors
        other[0].1 = [1, 2]
        #expect(message(good.entries, other).contains("tensor \(entry.tensor) has shape"))
        #expect(message(Array(good.entries.dropFirst()), Array(tensors.dropFirst())).contains("belongs to no tensor"))
        #expect(message(Array(good.entries.dropFirst()), tensors).contains("belongs to tensor \(entry.tensor)"))
        #expect(message(good.entries + [entry], tensors).contains("there twice"))
        var lost = good.entries
        lost[0].node = 1000
        #expect(message(lost, tensors).contains("node 1000, which does not exist"))
        lost[0] = TemplateEntry(tensor: entry.tensor, node: lost[1].node, parameter: lost[1].parameter)
        #expect(message(lost, tensors).contains("tensors are to be parameter") || message(lost, tensors).contains("has shape"))
        #expect(throws: InputError.self) { try good.filled(with: Array(good.tensors.dropLast())) }
    }

    @Test("no truncation is accepted, and no changed byte traps")
    func foreign() throws {
        let whole = try bytes("template-vectors.bin")
        for length in 0..<whole.count {
            #expect(throws: InputError.self) { try TemplateFile(bytes: Array(whole[..<length]), place: "x") }
        }
        #expect(throws: InputError.self) { try TemplateFile(bytes: whole + [0], place: "x") }
        var accepted = 0
        for index in whole.indices {
            for change: UInt8 in [0x01, 0x80, 0xff] {
                var changed = whole
                changed[index] ^= change
                guard let file = try? TemplateFile(bytes: changed, place: "x") else { continue }
                accepted += 1
                let template = try template(file)
                #expect(try template.filled(with: template.tensors) == changed)
            }
        }
        // Most bytes are values of parameters.
        #expect(accepted > whole.count)
    }

    @Test(
        "inspect infers the settings",
        arguments: [
            (
                "multi",
                [
                    "  attrs = [\"NORM\", \"SHAPE\", \"SPACY\"]", "  rows = [30, 20, 10]", "  maxout_pieces = 3", "  width = 8",
                    "  depth = 2",
                ]
            ),
            ("vectors", ["  include_static_vectors = true", "  rows = [25]", "  maxout_pieces = 2", "  vectors     an input, width 5"]),
            (
                "characters",
                [
                    "  @architectures = \"spacy.CharacterEmbed.v2\"", "  nM = 4", "  nC = 3", "  rows = 15", "  feature = \"LOWER\"",
                    "  @architectures = \"spacy.MishWindowEncoder.v2\"",
                ]
            ),
        ])
    func inspected(kind: String, lines: [String]) throws {
        let folder = try ExportFolder()
        let path = "\(folder.path)/model0.bin"
        try AtomicFile.write(bytes("template-\(kind).bin"), to: path)
        let text = try inspect(path: path)
        for line in lines + ["  init_tok2vec = \"\(path)\""] {
            #expect(text.components(separatedBy: "\n").contains(line), "\(line) in\n\(text)")
        }
    }
}
