// Model, objective and optimizer against the real spaCy. In: dumps of reference/model_reference.py. Out: relative L2 error per tensor.
import Foundation
import Testing

@testable import Base
@testable import Model
@testable import Numerics

@Suite struct ModelGoldenTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var version: String
        var useVectors: Bool
        var masked: Bool
        var loss: LossFunction
        var width: Int
        var depth: Int
        var pieces: Int

        var prefix: String {
            "uv\(useVectors ? 1 : 0)-masked\(masked ? 1 : 0)-\(loss.rawValue)-w\(width)-d\(depth)-p\(pieces)/"
        }
        var documents: String { "documents/uv\(useVectors ? 1 : 0)-masked\(masked ? 1 : 0)/" }
        var testDescription: String { "spaCy \(version) \(prefix)" }

        func settings(vectorRows: Int, vectorWidth: Int) -> TrainingSettings {
            var settings = TrainingSettings()
            (settings.width, settings.depth, settings.pieces, settings.rows) = (width, depth, pieces, 200)
            (settings.loss, settings.useVectors, settings.dropout) = (loss, useVectors, 0)
            settings.maskProbability = masked ? 0.15 : 0
            (settings.vectorRows, settings.vectorWidth) = (vectorRows, vectorWidth)
            settings.outOfVocabularyTargets = version.hasPrefix("2.1") ? .row0 : .last
            return settings
        }
    }

    static let cases: [Case] = ["2.3.9", "2.1.9"].flatMap { version in
        [false, true].flatMap { useVectors in
            [false, true].flatMap { masked in
                LossFunction.allCases.flatMap { loss in
                    [(96, 4), (64, 2)].flatMap { width, depth in
                        [3, 2].map {
                            Case(
                                version: version, useVectors: useVectors, masked: masked, loss: loss, width: width, depth: depth, pieces: $0
                            )
                        }
                    }
                }
            }
        }
    }

    static func dump(_ version: String) throws -> Safetensors {
        let path = try #require(Bundle.module.path(forResource: "model-\(version)", ofType: "safetensors", inDirectory: "data"))
        return try Safetensors(path: path)
    }

    /// Limits of relative L2 error per tensor: forward 1e-5, gradient 1e-4, everything after five updates 1e-3.
    @Test(arguments: cases) func equalsSpacy(_ item: Case) throws {
        let dump = try Self.dump(item.version)
        let corpus = try GoldenCorpus(dump: dump, item: item)
        let spec = ModelSpec.spacy2(corpus.settings)
        let layout = ParameterLayout(spec: spec)
        let state = OptimizerState(count: layout.count)
        let salt = try #require(dump.array(item.prefix + "salt", Int32.self).first)
        try layout.load(GoldenCorpus.parameters(layout, salt: Int(salt)), into: state.parameters)
        let engine = GradientEngine(spec: spec, layout: layout, vectors: corpus.vectors, wordsPerLane: 1000)
        let builder = MicroBatchBuilder(
            spec: spec, seed: 0, randomWords: RandomWordTable(words: [], counts: []), maskWord: GoldenCorpus.noWord,
            vectorRows: corpus.settings.vectorRows)
        let optimizer = AdamOptimizer(layout: layout, settings: spec.optimizer)
        let batch = MicroBatch()
        var gradient = [Float](repeating: 0, count: layout.count)
        for update in corpus.batches.indices {
            builder.build(corpus.batches[update], epoch: 0, update: UInt64(update), into: batch) { corpus.choose(update, $0, $1) }
            try gradient.withUnsafeMutableBufferPointer { buffer in
                let start = try #require(buffer.baseAddress)
                _ = engine.gradient(of: batch, parameters: state.parameters, into: start)
                if update == 0 {
                    try expectForward(item, dump, corpus.settings, batch, engine)
                    for tensor in layout.export(start) { try expect(tensor.values, dump, item.prefix + "gradient/" + tensor.name, 1e-4) }
                }
                optimizer.step(gradient: start, words: UInt64(batch.wordCount), state: state)
            }
        }
        let buffers = [
            ("parameters", state.parameters), ("moment1", state.moment1), ("moment2", state.moment2), ("averages", state.averages),
        ]
        for (name, buffer) in buffers {
            for tensor in layout.export(buffer) {
                try expect(tensor.values, dump, "\(item.prefix)after/\(name)/\(tensor.name)", 1e-3)
            }
        }
    }

    private func expectForward(
        _ item: Case, _ dump: Safetensors, _ settings: TrainingSettings, _ batch: MicroBatch, _ engine: GradientEngine
    ) throws {
        let encoder = try #require(engine.encoder as? WindowEncoder)
        let head = try #require(engine.objective as? VectorsHead).layer
        func rows(_ pointer: UnsafePointer<Float>, _ indices: [Int], width: Int) -> [Float] {
            indices.flatMap { Array(UnsafeBufferPointer(start: pointer + $0 * width, count: width)) }
        }
        let words = batch.content.words.map(Int.init)
        for (table, name) in ["norm", "prefix", "suffix", "shape"].enumerated() {
            let indices = words.map { Int(batch.content.ofWord[table * batch.content.uniqueCount + $0]) }
            let values = rows(engine.mixer.partBuffers[table].output, indices, width: item.width)
            try expect(values, dump, "\(item.prefix)forward/embed.\(name)", 1e-5)
        }
        try expect(rows(try #require(engine.mixer.embedded), words, width: item.width), dump, item.prefix + "forward/mixer", 1e-5)
        for level in 1...item.depth {
            let values = rows(encoder.hidden[level], Array(0..<batch.content.rowCount(level: level)), width: item.width)
            try expect(values, dump, "\(item.prefix)forward/encode.\(level - 1)", 1e-5)
        }
        let all = Array(0..<batch.selectedCount)
        try expect(rows(try #require(head.output), all, width: 300), dump, item.prefix + "forward/head.hidden", 1e-5)
        let prediction = rows(try #require(head.prediction), all, width: settings.vectorWidth)
        try expect(prediction, dump, item.prefix + "forward/prediction.gradient", 1e-5)
    }

    private static let sketches = 32

    /// A dump entry is either the whole tensor or [norm, 32 sums of +-x]; from the sums the distance is estimated without bias.
    private func expect(_ values: [Float], _ dump: Safetensors, _ name: String, _ limit: Double) throws {
        let entry = try #require(dump.entries[name], "\(name) is not in the dump")
        let stored = try dump.array(name, Float.self)
        let error: Double
        if entry.shape == [1 + Self.sketches] {
            var sums = [Double](repeating: 0, count: Self.sketches)
            for (index, value) in values.enumerated() {
                let signs = Philox.mix(UInt64(index + 1))
                let value = Double(value)
                for k in 0..<Self.sketches { sums[k] += signs >> UInt64(k) & 1 == 1 ? value : -value }
            }
            let squares = zip(sums, stored.dropFirst()).reduce(0) { $0 + ($1.0 - Double($1.1)) * ($1.0 - Double($1.1)) }
            let distance = (squares / Double(Self.sketches)).squareRoot()
            error = distance == 0 ? 0 : distance / Double(stored[0])
        } else {
            try #require(entry.shape.reduce(1, *) == values.count)
            let squares = zip(values, stored).reduce(0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
            error = (squares / stored.reduce(0) { $0 + pow(Double($1), 2) }).squareRoot()
        }
        #expect(error < limit, "\(name)")
        GoldenErrors.shared.note(name, error)
    }
}

/// The largest errors by kind, printed when T2V_GOLDEN_VERBOSE is set.
final class GoldenErrors: @unchecked Sendable {
    static let shared = GoldenErrors()
    private let lock = NSLock()
    private var worst: [String: Double] = [:]

    func note(_ name: String, _ error: Double) {
        guard ProcessInfo.processInfo.environment["T2V_GOLDEN_VERBOSE"] != nil else { return }
        lock.withLock {
            let kind = name.split(separator: "/")[1...].prefix(2).joined(separator: "/")
            if error > worst[kind, default: 0] {
                worst[kind] = error
                print("golden", kind, error, name)
            }
        }
    }
}
