// Do two hosts compute the same bits? In: nothing but this program and its BLAS. Out: a hash of whole gradients, with the BLAS's name.
import Base
import Model

/// Hosts with equal fingerprints give byte-identical contributions.
///
/// Whole gradients of canned micro-batches of 1, 8, 57, 375 and 3,000 words are hashed: small matrix products alone would miss differences
/// between kernels, because a row's bits depend on the number of rows.
package struct NumericFingerprint: Sendable, Equatable {
    /// Hash over the bits of all gradients and losses.
    package let hash: UInt64
    /// OpenBLAS's kernel family.
    package let coreName: String
    /// OpenBLAS's version and build options.
    package let configuration: String

    /// This host's hashes for every arithmetic that its CPU can do.
    package static func all() -> Fingerprints {
        var all = Fingerprints()
        for arithmetic in Arithmetic.allCases where arithmetic.isPossibleHere { all[arithmetic] = measure(arithmetic).hash }
        return all
    }

    /// Computes the fingerprint of this host for a run's arithmetic: about a tenth of a second, with a model of spaCy 2's default settings.
    package static func measure(_ arithmetic: Arithmetic) -> NumericFingerprint {
        var spec = ModelSpec.spacy2(TrainingSettings())
        spec.arithmetic = arithmetic
        return measure(spec)
    }

    /// The fingerprint of this host for a model. Never 0, which stands for "cannot".
    package static func measure(_ spec: ModelSpec) -> NumericFingerprint {
        var hash: UInt64 = 1
        if let canned = try? CannedCorpus(words: 3000, spec: spec) {
            let layout = ParameterLayout(spec: canned.spec)
            let engine = GradientEngine(spec: canned.spec, layout: layout, vectors: canned, wordsPerLane: 3000)
            let builder = MicroBatchBuilder(
                spec: canned.spec, seed: 0, randomWords: canned.randomWords, maskWord: canned.maskWord,
                vectorRows: CannedCorpus.vectorRows)
            let batch = MicroBatch()
            let state = OptimizerState(count: layout.count)
            layout.initialize(state.parameters, seed: 1)
            for words in [1, 8, 57, 375, 3000] {
                builder.build(
                    canned.documents(words: words), epoch: 0, update: UInt64(words), into: batch, choose: CannedCorpus.choose)
                // A moment's buffer serves for the gradient.
                let statistics = engine.gradient(of: batch, parameters: state.parameters, into: state.moment1)
                hash = Philox.mix(hash ^ statistics.lossSum.bitPattern)
                for index in 0..<layout.count { hash = Philox.mix(hash ^ UInt64(state.moment1[index].bitPattern)) }
            }
        }
        return NumericFingerprint(hash: hash, coreName: MatrixMultiply.coreName, configuration: MatrixMultiply.configuration)
    }
}
