// What spaCy 2's options mean. In: settings of `pretrain`, seeds. Out: a spec.

extension ModelSpec {
    /// spaCy 2's tables, with the seeds of spaCy 2.3.3 and later.
    package static let spacy2Tables: [(attribute: String, seed: UInt32)] = [("NORM", 6), ("PREFIX", 7), ("SUFFIX", 8), ("SHAPE", 9)]

    /// The seeds of spaCy 2.3.3 and later.
    package static var spacy2Seeds: [UInt32] { spacy2Tables.map(\.seed) }

    /// The model, objective and optimizer of `spacy pretrain` 2.1 to 2.3 (`_legacy_tok2vec.py`, `cli/pretrain.py`; thinc 7).
    /// - Parameter seeds: one for each of `spacy2Tables`, if the weights bring their own.
    package static func spacy2(_ settings: TrainingSettings, seeds: [UInt32]? = nil) -> ModelSpec {
        let (width, seeds) = (settings.width, seeds ?? spacy2Seeds)
        precondition(seeds.count == spacy2Tables.count, "one seed for each table")
        var inputs = spacy2Tables.indices.map { index in
            Input.table(
                Table(
                    attribute: spacy2Tables[index].attribute, rows: index == 0 ? settings.rows : settings.rows / 2, seed: seeds[index],
                    width: width, dropout: true))
        }
        if settings.useVectors {
            let vectors = Vectors(width: settings.vectorWidth, output: width, attribute: "ORTH", missing: .zero, dropout: true)
            inputs.insert(.vectors(vectors), at: 0)
        }
        let missing: VectorsObjective.Missing
        switch settings.outOfVocabularyTargets {
        case .skip: missing = .skip
        case .row0: missing = .row0
        case .last: missing = .last
        }
        let convolution = Convolution(activation: .maxout, pieces: settings.pieces, window: 1, dropout: true)
        return ModelSpec(
            width: width, dropout: settings.dropout, inputs: inputs, mixer: Mixer(pieces: 3, dropout: .word),
            encoder: Encoder(
                padding: Padding(kind: .embeddedZeros, rows: settings.depth),
                convolutions: [Convolution](repeating: convolution, count: settings.depth)),
            objective: .vectors(
                VectorsObjective(
                    loss: settings.loss, width: settings.vectorWidth, hidden: 300, pieces: 3, headDropout: true, missing: missing)),
            maskProbability: settings.maskProbability, optimizer: OptimizerSpec(thinc7: settings.optimizer), layerNormEpsilon: 1e-8,
            initialization: .formulas, weightsFile: .thinc7, arithmetic: .blas)
    }
}

extension OptimizerSpec {
    /// thinc 7's Adam: sums, decay in the gradient, layers as blocks, averages.
    init(thinc7 settings: OptimizerSettings) {
        self.init(
            learnRate: .constant(settings.learnRate), beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
            gradClip: settings.gradientNormClip, l2: settings.l2, l2IsWeightDecay: false, averages: true, gradientScale: .sum, block: .layer
        )
    }
}
