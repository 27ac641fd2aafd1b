// --init-tok2vec and --init-checkpoint: weights that fit are taken with their seeds, others are refused with the option that would fit.
import TestSupport
import Testing

@testable import Base
@testable import Formats
@testable import Model

@Suite("Initial weights")
struct InitialWeightsTests {
    static func settings(_ shape: Tok2VecShape) -> TrainingSettings {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.pieces, settings.rows) = (shape.width, shape.depth, shape.pieces, shape.rows)
        settings.useVectors = shape.useVectors
        settings.vectorWidth = shape.vectorWidth ?? 5
        return settings
    }

    static let shape = Tok2VecShape(width: 4, depth: 2, pieces: 3, rows: 6, vectorWidth: nil)

    /// All parameters, head included.
    static func parameters(_ shape: Tok2VecShape) -> [NamedTensor] {
        ParameterLayout(spec: .spacy2(settings(shape))).tensors.map {
            NamedTensor(name: $0.name, shape: $0.shape, values: [Float](repeating: 0.5, count: $0.count))
        }
    }

    func write(_ tensors: [NamedTensor], prefix: String = "", metadata: [String: String] = [:], to path: String) throws {
        try AtomicFile.write(to: path) { (sink) throws(InputError) in
            try Safetensors.write(tensors.map { Safetensors.Part($0, name: prefix + $0.name) }, metadata: metadata, to: &sink)
        }
    }

    @Test("a tok2vec file that fits comes with its seeds")
    func tok2vec() throws {
        let folder = try TemporaryFolder()
        let file = try sampleTok2Vec(Self.shape, seeds: [12, 13, 14, 15])
        try AtomicFile.write(file.encoded(), to: folder.path + "/model3.bin")
        let weights = try InitialWeights.tok2vec(path: folder.path + "/model3.bin", settings: Self.settings(Self.shape))
        #expect(weights.tensors == file.tensors && weights.seeds == file.seeds)
    }

    @Test(
        "a tok2vec of other settings is refused with the tensor, both shapes and the option",
        arguments: [
            (
                Tok2VecShape(width: 5, depth: 2, pieces: 3, rows: 6, vectorWidth: nil), "embed.norm.E has shape [6, 5], expected [6, 4]",
                "--width 5"
            ),
            (
                Tok2VecShape(width: 4, depth: 3, pieces: 3, rows: 6, vectorWidth: nil), "encode.2.W of shape [4, 3, 12] is extra",
                "--conv-depth 3"
            ),
            (
                Tok2VecShape(width: 4, depth: 1, pieces: 3, rows: 6, vectorWidth: nil), "encode.1.W of shape [4, 3, 12] is missing",
                "--conv-depth 1"
            ),
            (
                Tok2VecShape(width: 4, depth: 2, pieces: 2, rows: 6, vectorWidth: nil),
                "encode.0.W has shape [4, 2, 12], expected [4, 3, 12]", "--cnn-pieces 2"
            ),
            (
                Tok2VecShape(width: 4, depth: 2, pieces: 3, rows: 9, vectorWidth: nil), "embed.norm.E has shape [9, 4], expected [6, 4]",
                "--embed-rows 9"
            ),
            (
                Tok2VecShape(width: 4, depth: 2, pieces: 3, rows: 6, vectorWidth: 8), "mixer.W has shape [4, 3, 20], expected [4, 3, 16]",
                "--use-vectors"
            ),
        ])
    func misfit(shape: Tok2VecShape, what: String, option: String) throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write(try sampleTok2Vec(shape).encoded(), to: folder.path + "/model3.bin")
        let thrown = #expect(throws: InputError.self) {
            try InitialWeights.tok2vec(path: folder.path + "/model3.bin", settings: Self.settings(Self.shape))
        }
        let error = try #require(thrown)
        #expect(error.what.contains(what) && error.remedy == "the file fits with \(option)", "\(error)")
        #expect(error.place.hasSuffix("model3.bin"))
    }

    @Test("named parameters are accepted with and without prefix, with and without seeds")
    func checkpoint() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.safetensors"
        let tensors = Self.parameters(Self.shape)
        try write(tensors, to: path)
        let plain = try InitialWeights.checkpoint(path: path, settings: Self.settings(Self.shape))
        #expect(plain == InitialWeights(tensors: tensors, seeds: nil))
        let seeds = ["norm": "1", "prefix": "2", "suffix": "3", "shape": "4"].reduce(into: [:]) { $0["embed.\($1.key).seed"] = $1.value }
        try write(tensors, prefix: "parameters.", metadata: seeds, to: path)
        let prefixed = try InitialWeights.checkpoint(path: path, settings: Self.settings(Self.shape))
        #expect(prefixed == InitialWeights(tensors: tensors, seeds: [1, 2, 3, 4]))
    }

    @Test("of a checkpoint the parameters are taken, not the averages")
    func ownCheckpoint() throws {
        let folder = try TemporaryFolder()
        var checkpoint = Checkpoint(spec: .spacy2(TrainingSettings()))
        checkpoint.parameters = Self.parameters(Self.shape)
        checkpoint.averages = checkpoint.parameters.map {
            NamedTensor(name: $0.name, shape: $0.shape, values: $0.values.map { $0 + 1 })
        }
        checkpoint.tables = [NamedWords(name: "words", shape: [2], values: [1, 2])]
        let seeds: [UInt32] = [9, 8, 7, 6]
        checkpoint.spec = .spacy2(TrainingSettings(), seeds: seeds)
        let path = folder.path + "/checkpoint-0.safetensors"
        try checkpoint.write(to: path)
        let weights = try InitialWeights.checkpoint(path: path, settings: Self.settings(Self.shape))
        #expect(weights == InitialWeights(tensors: checkpoint.parameters, seeds: seeds))
    }

    @Test("a missing, extra, misshapen or non-finite tensor is named")
    func faults() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.safetensors"
        func error(_ tensors: [NamedTensor], prefix: String = "") throws -> String {
            try write(tensors, prefix: prefix, to: path)
            let thrown = #expect(throws: InputError.self) {
                try InitialWeights.checkpoint(path: path, settings: Self.settings(Self.shape))
            }
            return try #require(thrown).what
        }
        let tensors = Self.parameters(Self.shape)
        #expect(try error(tensors.filter { $0.name != "head.output.b" }) == "tensor head.output.b of shape [5] is missing")
        let extra = NamedTensor(name: "head.extra", shape: [1], values: [0])
        #expect(try error(tensors + [extra]).hasPrefix("tensor head.extra of shape [1] is extra"))
        #expect(try error(tensors + [extra], prefix: "parameters.").hasPrefix("tensor head.extra of shape [1] is extra"))
        var changed = tensors
        changed[0] = NamedTensor(name: tensors[0].name, shape: [4, 6], values: tensors[0].values)
        #expect(try error(changed) == "tensor embed.norm.E has shape [4, 6], expected [6, 4]")
        changed = tensors
        changed[3].values[1] = .nan
        #expect(try error(changed) == "tensor \(tensors[3].name) holds a value that is not finite")
        #expect(try error([]) == "tensor embed.norm.E of shape [6, 4] is missing")
    }
}
