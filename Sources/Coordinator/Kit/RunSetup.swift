// From options to a run that can start. In: options, perhaps a checkpoint. Out: model, corpus, keys, cached shards; or any fault of the
// input.
import Base
import CLinux
import Formats
import FoundationEssentials
import Glibc
import Logging
import Model
import Output
import Protocol
import Run
import Shards
import Text

/// What is fixed before the first worker is greeted.
package final class RunSetup {
    private(set) var options: RunOptions
    let folder: OutputFolder
    let checkpoint: Checkpoint?
    /// The compiled config of spaCy 3; nil: spaCy 2's options.
    let job: CompiledJob?
    /// The weights file from which a job's files are made.
    let template: WeightsTemplate?
    let model: VectorsModel
    /// Nil if a job needs none.
    let vectors: VectorTable?
    /// The corpus's files.
    let textPaths: [String]
    /// Texts to keep in the output folder.
    private let spool: UnnamedFile?
    let index: CorpusIndex
    let lanes: Numbered<LaneID, [ShardID]>
    /// Lane of each shard.
    let laneOfShard: Numbered<ShardID, LaneID>
    /// Cache key of each shard.
    let keys: Numbered<ShardID, CacheKey>
    let cache: PreparedCache
    let initial: InitialWeights?
    /// What is trained: the checkpoint's model, or the one that the options give.
    let spec: ModelSpec
    let schema: FeatureSchema
    /// Identifies the job in checkpoints.
    let jobDigest: String?

    /// - Throws: `InputError` for anything that can be wrong with the user's input.
    package init(_ options: RunOptions, folder: OutputFolder, checkpoint: Checkpoint?, progress: ProgressDisplay) throws {
        var options = options
        self.folder = folder
        self.checkpoint = checkpoint
        let job = try options.job.map { path throws(InputError) in try CompiledJob(folder: path) }
        self.job = job
        model = try Self.model(options, job)
        vectors = model.vectors
        options.settings.vectorWidth = vectors?.width ?? 1
        options.settings.vectorRows = vectors?.rows ?? 1
        try options.settings.validate()
        let fresh = job?.spec ?? .spacy2(options.settings)
        let layout = ParameterLayout(spec: fresh)
        try MemoryBudget.ofThisHost().require(parameters: layout.count)
        self.options = options
        template = try job.map { job throws(InputError) in try job.template(layout: layout) }
        initial = try Self.initialWeights(options, job, template, isResuming: checkpoint != nil)
        spec = Self.spec(options, job, checkpoint, seeds: initial?.seeds)
        try spec.arithmetic.checkHost()
        for line in Self.introduction(options, job, model, spec) { progress.say(line) }
        if options.workers > 0, let warning = spec.arithmetic.warning { progress.warn(warning) }
        if checkpoint == nil, let warning = options.scalingWarning(spec.objective) { progress.warn(warning) }
        if checkpoint == nil { try folder.requireRoom(for: [Self.configName(job)]) }
        let format = job?.text.corpusFormat ?? .jsonl
        (textPaths, spool) = try TextSource.paths(
            options.texts ?? [options.textsLoc], format: format, folder: folder, resuming: checkpoint != nil)
        index = try CorpusIndex(paths: textPaths, format: format, limit: job?.training.limit ?? 0, lanes: options.settings.lanes)
        lanes = index.lanes(options.settings.lanes)
        var laneOfShard = Numbered<ShardID, LaneID>(repeatElement(0, count: index.shards.count))
        for (lane, shards) in zip(lanes.indices, lanes) { for shard in shards { laneOfShard[shard] = lane } }
        self.laneOfShard = laneOfShard
        let schema = spec.schema
        self.schema = schema
        let (digest, settings) = (model.digest, options.settings)
        keys = Numbered(
            index.shards.map {
                PreparedCache.key(
                    text: $0.digest, modelDigest: digest, schema: schema, minLength: settings.minLength, maxLength: settings.maxLength)
            })
        cache =
            try options.cache.map { folder throws(InputError) in try PreparedCache(folder: folder) }
            ?? PreparedCache.standard(fallback: "\(folder.path)/t2v/cache")
        jobDigest = try job?.digest()
        if let state = checkpoint?.state { try Self.compare(state, index.digest, model, options, jobDigest) }
    }

    private static func model(_ options: RunOptions, _ job: CompiledJob?) throws(InputError) -> VectorsModel {
        if let job { return try VectorsModel(job.textFiles, text: job.text) }
        let model = try VectorsModel(folder: options.vectorsModel)
        guard let vectors = model.vectors, vectors.rows > 0 else {
            throw InputError(
                "the model has no vectors", at: options.vectorsModel,
                remedy: "give a model with word vectors (en_vectors_web_lg, or one made with `spacy init-model`)")
        }
        return model
    }

    /// What is trained. A resumed run may have been given another learning rate; otherwise rate and precision are the checkpoint's.
    private static func spec(_ options: RunOptions, _ job: CompiledJob?, _ checkpoint: Checkpoint?, seeds: [UInt32]?) -> ModelSpec {
        var spec = checkpoint?.spec ?? job?.spec ?? .spacy2(options.settings, seeds: seeds)
        if checkpoint == nil, let precision = options.precision {
            spec.arithmetic = precision == .bf16 ? .bf16 : job?.float32Arithmetic ?? spec.arithmetic
        }
        let factor = options.learnRateFactor
        if job == nil {
            spec.optimizer.learnRate = .constant(options.settings.optimizer.learnRate * factor)
        } else if let rate = options.learnRate {
            spec.optimizer.learnRate = .constant(rate * factor)
        } else if checkpoint == nil {
            spec.optimizer.learnRate = spec.optimizer.learnRate.times(factor)
        }
        return spec
    }

    /// The first lines for the user.
    private static func introduction(_ options: RunOptions, _ job: CompiledJob?, _ model: VectorsModel, _ spec: ModelSpec)
        -> [String]
    {
        var numbers: [String] = []
        if spec.arithmetic == .bf16 { numbers.append("matrix products in bf16, sums in float32") }
        if options.scaleLearnRate == true {
            numbers.append(
                "learning rate times \(options.learnRateFactor.fixed(3)): the square root of \(options.settings.batchSize) / "
                    + "\(RunOptions.unscaledWords) words of an update")
        }
        let table = model.vectors.map { "\($0.rows) rows of \($0.width)" } ?? "none"
        guard let job else { return ["vectors: \(options.vectorsModel), \(table), \(release(model.symbols.rawValue))"] + numbers }
        let vectors = job.files.vectors.map { "vectors: \($0), \(table)" }
        let path = job.text.path == .fast ? "t2v tokenizes" : "Python has tokenized"
        return ["job: \(job.folder), spaCy \(job.spacyVersion); \(path)\(job.why.isEmpty ? "" : ": \(job.why)")"]
            + [vectors].compactMap { $0 } + numbers
    }

    private static func initialWeights(
        _ options: RunOptions, _ job: CompiledJob?, _ template: WeightsTemplate?, isResuming: Bool
    ) throws -> InitialWeights? {
        guard !isResuming else { return nil }
        if let job, let template { return InitialWeights(tensors: template.tensors + (try job.head()), seeds: nil) }
        if let path = options.initTok2vec { return try InitialWeights.tok2vec(path: path, settings: options.settings) }
        if let path = options.initCheckpoint { return try InitialWeights.checkpoint(path: path, settings: options.settings) }
        return nil
    }

    /// "spacy23" as people write it: spaCy 2.3.
    private static func release(_ symbols: String) -> String {
        let digits = symbols.filter(\.isNumber)
        return digits.count < 2 ? symbols : "spaCy \(digits.prefix(1)).\(digits.dropFirst())"
    }

    /// spaCy's name for a run's options: 2.x, 3.x.
    private static func configName(_ job: CompiledJob?) -> String { job == nil ? "config.json" : "config.cfg" }

    /// Nothing can be held out of these texts: the run has no held-out documents.
    func holdNothingOut() { options.heldOut = nil }

    /// Begins the run in the output folder, once every input is known to be good. `commit` follows when the first checkpoint is on disk.
    func begin() throws(InputError) {
        var config = Array((try options.encoded() + "\n").utf8)
        if let job {
            let file = try MappedFile(job.files.config)
            config = withExtendedLifetime(file) { Array(file.bytes) }
        }
        try folder.begin(files: [(Self.configName(job), config)], spool: spool)
    }

    func commit() throws(InputError) {
        var options = options
        if let place = try settleJob() { options.job = place }
        try folder.commit(run: Array((try options.encoded() + "\n").utf8))
    }

    /// A job that was compiled beside the job of the run that it replaces takes its place. A link keeps the old paths valid for workers
    /// that have them.
    /// - Returns: where the job is now, if it moved.
    private func settleJob() throws(InputError) -> String? {
        let (new, settled) = ("\(folder.path)/t2v/job.new", "\(folder.path)/t2v/job")
        guard let job, job.folder == new else { return nil }
        try? FileManager.default.removeItem(atPath: settled)
        guard rename(new, settled) == 0, symlink("job", new) == 0 else {
            throw InputError(
                "cannot rename the job: \(String(cString: strerror(errno)))", at: new, remedy: "check the folder's permissions")
        }
        return settled
    }

    /// - Returns: the length of the log that is kept.
    func resume(_ state: CheckpointState) throws(InputError) -> Int {
        try folder.resume(run: Array((try options.encoded() + "\n").utf8), spool: spool, logByteCount: state.logByteCount)
    }

    private static func compare(
        _ state: CheckpointState, _ corpus: String, _ model: VectorsModel, _ options: RunOptions, _ jobDigest: String?
    ) throws {
        guard state.extra["job"] == jobDigest else {
            throw InputError(
                "the job is not the one the run was started with", at: options.job ?? options.outputDir,
                remedy: "put the original job folder back, or start a new run")
        }
        guard state.lanes == options.settings.lanes, state.seed == options.settings.seed else {
            throw InputError(
                "t2v/run.json does not belong to the run's checkpoints: other lanes or another seed", at: options.outputDir,
                remedy: "put the original file back")
        }
        guard state.corpusHash == corpus else {
            throw InputError(
                "the texts are not those the run was started with", at: options.textsLoc,
                remedy: "put the original file back, or start a new run with --init-checkpoint")
        }
        guard state.vectorsHash == model.vectorsDigest, state.extra["model"] == model.digest else {
            throw InputError(
                "the vectors model is not the one the run was started with", at: options.vectorsModel,
                remedy: "put the original model back, or start a new run with --init-checkpoint")
        }
    }

    /// What workers may fetch, before anything is prepared.
    var artifacts: ArtifactServer {
        ArtifactServer(
            modelFiles: model.bundleFiles.map { fileSize($0.path) ?? 0 }, texts: index.shards.map { UInt64($0.byteCount) },
            vectorRows: vectors?.rows ?? 0, bytesPerRow: (vectors?.width ?? 0) * MemoryLayout<Float>.size)
    }

    /// What workers are told.
    var description: RunDescription {
        let files = model.bundleFiles.map { file in
            RunDescription.File(name: file.name, byteCount: fileSize(file.path) ?? 0)
        }
        var description = RunDescription(
            settings: options.settings, spec: spec, modelFiles: files, modelDigest: model.digest,
            local: .init(vectorsModel: options.vectorsModel, cache: cache.folder))
        description.text = job?.text
        description.local?.text = job?.textFiles
        return description
    }

    /// Names the corpus line that a worker complains about.
    func place(shard: ShardID, line: Int64) -> String {
        let texts = options.textsLoc == "-" ? "standard input" : options.textsLoc
        guard line >= 0 else { return texts }
        let (file, number) = index.place(shard: shard, line: Int(line))
        if job?.text.path == .pieces { return "\(texts), document \(index.shards[shard].firstLine + Int(line))" }
        return "\(textPaths.count > 1 ? textPaths[file] : texts):\(number)"
    }
}
