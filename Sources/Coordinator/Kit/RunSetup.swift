// From options to a run that can start. In: options, perhaps a checkpoint. Out: model, corpus, keys, cached shards; every fault of the
// input.
import Base
import FoundationEssentials
import Logging
import Numerics
import Protocol
import Run
import Text

/// What is fixed before the first worker is greeted.
package final class RunSetup {
    let options: RunOptions
    let folder: OutputFolder
    let checkpoint: Checkpoint?
    let model: VectorsModel
    let vectors: VectorTable
    let textsPath: String
    /// Texts that the output folder is to keep.
    private let spool: UnnamedFile?
    let index: CorpusIndex
    let lanes: [[Int]]
    /// Lane of each shard.
    let laneOfShard: [Int]
    /// Cache key of each shard.
    let keys: [CacheKey]
    let cache: PreparedCache
    let initial: InitialWeights?
    /// What is trained: the checkpoint's, or what the options say.
    let spec: ModelSpec
    let schema: FeatureSchema

    /// - Throws: `InputError` for everything that can be wrong with what the user gave.
    package init(_ options: RunOptions, folder: OutputFolder, checkpoint: Checkpoint?, progress: ProgressDisplay) throws {
        var options = options
        self.folder = folder
        self.checkpoint = checkpoint
        model = try VectorsModel(folder: options.vectorsModel)
        guard let vectors = model.vectors, vectors.rows > 0 else {
            throw InputError(
                "the model has no vectors", at: options.vectorsModel,
                remedy: "give a model with word vectors (en_vectors_web_lg, or one made with `spacy init-model`)")
        }
        self.vectors = vectors
        options.settings.vectorWidth = vectors.width
        options.settings.vectorRows = vectors.rows
        try options.settings.validate()
        try MemoryBudget.ofThisHost().require(parameters: ParameterLayout(spec: .spacy2(options.settings)).count)
        self.options = options
        initial = try Self.initialWeights(options, isResuming: checkpoint != nil)
        spec = checkpoint?.spec ?? .spacy2(options.settings, seeds: initial?.seeds ?? EmbeddingSeeds())
        progress.say("vectors: \(options.vectorsModel), \(vectors.rows) rows of \(vectors.width), \(Self.release(model.symbols.rawValue))")
        if checkpoint == nil { try folder.requireRoom(for: [Self.configName]) }
        (textsPath, spool) = try TextSource.path(options.textsLoc, folder: folder, resuming: checkpoint != nil)
        index = try CorpusIndex(path: textsPath, lanes: options.settings.lanes)
        lanes = index.lanes(options.settings.lanes)
        var laneOfShard = [Int](repeating: 0, count: index.shards.count)
        for (lane, shards) in lanes.enumerated() { for shard in shards { laneOfShard[shard] = lane } }
        self.laneOfShard = laneOfShard
        let schema = spec.schema
        self.schema = schema
        let (digest, settings) = (model.digest, options.settings)
        keys = index.shards.map {
            PreparedCache.key(
                text: $0.digest, modelDigest: digest, schema: schema, minLength: settings.minLength, maxLength: settings.maxLength)
        }
        cache =
            try options.cache.map { folder throws(InputError) in try PreparedCache(folder: folder) }
            ?? PreparedCache.standard(fallback: "\(folder.path)/t2v/cache")
        if let state = checkpoint?.state { try Self.compare(state, index.digest, model, options) }
    }

    private static func initialWeights(_ options: RunOptions, isResuming: Bool) throws -> InitialWeights? {
        guard !isResuming else { return nil }
        if let path = options.initTok2vec { return try InitialWeights.tok2vec(path: path, settings: options.settings) }
        if let path = options.initCheckpoint { return try InitialWeights.checkpoint(path: path, settings: options.settings) }
        return nil
    }

    /// "spacy23" as people write it: spaCy 2.3.
    private static func release(_ symbols: String) -> String {
        let digits = symbols.filter(\.isNumber)
        return digits.count < 2 ? symbols : "spaCy \(digits.prefix(1)).\(digits.dropFirst())"
    }

    /// spaCy's name for a run's options.
    private static let configName = "config.json"

    /// The output folder is entered when every input is known to be good. `commit` comes when the first checkpoint is on disk.
    func begin() throws(InputError) {
        try folder.begin(files: [(Self.configName, Array((try options.encoded() + "\n").utf8))], spool: spool)
    }

    func commit() throws(InputError) { try folder.commit(run: Array((try options.encoded() + "\n").utf8)) }

    /// - Returns: the length of the log that is kept.
    func resume(_ state: CheckpointState) throws(InputError) -> Int {
        try folder.resume(run: Array((try options.encoded() + "\n").utf8), spool: spool, logByteCount: state.logByteCount)
    }

    private static func compare(_ state: CheckpointState, _ corpus: String, _ model: VectorsModel, _ options: RunOptions) throws {
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
            modelFiles: model.bundleFiles.map { fileSize($0.path) }, texts: index.shards.map { UInt64($0.byteCount) },
            vectorRows: vectors.rows, bytesPerRow: vectors.width * MemoryLayout<Float>.size)
    }

    /// What workers are told.
    var description: RunDescription {
        let files = model.bundleFiles.map { file in
            RunDescription.File(name: file.name, byteCount: fileSize(file.path))
        }
        return RunDescription(
            settings: options.settings, spec: spec, modelFiles: files, modelDigest: model.digest,
            local: .init(vectorsModel: options.vectorsModel, cache: cache.folder))
    }

    private func fileSize(_ path: String) -> UInt64 {
        (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? UInt64 ?? 0
    }

    /// Names the corpus line of a worker's complaint.
    func place(shard: UInt32, line: Int64) -> String {
        let texts = options.textsLoc == "-" ? "standard input" : options.textsLoc
        return line < 0 ? texts : "\(texts):\(index.shards[Int(shard)].firstLine + Int(line) + 1)"
    }
}
