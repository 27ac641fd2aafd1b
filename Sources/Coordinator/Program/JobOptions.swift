// `pretrain --job`. In: a job folder and the command line. Out: a new run, or a resumed one.
import Base
import CoordinatorKit
import Output
import Run

extension PretrainCommand {
    func runJob() throws {
        try checkJobCommandLine()
        let folder = try OutputFolder(absolute(outputDir))
        if folder.contents != .noRun, resume == "auto" {
            var changes = RunChanges(nIter: nIter, learnRate: nil, texts: nil, vectorsModel: nil)
            changes.conflicts = { run in
                let given = model.precision.flatMap { $0 == run.precision ? nil : "--precision \($0.rawValue)" }
                return [given].compactMap { $0 } + optimizer.conflicts(with: run)
            }
            return try resumeRun(folder, carry: carry, changes)
        }
        let progress = carry.progress
        let options = try jobOptions(progress)
        guard folder.contents == .noRun || overwrite else {
            throw InputError(
                "the output folder holds a run", at: options.outputDir,
                remedy: "resume with `t2v-coordinator resume \(outputDir)`, or give --overwrite or another folder")
        }
        try carryOut(options, folder, checkpoint: nil, progress: progress)
    }

    private func checkJobCommandLine() throws(InputError) {
        guard !outputDir.isEmpty else { throw InputError("OUTPUT_DIR is empty", at: "", remedy: "name a folder for the weights") }
        guard !jobTexts.contains("") else {
            throw InputError("a text's path is empty", at: "", remedy: "name a file, or - for standard input")
        }
        guard jobTexts.count(where: { $0 == "-" }) <= 1 else {
            throw InputError("standard input is among the texts twice", at: "", remedy: "give - once")
        }
        guard resume == nil || resume == "auto" else {
            throw InputError("--resume is \(resume ?? "")", at: "", remedy: "say --resume auto, or use `t2v-coordinator resume OUTPUT_DIR`")
        }
        guard resume == nil || !overwrite else {
            throw InputError("--resume auto and --overwrite cannot be combined", at: "", remedy: "give one of them")
        }
        try requireEpochs(nIter)
        var given = model.givenBesidesLanes + optimizer.given + evaluation.given
        if nSaveEvery != nil { given.append("--n-save-every") }
        if initTok2vec != nil { given.append("--init-tok2vec") }
        if epochStart != nil { given.append("--epoch-start") }
        if initCheckpoint != nil { given.append("--init-checkpoint") }
        guard given.isEmpty else {
            throw InputError(
                "\(given.joined(separator: ", ")) with --job: the job already sets this", at: "",
                remedy: "leave the option out; set it in the config and compile it again")
        }
    }

    /// Options from the job; only those of the machine come from the command line.
    private func jobOptions(_ progress: ProgressDisplay) throws(InputError) -> RunOptions {
        let job = try CompiledJob(folder: absolute(self.job ?? ""))
        try job.requireBuilt()
        let texts = jobTexts.isEmpty ? job.files.sources : jobTexts
        guard !texts.isEmpty else {
            throw InputError("no texts: neither the job nor the command line names any", at: job.folder, remedy: "give TEXTS")
        }
        var options = RunOptions(
            textsLoc: texts.count == 1 && texts[0] == "-" ? "-" : texts.map { $0 == "-" ? $0 : absolute($0) }.joined(separator: ", "),
            vectorsModel: job.files.vectors ?? "", outputDir: absolute(outputDir), settings: job.settings)
        options.job = job.folder
        options.texts = texts.map { $0 == "-" ? $0 : absolute($0) }
        if let lanes = model.lanes { options.settings.lanes = lanes }
        if let wirePrecision = model.wirePrecision { options.settings.wirePrecision = wirePrecision }
        apply(to: &options)
        options.nIter = nIter ?? job.training.maxEpochs
        options.nSaveEvery = job.training.saveEvery
        options.epochStart = job.training.epochStart
        options.heldOut = job.training.heldOut > 0 ? job.training.heldOut : nil
        (options.evaluateEvery, options.keepModels) = (job.training.evaluateEvery, job.training.keepModels)
        options.patience = job.training.patience > 0 ? job.training.patience : nil
        try carry.apply(to: &options)
        for note in carry.place(&options, lanes: model.lanes ?? job.training.lanes, remembered: nil) { progress.say(note) }
        try CarryOptions.validatePlacement(options)
        return options
    }
}

extension ModelOptions {
    /// The given options that say what is trained.
    var givenBesidesLanes: [String] {
        let all: [(String, Bool)] = [
            ("--width", width != nil), ("--conv-depth", depth != nil), ("--cnn-pieces", pieces != nil), ("--embed-rows", rows != nil),
            ("--loss-func", loss != nil), ("--use-vectors", useVectors), ("--dropout", dropout != nil), ("--batch-size", batchSize != nil),
            ("--max-length", maxLength != nil), ("--min-length", minLength != nil), ("--seed", seed != nil),
            ("--mask-prob", maskProb != nil), ("--oov-targets", oovTargets != nil), ("--cnn-window", window != nil),
            ("--sa-depth", attentionDepth != nil), ("--bilstm-depth", recurrentDepth != nil), ("--use-chars", useChars),
        ]
        return all.filter(\.1).map(\.0)
    }
}

extension OptimizerOptions {
    /// The options that were given.
    var given: [String] {
        let all: [(String, Bool)] = [
            ("--learn-rate", learnRate != nil), ("--beta1", beta1 != nil), ("--beta2", beta2 != nil), ("--eps", eps != nil),
            ("--l2", l2 != nil), ("--grad-clip", gradClip != nil),
        ]
        return all.filter(\.1).map(\.0)
    }
}
