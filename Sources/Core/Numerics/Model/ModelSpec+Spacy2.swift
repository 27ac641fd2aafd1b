// What spaCy 2's options mean. In: settings of `pretrain`, seeds. Out: a spec.

extension ModelSpec {
    /// The model, objective and optimizer of `spacy pretrain` 2.1 to 2.3 (`_legacy_tok2vec.py`, `cli/pretrain.py`; thinc 7).
    /// - Parameter seeds: of the tables norm, prefix, suffix, shape; they belong to the weights. The defaults are those of spaCy 2.3.3 and
    ///   later.
    package static func spacy2(_ settings: TrainingSettings, seeds: EmbeddingSeeds = EmbeddingSeeds()) -> ModelSpec {
        let (width, half) = (settings.width, settings.rows / 2)
        let tables = [
            ("NORM", settings.rows, seeds.norm), ("PREFIX", half, seeds.prefix), ("SUFFIX", half, seeds.suffix),
            ("SHAPE", half, seeds.shape),
        ]
        var inputs = tables.map { attribute, rows, seed in
            Input.table(Table(attribute: attribute, rows: rows, seed: seed, width: width, dropout: true))
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
