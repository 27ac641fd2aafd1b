// Options with the names and defaults of `spacy pretrain` 2.3. In: the command line. Out: settings, and conflicts with those of a run.
import ArgumentParser
import Base
import CoordinatorKit
import Launch
import Model
import Run
import Text

/// Both spellings of an option: spaCy's short one with a single dash, and the long one.
func names(_ short: String, _ long: String, _ others: String...) -> NameSpecification {
    let shorts: NameSpecification.Element = short.count == 1 ? .customShort(Character(short)) : .customLong(short, withSingleDash: true)
    return NameSpecification([shorts, .customLong(long)] + others.map { .customLong($0) })
}

extension LossFunction: ExpressibleByArgument {}
extension OutOfVocabularyTargets: ExpressibleByArgument {}
extension WirePrecision: ExpressibleByArgument {}
extension Precision: ExpressibleByArgument {}

/// What determines a run's numbers. Everything is optional: the default is a new run's, or a resumed run's own value.
struct ModelOptions: ParsableArguments {
    @Option(name: names("cw", "width"), parsing: .unconditional, help: "Width of the CNN layers (default: 96).") var width: Int?
    @Option(name: names("cd", "conv-depth", "depth"), parsing: .unconditional, help: "Number of CNN layers (default: 4).") var depth: Int?
    @Option(name: names("cP", "cnn-pieces"), parsing: .unconditional, help: "Maxout pieces of the CNN layers (default: 3).") var pieces:
        Int?
    @Option(name: names("er", "embed-rows"), parsing: .unconditional, help: "Rows of the embedding tables (default: 2000).") var rows: Int?
    @Option(name: names("L", "loss-func"), help: "cosine or L2 (default: cosine).") var loss: LossFunction?
    @Flag(name: names("uv", "use-vectors"), help: "Use the static vectors as input features.") var useVectors = false
    @Option(name: names("d", "dropout"), parsing: .unconditional, help: "Dropout rate (default: 0.2).") var dropout: Float?
    @Option(name: names("bs", "batch-size"), parsing: .unconditional, help: "Words of one update (default: 3000).") var batchSize: Int?
    @Option(
        name: names("xw", "max-length"), parsing: .unconditional, help: "Documents of this many tokens or more are dropped (default: 500).")
    var maxLength: Int?
    @Option(name: names("nw", "min-length"), parsing: .unconditional, help: "Documents of fewer tokens are dropped (default: 5).")
    var minLength: Int?
    @Option(name: names("s", "seed"), parsing: .unconditional, help: "Seed of everything that is drawn (default: 0).") var seed: UInt64?
    @Option(
        parsing: .unconditional,
        help:
            "Lanes: virtual workers, fixed for a run; the weights depend on their number (default: 4, or two for each local thread)."
    )
    var lanes: Int?
    @Option(
        parsing: .unconditional,
        help: "Probability that a token is hidden and predicted (default: 0.15); 0: nothing is hidden and every token counts.")
    var maskProb: Float?
    @Option(help: "Target of a word without a vector: skip (default), row0 (as spaCy 2.1) or last (as 2.3).")
    var oovTargets: OutOfVocabularyTargets?
    @Option(help: "Format of parameters and gradients in transit: float32 (default), or bf16: half the traffic; results differ slightly.")
    var wirePrecision: WirePrecision?
    @Option(
        help: "Operands of matrix products: float32 (default, unless the job says otherwise) or bf16, faster on CPUs with AVX512-BF16."
    )
    var precision: Precision?
    @Option(name: names("cW", "cnn-window"), parsing: .unconditional, help: .hidden) var window: Int?
    @Option(name: names("sa", "sa-depth"), parsing: .unconditional, help: .hidden) var attentionDepth: Int?
    @Option(name: names("lstm", "bilstm-depth"), parsing: .unconditional, help: .hidden) var recurrentDepth: Int?
    @Flag(name: names("chr", "use-chars"), help: .hidden) var useChars = false

    /// - Throws: `InputError` for spaCy options that t2v does not have, unless they ask for what it does anyway.
    func requireSupported() throws(InputError) {
        func require(_ good: Bool, _ option: String, _ what: String) throws(InputError) {
            guard good else {
                throw InputError("\(option): t2v has no \(what)", at: "", remedy: "leave the option out, or use spaCy itself")
            }
        }
        try require(window ?? 1 == 1, "--cnn-window \(window ?? 1)", "convolutions with a window other than 1")
        try require(attentionDepth ?? 0 == 0, "--sa-depth \(attentionDepth ?? 0)", "self-attention")
        try require(recurrentDepth ?? 0 == 0, "--bilstm-depth \(recurrentDepth ?? 0)", "BiLSTM layers")
        try require(!useChars, "--use-chars", "character embeddings for spaCy 2 models")
    }

    func apply(to settings: inout TrainingSettings) {
        if let width { settings.width = width }
        if let depth { settings.depth = depth }
        if let pieces { settings.pieces = pieces }
        if let rows { settings.rows = rows }
        if let loss { settings.loss = loss }
        if useVectors { settings.useVectors = true }
        if let dropout { settings.dropout = dropout }
        if let batchSize { settings.batchSize = batchSize }
        if let maxLength { settings.maxLength = maxLength }
        if let minLength { settings.minLength = minLength }
        if let seed { settings.seed = seed }
        if let lanes { settings.lanes = lanes }
        if let maskProb { settings.maskProbability = maskProb }
        if let oovTargets { settings.outOfVocabularyTargets = oovTargets }
        if let wirePrecision { settings.wirePrecision = wirePrecision }
    }

    /// Conflicts with the settings that a run was begun with, including its precision.
    func conflicts(with run: RunOptions) -> [String] {
        var found = conflicts(with: run.settings)
        if let precision, precision != run.precision {
            found.append("--precision \(precision.rawValue) (the run has \(run.precision?.rawValue ?? "its own"))")
        }
        return found
    }

    /// Given options that differ from those a run was begun with: "--width 128 (the run has 96)".
    func conflicts(with run: TrainingSettings) -> [String] {
        var found: [String] = []
        func compare<Value: Equatable>(_ option: String, _ given: Value?, _ held: Value) {
            if let given, given != held { found.append("\(option) \(given) (the run has \(held))") }
        }
        compare("--width", width, run.width)
        compare("--conv-depth", depth, run.depth)
        compare("--cnn-pieces", pieces, run.pieces)
        compare("--embed-rows", rows, run.rows)
        compare("--loss-func", loss?.rawValue, run.loss.rawValue)
        if useVectors, !run.useVectors { found.append("--use-vectors (the run does not use it)") }
        compare("--dropout", dropout, run.dropout)
        compare("--batch-size", batchSize, run.batchSize)
        compare("--max-length", maxLength, run.maxLength)
        compare("--min-length", minLength, run.minLength)
        compare("--seed", seed, run.seed)
        compare("--lanes", lanes, run.lanes)
        compare("--mask-prob", maskProb, run.maskProbability)
        compare("--oov-targets", oovTargets?.rawValue, run.outOfVocabularyTargets.rawValue)
        compare("--wire-precision", wirePrecision?.rawValue, run.wirePrecision.rawValue)
        return found
    }
}

/// Documents that are scored and never trained on. A run keeps the settings it began with.
struct EvaluationOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: "Fraction of the documents to hold out for scoring, at most \(HeldOutChooser.mostDocuments) (default: 0); see --patience.")
    var heldOut: Double?
    @Option(
        parsing: .unconditional,
        help: "Updates between two evaluations within an epoch (default: only its end; 20 times in epochs of more than 50 million words).")
    var evaluateEvery: Int?

    func apply(to options: inout RunOptions) {
        if let heldOut { options.heldOut = heldOut == 0 ? nil : heldOut }
        if let evaluateEvery { options.evaluateEvery = evaluateEvery }
    }

    /// Options that were given.
    var given: [String] { [heldOut.map { _ in "--held-out" }, evaluateEvery.map { _ in "--evaluate-every" }].compactMap { $0 } }

    /// As `ModelOptions.conflicts`.
    func conflicts(with run: RunOptions) -> [String] {
        var found: [String] = []
        if let heldOut, heldOut != run.heldOut ?? 0 { found.append("--held-out \(heldOut) (the run has \(run.heldOut ?? 0))") }
        if let evaluateEvery, evaluateEvery != run.evaluateEvery {
            found.append("--evaluate-every \(evaluateEvery) (the run has \(run.evaluateEvery.map(String.init) ?? "none"))")
        }
        return found
    }
}

/// The optimizer's constants, which spaCy 2 reads only from the environment.
struct OptimizerOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "Learning rate of Adam (default: 0.001).") var learnRate: Double?
    @Option(parsing: .unconditional, help: "Decay of the gradient's mean (default: 0.9).") var beta1: Double?
    @Option(parsing: .unconditional, help: "Decay of the squared gradient's mean (default: 0.999).") var beta2: Double?
    @Option(parsing: .unconditional, help: "Added to the denominator of a step (default: 1e-8).") var eps: Double?
    @Option(parsing: .unconditional, help: "L2 penalty (default: 1e-6); 0: none.") var l2: Double?
    @Flag(help: "Multiply the learning rate by sqrt(words of an update / \(RunOptions.unscaledWords)), for larger updates.")
    var scaleLearnRate = false
    @Option(parsing: .unconditional, help: "Norm at which a layer's gradient is clipped (default: 1); 0: never.") var gradClip: Double?

    func apply(to optimizer: inout OptimizerSettings) throws(InputError) {
        func take(_ option: String, _ given: Double?, _ value: inout Double, _ isLegal: (Double) -> Bool, _ range: String)
            throws(InputError)
        {
            guard let given else { return }
            guard given.isFinite, isLegal(given) else {
                throw InputError("\(option) is \(given)", at: "", remedy: "give a number \(range)")
            }
            value = given
        }
        try take("--learn-rate", learnRate, &optimizer.learnRate, { $0 > 0 }, "above 0")
        try take("--beta1", beta1, &optimizer.beta1, { $0 > 0 && $0 < 1 }, "between 0 and 1")
        try take("--beta2", beta2, &optimizer.beta2, { $0 > 0 && $0 < 1 }, "between 0 and 1")
        try take("--eps", eps, &optimizer.epsilon, { $0 >= 0 }, "of 0 or more")
        try take("--l2", l2, &optimizer.l2, { $0 >= 0 }, "of 0 or more")
        try take("--grad-clip", gradClip, &optimizer.gradientNormClip, { $0 >= 0 }, "of 0 or more")
    }

    /// Conflicts of options that are not among a run's settings.
    func conflicts(with run: RunOptions) -> [String] {
        let found = conflicts(with: run.settings.optimizer)
        return scaleLearnRate && run.scaleLearnRate != true ? found + ["--scale-learn-rate (the run does not use it)"] : found
    }

    /// As `ModelOptions.conflicts`; the learning rate may change during a run.
    func conflicts(with run: OptimizerSettings) -> [String] {
        let pairs = [
            ("--beta1", beta1, run.beta1), ("--beta2", beta2, run.beta2), ("--eps", eps, run.epsilon), ("--l2", l2, run.l2),
            ("--grad-clip", gradClip, run.gradientNormClip),
        ]
        return pairs.compactMap { option, given, held in given.flatMap { $0 == held ? nil : "\(option) \($0) (the run has \(held))" } }
    }
}
