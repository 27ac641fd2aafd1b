// One run on this worker. In: the description, the plan. Out: model, layout, vectors, open lanes.
import Base
import FoundationEssentials
import Model
import Numerics
import Run
import Shards
import Text

/// A run that this worker has joined. Made again with every welcome; expensive parts are kept if the run is the same.
final class RunContext: @unchecked Sendable {
    let run: UInt64
    let description: RunDescription
    let layout: ParameterLayout
    let coding: GradientCoding
    let parameterCoding: ParameterCoding
    let gradients: GradientPool
    /// Of all compute threads.
    let packed = PackedWeightsStore()
    let cache: PreparedCache
    /// Where the model's tokenizing files are: the coordinator's folder on its own host, else below the cache.
    let modelFolder: String
    let isLocal: Bool
    let schema: FeatureSchema
    var plan: RunPlan?
    /// The plan's random words, and `[MASK]`.
    var words: (random: RandomWordTable, mask: WordFeatures)?
    var vectors: (any VectorRows)?
    private let lock = ThreadLock()
    private var sharedModel: VectorsModel?

    init(run: UInt64, description: RunDescription, cache: PreparedCache, isLocal: Bool) {
        self.run = run
        self.description = description
        self.cache = cache
        self.isLocal = isLocal
        schema = description.spec.schema
        layout = ParameterLayout(spec: description.spec)
        coding = GradientCoding(layout: layout, precision: description.settings.wirePrecision)
        parameterCoding = ParameterCoding(count: layout.count, precision: description.settings.wirePrecision)
        gradients = GradientPool(coding: coding)
        modelFolder = isLocal ? description.local?.vectorsModel ?? "" : "\(cache.folder)/models/\(description.modelDigest)"
    }

    /// Model files that are missing here.
    func missingModelFiles() -> [(index: UInt32, path: String, byteCount: UInt64)] {
        guard !isLocal else { return [] }
        return description.modelFiles.enumerated().compactMap { index, file in
            let path = "\(modelFolder)/\(file.name)"
            return fileSize(path) == file.byteCount ? nil : (UInt32(index), path, file.byteCount)
        }
    }

    /// The vectors model, opened once for all threads.
    func model() throws(InputError) -> VectorsModel {
        lock.lock()
        defer { lock.unlock() }
        if let sharedModel { return sharedModel }
        let model = try openModel()
        guard model.digest == description.modelDigest else {
            if !isLocal { try? FileManager.default.removeItem(atPath: modelFolder) }
            throw InputError(
                "the vectors model on this host is not the coordinator's", at: modelFolder,
                remedy: isLocal ? "do not change the model while a run is on" : "the cached copy was removed; the worker fetches it again")
        }
        sharedModel = model
        return model
    }

    private func openModel() throws(InputError) -> VectorsModel {
        guard let text = description.text else {
            return isLocal ? try VectorsModel(folder: modelFolder) : try VectorsModel(bundle: modelFolder)
        }
        if isLocal, let files = description.local?.text { return try VectorsModel(files, text: text) }
        return try VectorsModel(bundle: modelFolder, text: text)
    }

    /// The vector rows that a set of shards needs.
    func neededRows(_ shards: [PreparedShard], _ plan: RunPlan) -> Set<UInt32> {
        let settings = description.settings
        guard description.spec.vectorWidth != nil else { return [] }
        var rows: Set<UInt32> = [0, UInt32(max(1, settings.vectorRows) - 1)]
        for shard in shards {
            for index in 0..<shard.wordCount where shard.counts[index] > 0 {
                for place in shard.words.rowStarts[index]..<shard.words.rowStarts[index + 1] { rows.insert(shard.words.rows[Int(place)]) }
            }
        }
        if description.spec.vectorsInput != nil, let words {
            for word in words.random.words + [words.mask] { rows.formUnion(word.rows) }
        }
        return rows
    }
}
