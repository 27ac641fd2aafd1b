// Model, objectives and optimizer against the real spaCy 3.8. In: the dump of reference/model3_reference.py. Out: the largest difference of
// each tensor, as a share of its largest value.
import Foundation
import Testing

@testable import Base
@testable import Model
@testable import Numerics
@testable import Shards

@Suite struct Model3GoldenTests {
    static let cases = [
        "cnn-cosine", "cnn-L2", "cnn-characters", "multi-vectors-cosine", "multi-vectors-L2", "multi-vectors-characters", "floret-cosine",
        "floret-L2", "floret-characters", "dropout-cosine", "dropout-L2", "dropout-characters", "cnn-vectors-cosine", "two-characters",
        "six-cosine", "deep-characters", "chars-cosine", "chars-dropout-L2", "mish-characters", "mish-dropout-cosine", "clip-in-gradient",
        "no-decay-no-clip", "wide-96-characters", "wide-256-cosine",
    ]

    private static let loaded = Result {
        let path = try #require(Bundle.module.path(forResource: "model-3.8.safetensors", ofType: "gz", inDirectory: "data"))
        return try Safetensors(data: try TokensGoldenTests.gunzip(path), path: path)
    }

    @Test func everyCaseOfTheDumpIsTested() throws {
        #expect(Set(try Self.loaded.get().metadata.keys) == Set(Self.cases))
    }

    /// Token vectors 2e-5, gradients 5e-5, parameters and averages after five updates 2e-5.
    @Test(arguments: cases) func equalsSpacy(_ title: String) throws {
        let dump = try Self.loaded.get()
        let spec = try ModelSpec(json: Data(try #require(dump.metadata[title]).utf8), place: title)
        let table = try dump.array("\(title)/table", Int32.self).map(Int.init)
        let vectors = GoldenVectors(rows: table[0], width: table[1])
        let layout = ParameterLayout(spec: spec)
        let state = OptimizerState(count: layout.count)
        try layout.load(Self.parameters(layout, salt: Int(try dump.array("\(title)/salt", Int32.self)[0])), into: state.parameters)
        let engine = GradientEngine(spec: spec, layout: layout, vectors: vectors, wordsPerLane: 1000)
        let schema = spec.schema
        let noWord = WordFeatures(
            ids: schema.columns.map { _ in 0 }, bytes: [UInt8](repeating: 255, count: schema.byteCount))
        let builder = MicroBatchBuilder(
            spec: spec, seed: 0, randomWords: RandomWordTable(words: [], counts: []), maskWord: noWord, vectorRows: table[0])
        let optimizer = AdamOptimizer(layout: layout, settings: spec.optimizer)
        let batch = MicroBatch()
        var gradient = [Float](repeating: 0, count: layout.count)
        for update in 0..<5 where dump.entries["\(title)/\(update)/lengths"] != nil {
            let documents = try Documents(dump, "\(title)/\(update)/", schema: schema)
            builder.build(documents.views, epoch: 0, update: UInt64(update), into: batch) { documents.replacements[$0][$1] }
            try gradient.withUnsafeMutableBufferPointer { buffer in
                let start = try #require(buffer.baseAddress)
                _ = engine.gradient(of: batch, parameters: state.parameters, into: start)
                if update == 0 {
                    try expectVectors(title, dump, documents, engine, spec)
                    for tensor in layout.export(start) {
                        let scaled = tensor.values.map { $0 / Float(batch.wordCount) }
                        try expect(scaled, dump, "\(title)/gradient/\(tensor.name)", 5e-5)
                    }
                }
                optimizer.step(gradient: start, words: UInt64(batch.wordCount), state: state)
            }
        }
        for (name, buffer) in [("after", state.parameters), ("averages", state.averages)] {
            for tensor in layout.export(buffer) { try expect(tensor.values, dump, "\(title)/\(name)/\(tensor.name)", 2e-5) }
        }
    }

    /// Rows of the last level are those of the tokens that give a loss.
    private func expectVectors(
        _ title: String, _ dump: Safetensors, _ documents: Documents, _ engine: GradientEngine, _ spec: ModelSpec
    ) throws {
        guard dump.entries["\(title)/vectors"] != nil else { return }
        let all = try dump.array("\(title)/vectors", Float.self)
        let encoder = try #require(engine.encoder as? WindowEncoder)
        var (found, wanted): ([Float], [Float]) = ([], [])
        var skipsMissing = false
        if case .vectors(let objective) = spec.objective, objective.loss == .cosine { skipsMissing = true }
        for token in documents.selected.indices where documents.selected[token] && !(skipsMissing && documents.hasNoVector[token]) {
            let row = encoder.hidden[spec.depth] + found.count
            found += UnsafeBufferPointer(start: row, count: spec.width)
            wanted += all[token * spec.width..<(token + 1) * spec.width]
        }
        #expect(!found.isEmpty)
        expect(found, wanted, "\(title)/vectors", 2e-5)
    }

    private func expect(_ values: [Float], _ dump: Safetensors, _ name: String, _ limit: Double) throws {
        let entry = try #require(dump.entries[name], "\(name)")
        if entry.shape == [33], values.count > 33 { return expect(values, sketch: try dump.array(name, Double.self), name, limit) }
        expect(values, try dump.array(name, Float.self), name, limit)
    }

    private func expect(_ values: [Float], _ wanted: [Float], _ name: String, _ limit: Double) {
        #expect(values.count == wanted.count, "\(name)")
        let largest = wanted.reduce(Float(1e-6)) { max($0, abs($1)) }
        let difference = zip(values, wanted).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        let error = Double(difference / largest)
        #expect(error < limit, "\(name): \(error)")
        GoldenErrors.shared.note(name, error)
    }

    /// A large tensor is stored as [norm, 32 sums of +-x]: from the sums the distance is estimated without bias.
    private func expect(_ values: [Float], sketch: [Double], _ name: String, _ limit: Double) {
        var sums = [Double](repeating: 0, count: 32)
        for (index, value) in values.enumerated() {
            let (signs, value) = (Philox.mix(UInt64(index + 1)), Double(value))
            for k in 0..<32 { sums[k] += signs >> UInt64(k) & 1 == 1 ? value : -value }
        }
        let squares = zip(sums, sketch.dropFirst()).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let error = (squares / 32).squareRoot() / sketch[0]
        #expect(error < limit, "\(name): \(error)")
        GoldenErrors.shared.note(name, error)
    }

    /// As in the reference script: by name, in the order of the names.
    private static func parameters(_ layout: ParameterLayout, salt: Int) -> [NamedTensor] {
        layout.tensors.sorted { $0.name < $1.name }.enumerated().map { number, tensor in
            let kind = tensor.name.split(separator: ".").last ?? ""
            let bound: Double
            switch kind {
            case "G": bound = 0.3
            case "b": bound = 0.2
            case "E": bound = 0.1
            default: bound = (6 / Double(tensor.shape[0] + tensor.shape[tensor.shape.count - 1])).squareRoot()
            }
            let values = GoldenCorpus.uniform(stream: UInt64(64 * salt + number), count: tensor.count, bound: bound)
            return NamedTensor(name: tensor.name, shape: tensor.shape, values: kind == "G" ? values.map { 1 + $0 } : values)
        }
    }

    /// The documents of one update, and the injected selection.
    struct Documents {
        let views: [DocumentView]
        let replacements: [[Replacement?]]
        let selected: [Bool]
        let hasNoVector: [Bool]

        init(_ dump: Safetensors, _ at: String, schema: FeatureSchema) throws {
            let original = try Self.words(dump, at + "original", schema)
            let masked = try Self.words(dump, at + "masked", schema)
            let lengths = try dump.array(at + "lengths", Int32.self).map(Int.init)
            let spaces = try dump.array(at + "spaces", UInt8.self)
            selected = try dump.array(at + "selected", UInt8.self).map { $0 == 1 }
            hasNoVector = original.map(\.rows.isEmpty)
            var builder = PreparedShardBuilder(schema: schema)
            var replacements: [[Replacement?]] = []
            var token = 0
            for (line, length) in lengths.enumerated() {
                var words: [UInt32] = []
                var choices: [Replacement?] = []
                for _ in 0..<length {
                    words.append(builder.add(word: original[token]) | (spaces[token] == 1 ? PreparedShard.spaceBit : 0))
                    choices.append(selected[token] ? .word(Int(builder.add(word: masked[token]))) : nil)
                    token += 1
                }
                builder.add(line: line, words: words)
                replacements.append(choices)
            }
            self.replacements = replacements
            let bytes = GoldenBytes(builder.finish())
            let shard = try PreparedShard(bytes: bytes.buffer, owner: bytes, schema: schema, place: "golden")
            views = lengths.indices.map { DocumentView(key: UInt64($0), shard: shard, index: $0) }
        }

        private static func words(_ dump: Safetensors, _ name: String, _ schema: FeatureSchema) throws -> [WordFeatures] {
            let ids = try dump.array(name + ".ids", UInt64.self)
            let rows = try dump.array(name + ".rows", Int32.self).map { UInt32($0) }
            let counts = try dump.array(name + ".counts", Int32.self).map(Int.init)
            let bytes = try dump.array(name + ".bytes", UInt8.self)
            let (columns, byteCount) = (schema.columns.count, schema.byteCount)
            var start = 0
            return counts.indices.map { token in
                defer { start += counts[token] }
                return WordFeatures(
                    ids: Array(ids[token * columns..<(token + 1) * columns]), rows: Array(rows[start..<start + counts[token]]),
                    bytes: Array(bytes[token * byteCount..<(token + 1) * byteCount]))
            }
        }
    }
}
