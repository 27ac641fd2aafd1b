// `pretrain` and `resume`. In: the command line. Out: a run.
import ArgumentParser
import Base
import CoordinatorKit
import Foundation
import Launch
import Logging
import Numerics
import Run
import Transport

/// Both spellings of an option: spaCy's short one with a single dash, and the long one.
private func names(_ short: String, _ long: String, _ others: String...) -> NameSpecification {
    let shorts: NameSpecification.Element = short.count == 1 ? .customShort(Character(short)) : .customLong(short, withSingleDash: true)
    return NameSpecification([shorts, .customLong(long)] + others.map { .customLong($0) })
}

extension LossFunction: ExpressibleByArgument {}
extension OutOfVocabularyTargets: ExpressibleByArgument {}
extension WirePrecision: ExpressibleByArgument {}

/// Options that `pretrain` and `resume` share: how a run is carried out, not what it computes.
struct CarryOptions: ParsableArguments {
    @Option(help: "Local workers (default: this machine's cores, at most --lanes). 0: only workers on other hosts.") var workers: Int?
    @Option(help: "Lanes that a local worker computes at a time (default: 1).") var threads: Int?
    @Option(help: "Endpoint for workers on other hosts, for example tcp://0.0.0.0:5599.") var bind: String?
    @Option(help: "Wait for this many workers before training starts (default: 1).") var minWorkers: Int?
    @Option(help: "Seconds between checkpoints within an epoch (default: 300).") var checkpointEvery: Int?
    @Option(help: "Checkpoints that are kept (default: 3).") var keepCheckpoints: Int?
    @Flag(help: "Refuse workers whose arithmetic gives other bits.") var strictBits = false
    @Option(help: "OpenBLAS core to use, for example Haswell: makes mixed clusters compute equal bits.") var blasCore: String?
    @Option(help: "File with the coordinator's secret key.") var key: String?
    @Option(help: "File with the public keys of the workers that may join.") var allow: String?
    @Flag(help: "Bind without keys: anyone who can reach the port can read the texts and change the model.") var insecure = false
    @Option(help: "Folder for prepared shards, shared by all runs (default: ~/.cache/t2v).") var cache: String?
    @Option(help: "Serve Prometheus metrics and /health on HOST:PORT.") var metrics: String?

    func apply(to options: inout RunOptions) throws(InputError) {
        if let bind { options.bind = bind }
        if let threads { options.threads = threads }
        if let workers { options.workers = workers }
        if let minWorkers { options.minWorkers = minWorkers }
        if let checkpointEvery { options.checkpointEvery = checkpointEvery }
        if let keepCheckpoints { options.keepCheckpoints = keepCheckpoints }
        if strictBits { options.strictBits = true }
        if let blasCore { options.blasCore = blasCore }
        if let key { options.keyFile = key }
        if let allow { options.allowFile = allow }
        if insecure { options.insecure = true }
        if let cache { options.cache = absolute(cache) }
        if let metrics { options.metrics = metrics }
        try validate(options)
    }

    private func validate(_ options: RunOptions) throws(InputError) {
        func require(_ good: Bool, _ what: String, _ remedy: String) throws(InputError) {
            guard good else { throw InputError(what, at: "", remedy: remedy) }
        }
        try require((0...1024).contains(options.workers), "--workers is \(options.workers)", "give 0 to 1024")
        try require((1...1024).contains(options.threads), "--threads is \(options.threads)", "give 1 to 1024")
        try require(
            options.workers > 0 || options.bind != nil, "--workers 0 without --bind: no worker could ever join",
            "give --bind tcp://HOST:PORT, or --workers")
        try require((1...100_000).contains(options.minWorkers), "--min-workers is \(options.minWorkers)", "give 1 to 100000")
        try require(
            options.bind != nil || options.minWorkers <= options.workers,
            "--min-workers \(options.minWorkers) is more than the \(options.workers) local workers, and no --bind lets others in",
            "give --bind, or fewer")
        try require(
            (1...1_000_000).contains(options.checkpointEvery), "--checkpoint-every is \(options.checkpointEvery)", "give seconds, 1 or more"
        )
        try require((1...1000).contains(options.keepCheckpoints), "--keep-checkpoints is \(options.keepCheckpoints)", "give 1 to 1000")
        try require((options.keyFile == nil) == (options.allowFile == nil), "--key and --allow go together", "give both, or neither")
        try require(
            options.keyFile == nil || options.bind != nil, "--key and --allow without --bind", "they are for workers on other hosts")
        if let bind = options.bind, options.keyFile == nil, !options.insecure, try !Endpoint(bind).isLocal {
            throw InputError(
                "other hosts can reach this endpoint and there are no keys", at: bind,
                remedy: "make keys with `t2v-coordinator keygen FOLDER` and give --key and --allow, or say --insecure")
        }
    }
}

/// An absolute path: a run may be resumed from another folder.
func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : (FileManager.default.currentDirectoryPath as NSString).appendingPathComponent(path)
}

struct PretrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pretrain", abstract: "Pretrain a tok2vec layer, as `spacy pretrain` does, on many workers.",
        discussion:
            "Weights of every epoch are written to OUTPUT_DIR/modelN.bin, for `spacy train -t2v`. OUTPUT_DIR/log.jsonl has a line for each."
    )

    @Argument(help: "Texts: .jsonl or .jsonl.gz, one {\"text\": ...} or {\"tokens\": [...]} a line; - for standard input.") var texts:
        String
    @Argument(help: "Folder of a spaCy 2.1, 2.3 or 3.x model with vectors.") var vectorsModel: String
    @Argument(help: "Folder for the weights.") var outputDir: String

    @Option(name: names("cw", "width"), help: "Width of the CNN layers.") var width = 96
    @Option(name: names("cd", "conv-depth", "depth"), help: "Number of CNN layers.") var depth = 4
    @Option(name: names("cP", "cnn-pieces"), help: "Maxout pieces of the CNN layers.") var pieces = 3
    @Option(name: names("er", "embed-rows"), help: "Rows of the embedding tables.") var rows = 2000
    @Option(name: names("L", "loss-func"), help: "cosine or L2.") var loss = LossFunction.cosine
    @Flag(name: names("uv", "use-vectors"), help: "Use the static vectors as input features.") var useVectors = false
    @Option(name: names("d", "dropout"), help: "Dropout rate.") var dropout: Float = 0.2
    @Option(name: names("bs", "batch-size"), help: "Words of one update.") var batchSize = 3000
    @Option(name: names("xw", "max-length"), help: "Documents of this many tokens or more are dropped.") var maxLength = 500
    @Option(name: names("nw", "min-length"), help: "Documents of fewer tokens are dropped.") var minLength = 5
    @Option(name: names("s", "seed"), help: "Seed of everything that is drawn.") var seed: UInt64 = 0
    @Option(name: names("i", "n-iter"), help: "Epochs.") var nIter = 1000
    @Option(name: names("se", "n-save-every"), help: "Save modelN.temp.bin every so many updates.") var nSaveEvery: Int?
    @Option(name: names("t2v", "init-tok2vec"), help: "Start from a modelN.bin.") var initTok2vec: String?
    @Option(name: names("es", "epoch-start"), help: "First epoch's number; with --init-tok2vec only.") var epochStart: Int?
    @Option(help: "Start from named parameters, head included (.safetensors, for example a checkpoint).") var initCheckpoint: String?
    @Option(help: "Lanes: virtual workers, fixed for a run. More lanes feed more workers.") var lanes = 4
    @Option(help: "Probability that a token is hidden and predicted; 0: nothing is hidden and every token counts.") var maskProb: Float =
        0.15
    @Option(help: "Target of a word without a vector: skip, row0 (as spaCy 2.1) or last (as 2.3).") var oovTargets = OutOfVocabularyTargets
        .skip
    @Option(help: "Parameters and gradients between coordinator and workers: float32, or bf16: half the bytes, other numbers.")
    var wirePrecision = WirePrecision.float32
    @Option(help: "auto: resume if OUTPUT_DIR holds a run, else start.") var resume: String?
    @Flag(help: "Remove the run that OUTPUT_DIR holds.") var overwrite = false
    @OptionGroup var carry: CarryOptions

    func run() throws {
        guard resume == nil || resume == "auto" else {
            throw InputError("--resume is \(resume ?? "")", at: "", remedy: "say --resume auto, or use `t2v-coordinator resume OUTPUT_DIR`")
        }
        guard resume == nil || !overwrite else {
            throw InputError("--resume auto and --overwrite contradict each other", at: "", remedy: "give one of them")
        }
        let options = try options()
        try checkInputs(options)
        let folder = try RunFolder(options.outputDir)
        if folder.holdsRun {
            if resume == "auto" {
                try resumeRun(folder, carry: carry, nIter: nIter)
                return
            }
            guard overwrite else {
                throw InputError(
                    "the output folder holds a run", at: options.outputDir,
                    remedy: "go on with `t2v-coordinator resume \(outputDir)`, or give --overwrite or another folder")
            }
            folder.removeRun()
        }
        try carryOut(options, folder, checkpoint: nil, isResuming: false)
    }

    /// What can be told before the output folder is touched.
    private func checkInputs(_ options: RunOptions) throws(InputError) {
        if texts != "-" {
            guard access(options.textsLoc, R_OK) == 0 else {
                throw InputError(
                    "cannot open the texts: \(String(cString: strerror(errno)))", at: texts, remedy: "check the path and its permissions")
            }
        }
        guard access(options.vectorsModel, R_OK) == 0 else {
            throw InputError(
                "cannot open the vectors model: \(String(cString: strerror(errno)))", at: vectorsModel,
                remedy: "give the folder of a spaCy model with vectors")
        }
    }

    private func options() throws(InputError) -> RunOptions {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.pieces, settings.rows) = (width, depth, pieces, rows)
        (settings.loss, settings.useVectors, settings.dropout, settings.batchSize) = (loss, useVectors, dropout, batchSize)
        (settings.maxLength, settings.minLength, settings.seed, settings.lanes) = (maxLength, minLength, seed, lanes)
        (settings.maskProbability, settings.outOfVocabularyTargets) = (maskProb, oovTargets)
        settings.wirePrecision = wirePrecision
        settings.optimizer = try OptimizerSettings(environment: ProcessInfo.processInfo.environment)
        settings.vectorRows = 1
        try settings.validate()
        var options = RunOptions(
            textsLoc: texts == "-" ? texts : absolute(texts), vectorsModel: absolute(vectorsModel), outputDir: absolute(outputDir),
            settings: settings)
        options.nIter = nIter
        options.nSaveEvery = nSaveEvery
        options.initTok2vec = initTok2vec.map(absolute)
        options.initCheckpoint = initCheckpoint.map(absolute)
        guard nIter >= 1 else { throw InputError("--n-iter is \(nIter)", at: "", remedy: "give 1 or more epochs") }
        guard nSaveEvery.map({ $0 >= 1 }) ?? true else {
            throw InputError("--n-save-every is \(nSaveEvery ?? 0)", at: "", remedy: "give 1 or more updates")
        }
        guard initTok2vec == nil || initCheckpoint == nil else {
            throw InputError("--init-tok2vec and --init-checkpoint contradict each other", at: "", remedy: "give one of them")
        }
        if let initTok2vec { options.epochStart = try firstEpoch(initTok2vec) }
        let cores = ProcessInfo.processInfo.activeProcessorCount
        options.threads = carry.threads ?? 1
        options.workers = max(1, min(lanes, cores) / max(1, options.threads))
        options.minWorkers = 1
        try carry.apply(to: &options)
        return options
    }

    /// As spaCy has it: from the file's name, else from --epoch-start, which counts only here (2.3 `cli/pretrain.py`).
    private func firstEpoch(_ path: String) throws(InputError) -> Int {
        let name = (path as NSString).lastPathComponent
        if name.hasPrefix("model"), name.hasSuffix(".bin"), let number = Int(name.dropFirst(5).dropLast(4)), number >= 0 {
            return number + 1
        }
        guard let epochStart, epochStart >= 0 else {
            throw InputError(
                "the file is not called modelN.bin, so its epoch is not known", at: path,
                remedy: "give --epoch-start, the number of the first epoch (0 or more)")
        }
        return epochStart
    }
}

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Go on with a run that was stopped or killed, to the same weights.")

    @Argument(help: "The run's output folder.") var outputDir: String
    @Option(name: names("i", "n-iter"), help: "Epochs in total, when it is to be more than before.") var nIter: Int?
    @OptionGroup var carry: CarryOptions

    func run() throws {
        guard access("\(outputDir)/config.json", F_OK) == 0 else {
            throw InputError("there is no run to resume", at: outputDir, remedy: "start one with `t2v-coordinator pretrain`")
        }
        try resumeRun(try RunFolder(absolute(outputDir)), carry: carry, nIter: nIter)
    }
}

/// Goes on from the last whole checkpoint; from the start when there is none yet.
func resumeRun(_ folder: RunFolder, carry: CarryOptions, nIter: Int?) throws {
    let progress = Progress()
    AtomicFile.removeLeftovers(in: folder.path)
    var checkpoint: Checkpoint?
    if access(folder.checkpointFolder, F_OK) == 0 {
        AtomicFile.removeLeftovers(in: folder.checkpointFolder)
        let found = try CheckpointStore(folder: folder.checkpointFolder, keep: 1).latestGood()
        for error in found.skipped { progress.say("skipped a checkpoint: \(error)") }
        guard found.checkpoint != nil || found.skipped.isEmpty else {
            throw InputError(
                "no checkpoint of this run is whole", at: folder.checkpointFolder,
                remedy: "start again with --overwrite, or from weights with --init-tok2vec")
        }
        checkpoint = found.checkpoint
    }
    let text: String
    if let checkpoint {
        text = checkpoint.configuration
    } else {
        guard let data = FileManager.default.contents(atPath: folder.configPath) else {
            throw InputError("cannot read the configuration", at: folder.configPath, remedy: "start again with --overwrite")
        }
        text = String(decoding: data, as: UTF8.self)
    }
    var options = try RunOptions.decode(text, place: checkpoint == nil ? folder.configPath : folder.checkpointFolder)
    options.outputDir = folder.path
    if let nIter {
        guard nIter >= 1 else { throw InputError("--n-iter is \(nIter)", at: "", remedy: "give 1 or more epochs") }
        options.nIter = nIter
    }
    try carry.apply(to: &options)
    progress.say(checkpoint.map { "resuming after update \($0.state.update)" } ?? "resuming before the first update")
    try carryOut(options, folder, checkpoint: checkpoint, isResuming: true)
}

/// Runs to the end, or throws what the process ends with.
func carryOut(_ options: RunOptions, _ folder: RunFolder, checkpoint: Checkpoint?, isResuming: Bool) throws {
    let progress = Progress()
    let logger = Logger(label: "t2v-coordinator") { LineLogHandler(label: $0) }
    do {
        let setup = try RunSetup(options, folder: folder, checkpoint: checkpoint, progress: progress, isResuming: isResuming)
        let shell = try RunShell(setup, progress: progress, logger: logger)
        switch try shell.run() {
        case .complete: progress.say("done: \(folder.path)")
        case .stopped(let reason):
            progress.say("\(reason); go on with `t2v-coordinator resume \(folder.path)`")
            throw EarlyExit75()
        }
    } catch let error as InputError {
        progress.clearLine()
        // Input that was refused before anything was learned leaves nothing behind.
        if !isResuming && access(folder.checkpointFolder, F_OK) != 0 { folder.discard() }
        throw error
    }
}
