// What the micro-batches of an update share (packed weights, embeddings) against micro-batches alone. In: made-up documents. Out: the same
// bits.
import Base
import Dispatch
import Testing

@testable import Model
@testable import Numerics

@Suite struct PackedWeightsTests {
    private static let possible = [Arithmetic.native, .bf16, .blas].filter(\.isPossibleHere)

    /// spaCy 2's convolution through unique words, and spaCy 3's by rows with the characters objective.
    private static func spec(_ arithmetic: Arithmetic, byRows: Bool) -> ModelSpec {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.vectorWidth, settings.useVectors) = (40, 2, 70, 20, true)
        var spec = ModelSpec.spacy2(settings)
        spec.arithmetic = arithmetic
        guard byRows else { return spec }
        spec.mixer.dropout = .token
        spec.encoder.padding = .init(kind: .zeroVectors, rows: 2)
        spec.objective = .characters(.init(bytes: 2, hidden: 30, pieces: 3, headDropout: false, loss: .linear))
        return spec
    }

    @Test(arguments: possible, [false, true]) func giveTheSameBits(arithmetic: Arithmetic, byRows: Bool) throws {
        let spec = Self.spec(arithmetic, byRows: byRows)
        let canned = try CannedCorpus(words: 600, spec: spec)
        let layout = ParameterLayout(spec: canned.spec)
        let engine = GradientEngine(spec: canned.spec, layout: layout, vectors: canned, wordsPerLane: 1000)
        let builder = MicroBatchBuilder(
            spec: canned.spec, seed: 0, randomWords: canned.randomWords, maskWord: canned.maskWord, vectorRows: CannedCorpus.vectorRows)
        let batch = MicroBatch()
        var parameters = [Float](repeating: 0, count: layout.count)
        layout.initialize(&parameters, seed: 1)
        func gradient(_ version: UInt64?) -> [UInt32] {
            var floats = [Float](repeating: 0, count: layout.count)
            _ = engine.gradient(of: batch, parameters: parameters, version: version, into: &floats)
            return floats.map(\.bitPattern)
        }
        var seen: Set<[UInt32]> = []
        for version in 1...3 {
            // Later ones have ids that are known, new ones, or all known.
            for words in [57, 375, 600, 57] {
                builder.build(canned.documents(words: words), epoch: 0, update: 0, into: batch, choose: CannedCorpus.choose)
                let expected = gradient(nil)
                seen.insert(expected)
                // Not the arrays in #expect: describing their differences would take hours.
                let isEqual = gradient(UInt64(version)) == expected
                #expect(isEqual, "\(words) words, version \(version)")
            }
            // Other weights in the same memory are another version.
            for index in parameters.indices { parameters[index] *= 1.25 }
        }
        #expect(seen.count == 9)
    }

    /// What one of several threads computes.
    private final class Worker: @unchecked Sendable {
        let engine: GradientEngine
        let batch = MicroBatch()
        let expected: [[UInt32]]
        var found: [[UInt32]] = []

        init(_ canned: CannedCorpus, _ layout: ParameterLayout, words: Int, versions: [[Float]], packed: PackedWeightsStore) {
            engine = GradientEngine(spec: canned.spec, layout: layout, vectors: canned, wordsPerLane: 1000, packed: packed)
            let builder = MicroBatchBuilder(
                spec: canned.spec, seed: 0, randomWords: canned.randomWords, maskWord: canned.maskWord,
                vectorRows: CannedCorpus.vectorRows)
            builder.build(canned.documents(words: words), epoch: 0, update: 0, into: batch, choose: CannedCorpus.choose)
            let (engine, batch) = (engine, batch)
            expected = versions.map { Self.gradient(engine, batch, $0, nil) }
        }

        func compute(_ parameters: [Float], _ version: UInt64) { found.append(Self.gradient(engine, batch, parameters, version)) }

        private static func gradient(_ engine: GradientEngine, _ batch: MicroBatch, _ parameters: [Float], _ version: UInt64?) -> [UInt32] {
            var floats = [Float](repeating: 0, count: parameters.count)
            _ = engine.gradient(of: batch, parameters: parameters, version: version, into: &floats)
            return floats.map(\.bitPattern)
        }
    }

    /// Threads that share packed weights go from version to version by themselves: a slow one still computes with an earlier version.
    @Test(arguments: possible.filter { $0 != .blas }) func threadsShareThem(arithmetic: Arithmetic) throws {
        let canned = try CannedCorpus(words: 600, spec: Self.spec(arithmetic, byRows: true))
        let layout = ParameterLayout(spec: canned.spec)
        var parameters = [Float](repeating: 0, count: layout.count)
        layout.initialize(&parameters, seed: 1)
        let versions = (1...6).map { version in parameters.map { $0 * Float(version) } }
        let packed = PackedWeightsStore()
        let workers = (0..<4).map { Worker(canned, layout, words: 60 + 120 * $0, versions: versions, packed: packed) }
        DispatchQueue.concurrentPerform(iterations: workers.count) { index in
            for (number, version) in versions.enumerated() { workers[index].compute(version, UInt64(number)) }
        }
        for worker in workers {
            let isEqual = worker.found == worker.expected
            #expect(isEqual)
        }
    }

    /// Threads whose parameters were overwritten may disagree about the shape: none gets panels that are shorter than it thinks.
    @Test func anotherShapeIsNotHandedOut() {
        let weights = [Float](repeating: 1, count: 100 * 10)
        let store = PackedWeightsStore()
        func isThere(_ n: Int, version: UInt64) -> Bool {
            store.weights(version: version).panels(flags: 0, n: n, k: 10, weights, offset: 0, ldb: 100) != nil
        }
        #expect(isThere(20, version: 1) && isThere(20, version: 1) && !isThere(70, version: 1) && !isThere(10, version: 1))
        #expect(isThere(70, version: 2) && !isThere(20, version: 2))
    }

    @Test func eachIDIsEmbeddedOnce() {
        let store = EmbeddingStore(width: 2, wide: 3)
        func part(_ ids: [UInt32], factors: [Float] = []) -> MicroBatchContent.Part {
            MicroBatchContent.Part(count: ids.count, rows: ids.flatMap { [$0, 7, 7, $0 + 1] }, factors: factors)
        }
        #expect(store.find(part([4, 5, 6]), version: 1) == 0)
        #expect(store.fresh == [0, 1, 2] && store.places == [0, 1, 2])
        for (index, value) in [10, 11, 20, 21, 30, 31].enumerated() { store.outputs[index] = Float(value) }
        // Room for many more keeps what is there.
        let many = [6, 9, 4] + (100..<600).map(UInt32.init)
        #expect(store.find(part(many), version: 1) == 3)
        #expect(store.fresh.first == 1 && store.fresh.count == 501 && store.places.prefix(3) == [2, 3, 0])
        var copy = [Float](repeating: 0, count: 2 * many.count)
        store.copyOutputs(to: &copy)
        #expect(copy[0...1] == [30, 31] && copy[4...5] == [10, 11])
        // Other parameters, and another mask, are other embeddings.
        #expect(store.find(part([4]), version: 2) == 0 && store.fresh == [0])
        #expect(store.find(part([4], factors: [0, 1.25]), version: 2) == 0 && store.fresh == [0])
        #expect(store.find(part([4], factors: [0, 1.25]), version: 2) == 1 && store.fresh.isEmpty)
        // As many as are kept, and more.
        #expect(store.find(part((0..<4096).map(UInt32.init), factors: [0, 1.25]), version: 2) == 0 && store.fresh.count == 4096)
        #expect(store.find(part((0..<4097).map(UInt32.init), factors: [0, 1.25]), version: 2) == nil)
        // Words with one vector, and with several, even if these are four on average.
        #expect(store.find(MicroBatchContent.Part(count: 2, rows: [1, 2], starts: [0, 1, 2]), version: 3) == 0)
        #expect(store.find(MicroBatchContent.Part(count: 2, rows: [1, 2, 3], starts: [0, 1, 3]), version: 3) == nil)
        #expect(store.find(MicroBatchContent.Part(count: 2, rows: [1, 2, 3, 4, 5, 6, 7, 8], starts: [0, 3, 8]), version: 3) == nil)
    }
}
