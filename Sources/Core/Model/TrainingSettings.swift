// Every setting that the trained numbers depend on. In: command line, config.json, checkpoint. Out: model, objective, optimizer, plan.

/// Objective between predicted and true word vectors.
package enum LossFunction: String, Codable, Sendable, CaseIterable {
    /// sum |cos - 1|
    case cosine
    /// sum of squared differences
    case l2 = "L2"
}

/// The target of a selected word without a vector.
package enum OutOfVocabularyTargets: String, Codable, Sendable, CaseIterable {
    /// It gives no gradient.
    case skip
    /// Row 0 of the table, as spaCy 2.1 does.
    case row0
    /// The table's last row, as spaCy 2.3 does.
    case last
}

/// The settings of a run that decide its numbers. Names and defaults are those of `spacy pretrain` 2.3.
package struct TrainingSettings: Codable, Sendable, Equatable {
    /// Width of the embeddings and convolutions (`--width`).
    package var width = 96
    /// Number of convolutions (`--conv-depth`).
    package var depth = 4
    /// Maxout pieces of the convolutions (`--cnn-pieces`).
    package var pieces = 3
    /// Rows of the first embedding table; the others have half as many (`--embed-rows`).
    package var rows = 2000
    package var loss = LossFunction.cosine
    /// Static vectors are an input besides the hash embeddings (`--use-vectors`).
    package var useVectors = false
    package var dropout: Float = 0.2
    /// Words of one update (`--batch-size`).
    package var batchSize = 3000
    /// Documents of this many tokens or more are dropped (`--max-length`).
    package var maxLength = 500
    /// Documents of fewer tokens are dropped (`--min-length`).
    package var minLength = 5
    package var seed: UInt64 = 0
    /// Number of lanes L: virtual workers, fixed for a run.
    package var lanes = 4
    /// Words of a lane in an update, on average.
    package var wordsPerLane: Int { max(1, batchSize / lanes) }
    /// Probability that a token is selected; 0: nothing is hidden and every token counts.
    package var maskProbability: Float = 0.15
    package var outOfVocabularyTargets = OutOfVocabularyTargets.skip
    /// Width of the vectors table (nM); set from the vectors model.
    package var vectorWidth = 300
    /// Rows of the vectors table; set from the vectors model.
    package var vectorRows = 0
    package var optimizer = OptimizerSettings()
    /// The format of parameters and gradients between coordinator and workers (`--wire-precision`).
    package var wirePrecision = WirePrecision.float32

    package init() {}
}

/// How floats travel. It changes the numbers, but not what they depend on: values are rounded even where they are not sent.
///
/// With `bf16` a worker computes from rounded parameters (the coordinator keeps them, moments and averages in float32), each lane's
/// gradient is rounded, and so is the sum of every node of the reduction tree.
package enum WirePrecision: String, Codable, Sendable, CaseIterable {
    case float32, bf16

    package var bytesPerFloat: Int { self == .bf16 ? 2 : 4 }
}

/// thinc 7's Adam with its defaults (`spacy.util.create_default_optimizer`, 2.3).
package struct OptimizerSettings: Codable, Sendable, Equatable {
    package var learnRate = 0.001
    package var beta1 = 0.9
    package var beta2 = 0.999
    package var epsilon = 1e-8
    /// 0 switches it off.
    package var l2 = 1e-6
    /// 0 switches it off.
    package var gradientNormClip = 1.0

    package init() {}
}
