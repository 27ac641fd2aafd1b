// Every setting that the trained numbers depend on. In: command line, config.json, checkpoint. Out: model, objective, optimizer, plan.

/// Objective between predicted and true word vectors.
public enum LossFunction: String, Codable, Sendable, CaseIterable {
    /// sum |cos - 1|
    case cosine
    /// sum of squared differences
    case l2 = "L2"
}

/// What a selected word without a vector aims at.
public enum OutOfVocabularyTargets: String, Codable, Sendable, CaseIterable {
    /// It gives no gradient.
    case skip
    /// Row 0 of the table, as spaCy 2.1 does.
    case row0
    /// The table's last row, as spaCy 2.3 does.
    case last
}

/// The settings of a run that decide its numbers. Names and defaults are those of `spacy pretrain` 2.3.
public struct TrainingSettings: Codable, Sendable, Equatable {
    /// Width of the embeddings and convolutions (`--width`).
    public var width = 96
    /// Number of convolutions (`--conv-depth`).
    public var depth = 4
    /// Maxout pieces of the convolutions (`--cnn-pieces`).
    public var pieces = 3
    /// Rows of the NORM table; the other tables have `rows / 2` (`--embed-rows`).
    public var rows = 2000
    public var loss = LossFunction.cosine
    /// Static vectors are an input besides the hash embeddings (`--use-vectors`).
    public var useVectors = false
    public var dropout: Float = 0.2
    /// Words of one update (`--batch-size`).
    public var batchSize = 3000
    /// Documents of this many tokens or more are dropped (`--max-length`).
    public var maxLength = 500
    /// Documents of fewer tokens are dropped (`--min-length`).
    public var minLength = 5
    public var seed: UInt64 = 0
    /// Number of lanes L: virtual workers, fixed for a run.
    public var lanes = 4
    /// Probability that a token is selected; 0: nothing is hidden and every token counts.
    public var maskProbability: Float = 0.15
    public var outOfVocabularyTargets = OutOfVocabularyTargets.skip
    /// Width of the vectors table (nM); set from the vectors model.
    public var vectorWidth = 300
    /// Rows of the vectors table; set from the vectors model.
    public var vectorRows = 0
    public var optimizer = OptimizerSettings()
    /// What parameters and gradients are on their way between coordinator and workers (`--wire-precision`).
    public var wirePrecision = WirePrecision.float32

    public init() {}
}

/// How floats travel. It changes the numbers, not what they depend on: everybody rounds, also who does not send.
///
/// With `bf16` a worker computes from rounded parameters (the coordinator keeps them, moments and averages in float32), each lane's
/// gradient is rounded, and so is the sum of every node of the reduction tree.
public enum WirePrecision: String, Codable, Sendable, CaseIterable {
    case float32, bf16

    public var bytesPerFloat: Int { self == .bf16 ? 2 : 4 }
}

/// thinc 7's Adam with its defaults (`spacy.util.create_default_optimizer`, 2.3).
public struct OptimizerSettings: Codable, Sendable, Equatable {
    public var learnRate = 0.001
    public var beta1 = 0.9
    public var beta2 = 0.999
    public var epsilon = 1e-8
    /// 0 switches it off.
    public var l2 = 1e-6
    /// 0 switches it off.
    public var gradientNormClip = 1.0

    public init() {}
}
