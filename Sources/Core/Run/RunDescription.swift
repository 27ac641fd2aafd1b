// What a worker must know of a run. In: settings, model, plan. Out: JSON that travels in the welcome, and the plan that is fetched.
import Base
import FoundationEssentials
import Numerics
import Text

/// The run as the welcome tells it: enough to prepare shards and to set up the model.
public struct RunDescription: Codable, Sendable {
    /// A file of the vectors model that tokenizing needs.
    public struct File: Codable, Sendable, Equatable {
        public var name: String
        public var byteCount: UInt64

        public init(name: String, byteCount: UInt64) {
            self.name = name
            self.byteCount = byteCount
        }
    }

    /// Where workers on the coordinator's own host find things without asking for them.
    public struct LocalPaths: Codable, Sendable, Equatable {
        public var vectorsModel: String
        public var cache: String

        public init(vectorsModel: String, cache: String) {
            self.vectorsModel = vectorsModel
            self.cache = cache
        }
    }

    public var settings: TrainingSettings
    /// What is trained.
    public var spec: ModelSpec
    public var modelFiles: [File]
    /// Names the model's tokenizing files in a cache.
    public var modelDigest: String
    public var local: LocalPaths?

    public init(
        settings: TrainingSettings, spec: ModelSpec, modelFiles: [File], modelDigest: String, local: LocalPaths? = nil
    ) {
        self.settings = settings
        self.spec = spec
        self.modelFiles = modelFiles
        self.modelDigest = modelDigest
        self.local = local
    }

    public func encoded() -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// - Throws: `InputError` when the text is no description or its settings are out of range.
    public static func decode(_ text: String) throws(InputError) -> RunDescription {
        guard let description = try? JSONDecoder().decode(RunDescription.self, from: Data(text.utf8)) else {
            throw InputError("the run's description cannot be read", at: "welcome", remedy: "install the same t2v on both hosts")
        }
        try description.settings.validate()
        try description.spec.validate(place: "welcome")
        for file in description.modelFiles {
            // Names become paths below the worker's cache.
            guard !file.name.isEmpty, !file.name.hasPrefix("/"), !file.name.split(separator: "/").contains("..") else {
                throw InputError("the run's description names a file outside its folder", at: file.name, remedy: "check the coordinator")
            }
        }
        guard description.modelDigest.allSatisfy({ $0.isHexDigit }), description.modelDigest.count <= 64 else {
            throw InputError("the run's description has no proper model digest", at: "welcome", remedy: "check the coordinator")
        }
        return description
    }
}

/// What is known once every shard is prepared: fetched by each worker.
public struct RunPlan: Codable, Sendable {
    public struct PlannedShard: Codable, Sendable, Equatable {
        public var lane: Int
        /// Number of its first line in the corpus: documents are named by their line.
        public var firstLine: UInt64
        /// Cache key of the prepared shard, hexadecimal.
        public var key: String
        /// Bytes of the prepared shard.
        public var byteCount: UInt64
        /// SHA-256 of the prepared shard, hexadecimal.
        public var digest: String

        public init(lane: Int, firstLine: UInt64, key: String, byteCount: UInt64, digest: String) {
            self.lane = lane
            self.firstLine = firstLine
            self.key = key
            self.byteCount = byteCount
            self.digest = digest
        }
    }

    public var updates: UpdatePlan
    public var shards: [PlannedShard]
    /// The random words as `WordFigures`.
    public var randomWordFigures: [UInt64]
    /// The same of the literal word `[MASK]`, with count 0.
    public var maskWordFigures: [UInt64]

    public init(updates: UpdatePlan, shards: [PlannedShard], randomWords: RandomWordTable, maskWord: WordFeatures) {
        self.updates = updates
        self.shards = shards
        randomWordFigures = randomWords.figures
        var mask = WordFigures()
        mask.append(maskWord, count: 0)
        maskWordFigures = mask.figures
    }

    /// The random words and the word `[MASK]`.
    /// - Throws: `InputError` when the figures are of another schema.
    public func words(schema: FeatureSchema) throws(InputError) -> (random: RandomWordTable, mask: WordFeatures) {
        guard let random = RandomWordTable(figures: randomWordFigures, schema: schema),
            let mask = WordFigures.decode(maskWordFigures, schema: schema), let word = mask.first?.word, mask.count == 1
        else { throw InputError("the run's plan has words of other columns", at: "plan", remedy: "install the same t2v on both hosts") }
        return (random, word)
    }

    public func encoded() -> [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    /// - Throws: `InputError` when the bytes are no plan for that many lanes.
    public static func decode(_ bytes: [UInt8], lanes: Int) throws(InputError) -> RunPlan {
        guard let plan = try? JSONDecoder().decode(RunPlan.self, from: Data(bytes)), plan.updates.laneWords.count == lanes,
            plan.updates.updatesPerEpoch > 0,
            plan.shards.allSatisfy({ (0..<lanes).contains($0.lane) })
        else { throw InputError("the run's plan cannot be read", at: "plan", remedy: "install the same t2v on both hosts") }
        guard plan.shards.allSatisfy({ $0.key.count == 64 && $0.key.allSatisfy(\.isHexDigit) }) else {
            throw InputError("the run's plan has a shard without a proper key", at: "plan", remedy: "check the coordinator")
        }
        return plan
    }

    /// Shard numbers of a lane, in the corpus's order.
    public func shards(ofLane lane: Int) -> [Int] { shards.indices.filter { shards[$0].lane == lane } }
}

extension TrainingSettings {
    /// - Throws: `InputError` that names the option whose value no run can have.
    public func validate() throws(InputError) {
        func require(_ good: Bool, _ option: String, _ found: Any, _ expected: String) throws(InputError) {
            guard good else { throw InputError("\(option) is \(found)", at: "", remedy: "give \(expected)") }
        }
        try require((1...4096).contains(width), "--width", width, "1 to 4096")
        try require((1...64).contains(depth), "--conv-depth", depth, "1 to 64")
        try require((1...16).contains(pieces), "--cnn-pieces", pieces, "1 to 16")
        try require((2...100_000_000).contains(rows), "--embed-rows", rows, "2 to 100000000")
        try require(dropout >= 0 && dropout < 1, "--dropout", dropout, "a rate in [0, 1)")
        try require((1...1_000_000_000).contains(batchSize), "--batch-size", batchSize, "1 to 1000000000 words an update")
        try require((1...1_000_000).contains(minLength), "--min-length", minLength, "1 to 1000000 tokens")
        try require(
            maxLength > minLength && maxLength <= 1_000_000, "--max-length", maxLength,
            "more than --min-length (\(minLength)), at most 1000000 tokens: documents with min <= tokens < max are kept")
        try require((1...ReductionTree.maximumLanes).contains(lanes), "--lanes", lanes, "1 to \(ReductionTree.maximumLanes)")
        try require(maskProbability >= 0 && maskProbability <= 1, "--mask-prob", maskProbability, "a probability from 0 to 1")
        try require(vectorWidth > 0 && vectorWidth <= 65536, "the vectors' width", vectorWidth, "a vectors model of 1 to 65536 dimensions")
        try require(vectorRows > 0, "the number of vectors", vectorRows, "a vectors model that has vectors")
        try require(
            optimizer.learnRate > 0 && optimizer.learnRate.isFinite, "learn_rate", optimizer.learnRate, "a learning rate above 0")
    }
}
