// `resume`, and `pretrain --resume auto`. In: an output folder, and options to change. Out: the continued run.
import ArgumentParser
import Base
import CoordinatorKit
import Formats
import FoundationEssentials
import Glibc
import Launch
import Output
import Run

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Resume a stopped or killed run; the final weights are byte-identical.",
        discussion: "A run remembers its options in OUTPUT_DIR/t2v/run.json; options that are given here replace what it remembers.")

    @Argument(help: "The run's output folder.") var outputDir: String
    @Option(name: names("i", "n-iter"), parsing: .unconditional, help: "Epochs in total, to train for more than before.")
    var nIter: Int?
    @Option(parsing: .unconditional, help: "A new learning rate from here on; the weights are then those of another run.")
    var learnRate: Double?
    @Option(help: "Where the texts are now; they must be those the run was started with.") var texts: String?
    @Option(help: "Where the vectors model is now; it must be the one the run was started with.") var vectorsModel: String?
    @OptionGroup(title: "How the run is carried out") var carry: CarryOptions

    func run() throws {
        guard !outputDir.isEmpty else { throw InputError("OUTPUT_DIR is empty", at: "", remedy: "name the run's output folder") }
        try requireEpochs(nIter)
        let folder = try OutputFolder(absolute(outputDir))
        guard folder.contents != .noRun else {
            throw InputError("there is no run to resume", at: outputDir, remedy: "start one with `t2v-coordinator pretrain`")
        }
        try resumeRun(folder, carry: carry, RunChanges(nIter: nIter, learnRate: learnRate, texts: texts, vectorsModel: vectorsModel))
    }
}

/// Changes to the options that a run remembers.
struct RunChanges {
    var nIter: Int?
    var learnRate: Double?
    var texts: String?
    var vectorsModel: String?
    /// Given options that contradict the run.
    var conflicts: (RunOptions) -> [String] = { _ in [] }

    init(nIter: Int?, learnRate: Double?, texts: String?, vectorsModel: String?) {
        (self.nIter, self.learnRate, self.texts, self.vectorsModel) = (nIter, learnRate, texts, vectorsModel)
    }

    func apply(to options: inout RunOptions, _ progress: ProgressDisplay) throws(InputError) {
        let found = conflicts(options)
        guard found.isEmpty else {
            throw InputError(
                "the run was begun with other settings: \(found.joined(separator: ", "))", at: options.outputDir,
                remedy: "leave them out to resume, or give --overwrite or another folder")
        }
        if let nIter { options.nIter = nIter }
        if let learnRate, options.job != nil {
            guard learnRate > 0, learnRate.isFinite else {
                throw InputError("--learn-rate is \(learnRate)", at: "", remedy: "give a number above 0")
            }
            progress.say("the learning rate is \(learnRate) from here on")
            options.learnRate = learnRate
        } else if let learnRate, learnRate != options.settings.optimizer.learnRate {
            guard learnRate > 0, learnRate.isFinite else {
                throw InputError("--learn-rate is \(learnRate)", at: "", remedy: "give a number above 0")
            }
            progress.say("the learning rate changes from \(options.settings.optimizer.learnRate) to \(learnRate)")
            options.settings.optimizer.learnRate = learnRate
        }
        // Texts that came on standard input are kept in the folder.
        if let texts {
            options.textsLoc = texts == "-" ? texts : absolute(texts)
            if options.job != nil { options.texts = [options.textsLoc] }
        }
        if let vectorsModel { options.vectorsModel = absolute(vectorsModel) }
    }
}

extension RunOptions {
    /// The output folder may have been moved or copied: a job and texts inside it are looked for where it is now.
    fileprivate mutating func follow(from old: String) {
        guard old != outputDir else { return }
        let new = outputDir
        func moved(_ path: String) -> String {
            guard path.hasPrefix("\(old)/") else { return path }
            let place = new + path.dropFirst(old.count)
            return access(place, F_OK) == 0 ? place : path
        }
        textsLoc = moved(textsLoc)
        job = job.map(moved)
        texts = texts?.map(moved)
    }
}

/// Continues from the last undamaged checkpoint.
func resumeRun(_ folder: OutputFolder, carry: CarryOptions, _ changes: RunChanges) throws {
    let progress = carry.progress
    let store = CheckpointStore(folder: folder.checkpointFolder, keep: 1)
    let found: (checkpoint: Checkpoint?, skipped: [InputError]) = access(store.folder, F_OK) == 0 ? try store.latestGood() : (nil, [])
    for error in found.skipped { progress.warn("skipped a checkpoint: \(error)") }
    guard let checkpoint = found.checkpoint else {
        throw InputError(
            found.skipped.isEmpty ? "the run's checkpoints are gone" : "all of the run's checkpoints are damaged",
            at: folder.checkpointFolder,
            remedy: "start again with `pretrain --overwrite`, or from weights with --init-tok2vec in another folder")
    }
    // The run's last options; a checkpoint has those of its own time.
    let remembered = FileManager.default.contents(atPath: folder.runPath).map { String(decoding: $0, as: UTF8.self) }
    var options = try RunOptions.decode(remembered ?? checkpoint.configuration, place: folder.runPath)
    let before = options
    options.outputDir = folder.path
    options.follow(from: before.outputDir)
    try changes.apply(to: &options, progress)
    try carry.apply(to: &options)
    for note in carry.place(&options, lanes: before.settings.lanes, remembered: before) { progress.say(note) }
    try CarryOptions.validatePlacement(options)
    let (end, state) = (options.epochStart + options.nIter, checkpoint.state)
    // A run that was stopped while its last version was being scored must still score it.
    let isScored = options.heldOut == nil || state.evaluations?.last?.update == state.update
    if let scored = state.evaluations, isScored, scored.isOver(patience: options.patience ?? 0) {
        progress.say(
            "the run has stopped early: \(ProgressText.count(scored.sinceBest, "evaluation")) brought nothing better; --patience "
                + "\(2 * scored.sinceBest), say, would continue it")
        return
    }
    if state.epoch == end, state.epochUpdate == 0, isScored {
        progress.say(
            "the run is complete: \(ProgressText.count(options.nIter, "epoch")); --n-iter \(options.nIter * 2), say, would continue it")
        return
    }
    guard state.epoch < end || state.epoch == end && state.epochUpdate == 0 else {
        throw InputError(
            "the run has done \(ProgressText.count(state.epoch - options.epochStart, "epoch")) already, and --n-iter is \(options.nIter)",
            at: folder.path, remedy: "give more epochs, or none to keep the run's own number")
    }
    progress.say("resuming after update \(checkpoint.state.update)")
    try carryOut(options, folder, checkpoint: checkpoint, progress: progress)
}
