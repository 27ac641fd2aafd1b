// Weights packed once for several micro-batches against weights packed for each. In: made-up documents. Out: the same bits.
import Base
import CKernels
import Testing

@testable import Model
@testable import Numerics

@Suite(.enabled(if: t2v_has_avx512_bf16() == 1, "this CPU has no AVX512-BF16")) struct PackedWeightsTests {
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

    @Test(arguments: [Arithmetic.native, .bf16, .blas], [false, true]) func giveTheSameBits(arithmetic: Arithmetic, byRows: Bool) throws {
        let spec = Self.spec(arithmetic, byRows: byRows)
        let canned = try CannedCorpus(words: 600, spec: spec)
        let layout = ParameterLayout(spec: canned.spec)
        let engine = GradientEngine(spec: canned.spec, layout: layout, vectors: canned)
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
            for words in [375, 57] {
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
        #expect(seen.count == 6)
    }
}
