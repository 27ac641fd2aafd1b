// `pretrain`. In: the command line. Out: a new run, or a resumed one.
import ArgumentParser
import Base
import CoordinatorKit
import Formats
import FoundationEssentials
import Glibc
import Launch
import Model
import Output
import Run

struct PretrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pretrain",
        abstract: "Pretrain a tok2vec layer, as `spacy pretrain` does, on many workers.",
        usage: """
            t2v-coordinator pretrain TEXTS VECTORS_MODEL OUTPUT_DIR [options]
                   t2v-coordinator pretrain --job JOB [TEXTS ...] OUTPUT_DIR [options]
            """,
        discussion:
            "Weights of every epoch are written to OUTPUT_DIR/modelN.bin, for `spacy train -t2v`. OUTPUT_DIR/log.jsonl has a line for each."
    )

    @Argument(
        help: """
            TEXTS: .jsonl or .jsonl.gz, one {"text": ...} or {"tokens": [...]} a line; - for standard input. VECTORS_MODEL: folder of a \
            spaCy 2.1, 2.3 or 3.x model with vectors. OUTPUT_DIR: folder for the weights. With --job: any number of texts, or none for \
            those that its config names, then OUTPUT_DIR.
            """)
    var paths: [String]
    @Option(help: "Folder of a compiled spaCy 3 config (`python -m spacy t2v compile`); it says what is trained.") var job: String?

    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Optimizer") var optimizer: OptimizerOptions
    @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions
    @Option(name: names("i", "n-iter"), parsing: .unconditional, help: "Epochs (default: 1000, or a resumed run's own).") var nIter: Int?
    @Option(name: names("se", "n-save-every"), parsing: .unconditional, help: "Updates between two modelN.temp.bin (default: none).")
    var nSaveEvery: Int?
    @Option(name: names("t2v", "init-tok2vec"), help: "Start from a modelN.bin.") var initTok2vec: String?
    @Option(name: names("es", "epoch-start"), parsing: .unconditional, help: "First epoch's number; with --init-tok2vec only.")
    var epochStart: Int?
    @Option(help: "Start from named parameters, head included (.safetensors, for example a checkpoint).") var initCheckpoint: String?
    @Option(help: "auto: resume if OUTPUT_DIR holds a run, else start.") var resume: String?
    @Flag(help: "Replace the run that OUTPUT_DIR holds. It is removed when the new one has written its first checkpoint.")
    var overwrite = false
    @OptionGroup(title: "How the run is carried out") var carry: CarryOptions

    var outputDir: String { paths.last ?? "" }
    private var texts: String { paths.first ?? "" }
    private var vectorsModel: String { paths.count == 3 ? paths[1] : "" }
    /// Texts given with a job.
    var jobTexts: [String] { Array(paths.dropLast()) }

    func run() throws {
        if job != nil { return try runJob() }
        guard paths.count == 3 else {
            throw InputError(
                "\(paths.count) of three arguments: \(paths.joined(separator: " "))", at: "",
                remedy: "give TEXTS VECTORS_MODEL OUTPUT_DIR, or --job JOB OUTPUT_DIR")
        }
        try checkCommandLine()
        let folder = try OutputFolder(absolute(outputDir))
        if folder.contents != .noRun, resume == "auto" {
            var changes = RunChanges(nIter: nIter, learnRate: optimizer.learnRate, texts: texts, vectorsModel: vectorsModel)
            changes.conflicts = { model.conflicts(with: $0) + optimizer.conflicts(with: $0) + evaluation.conflicts(with: $0) }
            try resumeRun(folder, carry: carry, changes)
            return
        }
        let progress = carry.progress
        let options = try options(progress)
        guard folder.contents == .noRun || overwrite else {
            throw InputError(
                "the output folder holds a run", at: options.outputDir,
                remedy: "resume with `t2v-coordinator resume \(outputDir)`, or give --overwrite or another folder")
        }
        try carryOut(options, folder, checkpoint: nil, progress: progress)
    }

    /// Checks that need no files.
    private func checkCommandLine() throws(InputError) {
        guard !outputDir.isEmpty else { throw InputError("OUTPUT_DIR is empty", at: "", remedy: "name a folder for the weights") }
        guard !texts.isEmpty else { throw InputError("the texts' path is empty", at: "", remedy: "name a file, or - for standard input") }
        guard !vectorsModel.isEmpty else { throw InputError("VECTORS_MODEL is empty", at: "", remedy: "name the folder of a spaCy model") }
        guard resume == nil || resume == "auto" else {
            throw InputError("--resume is \(resume ?? "")", at: "", remedy: "say --resume auto, or use `t2v-coordinator resume OUTPUT_DIR`")
        }
        guard resume == nil || !overwrite else {
            throw InputError("--resume auto and --overwrite cannot be combined", at: "", remedy: "give one of them")
        }
        try model.requireSupported()
        try requireEpochs(nIter)
        guard (1...1_000_000_000_000).contains(nSaveEvery ?? 1) else {
            throw InputError("--n-save-every is \(nSaveEvery ?? 0)", at: "", remedy: "give 1 or more updates")
        }
        guard initTok2vec == nil || initCheckpoint == nil else {
            throw InputError("--init-tok2vec and --init-checkpoint cannot be combined", at: "", remedy: "give one of them")
        }
    }

    /// The options of a new run.
    private func options(_ progress: ProgressDisplay) throws(InputError) -> RunOptions {
        var settings = TrainingSettings()
        model.apply(to: &settings)
        let environment = ProcessInfo.processInfo.environment
        settings.optimizer = try OptimizerSettings(environment: environment)
        for variable in OptimizerSettings.variables(in: environment) {
            progress.warn("the environment sets the optimizer: \(variable); if you do not want that, unset it or give the option")
        }
        try optimizer.apply(to: &settings.optimizer)
        settings.vectorRows = 1
        try settings.validate()
        var options = RunOptions(
            textsLoc: texts == "-" ? texts : absolute(texts), vectorsModel: absolute(vectorsModel), outputDir: absolute(outputDir),
            settings: settings)
        options.nIter = nIter ?? 1000
        options.nSaveEvery = nSaveEvery
        apply(to: &options)
        options.initTok2vec = initTok2vec.map(absolute)
        options.initCheckpoint = initCheckpoint.map(absolute)
        evaluation.apply(to: &options)
        if let initTok2vec { options.epochStart = try firstEpoch(initTok2vec) }
        try carry.apply(to: &options)
        for note in carry.place(&options, lanes: model.lanes, remembered: nil) { progress.say(note) }
        try CarryOptions.validatePlacement(options)
        return options
    }

    /// Options of the model that are not among the settings.
    func apply(to options: inout RunOptions) {
        options.precision = model.precision
        options.scaleLearnRate = optimizer.scaleLearnRate ? true : nil
    }

    /// As in spaCy: from the file's name, else from --epoch-start, which counts only here (2.3 `cli/pretrain.py`).
    private func firstEpoch(_ path: String) throws(InputError) -> Int {
        guard access(path, R_OK) == 0 else {
            throw InputError("cannot open the weights: \(String(cString: strerror(errno)))", at: path, remedy: "check the path")
        }
        let name = Path.name(path)
        if name.hasPrefix("model"), name.hasSuffix(".bin"), let number = Int(name.dropFirst(5).dropLast(4)), number >= 0 {
            guard number < RunOptions.mostEpochs else {
                throw InputError("the epoch in the file's name is too large", at: path, remedy: "rename it and give --epoch-start")
            }
            return number + 1
        }
        guard let epochStart, (0...RunOptions.mostEpochs).contains(epochStart) else {
            throw InputError(
                "the file is not called modelN.bin, so its epoch is not known", at: path,
                remedy: "give --epoch-start, the number of the first epoch (0 to \(RunOptions.mostEpochs))")
        }
        return epochStart
    }
}

func requireEpochs(_ nIter: Int?) throws(InputError) {
    guard (1...RunOptions.mostEpochs).contains(nIter ?? 1) else {
        throw InputError("--n-iter is \(nIter ?? 0)", at: "", remedy: "give 1 to \(RunOptions.mostEpochs) epochs")
    }
}

/// Runs to the end, or throws the error that ends the process.
func carryOut(_ options: RunOptions, _ folder: OutputFolder, checkpoint: Checkpoint?, progress: ProgressDisplay) throws {
    do {
        let setup = try RunSetup(options, folder: folder, checkpoint: checkpoint, progress: progress)
        let shell = try RunShell(setup, progress: progress, logger: progress.logger)
        switch try shell.run() {
        case .complete: progress.say("done: \(folder.path)\(shell.advice)")
        case .early(let reason): progress.say("\(reason): \(folder.path)")
        case .stopped(let reason):
            if folder.contents == .run {
                progress.say("\(reason); resume with `t2v-coordinator resume \(folder.path)`")
            } else {
                progress.say("\(reason) before training began: nothing was written; start it again, prepared texts are kept in the cache")
            }
            throw StoppedEarly()
        }
    } catch {
        progress.clearLine()
        folder.abandon()
        throw error
    }
}
