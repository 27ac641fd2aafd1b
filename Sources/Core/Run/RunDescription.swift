// What a worker must know of a run. In: settings, model, plan. Out: JSON that travels in the welcome, and the plan that is fetched.
import Base
import Foundation
import Numerics
import Protocol
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
    public var seeds: EmbeddingSeeds
    public var modelFiles: [File]
    /// Names the model's tokenizing files in a cache.
    public var modelDigest: String
    public var local: LocalPaths?

    public init(
        settings: TrainingSettings, seeds: EmbeddingSeeds, modelFiles: [File], modelDigest: String, local: LocalPaths? = nil
    ) {
        self.settings = settings
        self.seeds = seeds
        self.modelFiles = modelFiles
        self.modelDigest = modelDigest
        self.local = local
    }

    /// - Throws: `InputError` when the settings cannot be written as JSON, which has no infinity.
    public func encoded() throws(InputError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do { return String(decoding: try encoder.encode(self), as: UTF8.self) } catch {
            throw InputError("the run's description cannot be encoded: \(error)", at: "settings", remedy: "check the settings")
        }
    }

    /// Most files of a vectors model that tokenizing needs, and bytes of one.
    private static let (mostFiles, mostFileBytes) = (64, UInt64(1) << 40)

    /// - Throws: `InputError` when the text is no description or its settings are out of range.
    public static func decode(_ text: String) throws(InputError) -> RunDescription {
        guard let description = try? JSONDecoder().decode(RunDescription.self, from: Data(text.utf8)) else {
            throw InputError("the run's description cannot be read", at: "welcome", remedy: "install the same t2v on both hosts")
        }
        try description.settings.validate()
        for file in description.modelFiles {
            // Names become paths below the worker's cache.
            guard !file.name.isEmpty, !file.name.hasPrefix("/"), !file.name.split(separator: "/").contains(".."),
                !file.name.utf8.contains(0)
            else {
                throw InputError("the run's description names a file outside its folder", at: file.name, remedy: "check the coordinator")
            }
            guard file.byteCount <= mostFileBytes else {
                throw InputError("the run's description has a file of \(file.byteCount) bytes", at: file.name, remedy: "check the coordinator")
            }
        }
        guard description.modelFiles.count <= mostFiles, Set(description.modelFiles.map(\.name)).count == description.modelFiles.count else {
            throw InputError("the run's description has too many files or one twice", at: "welcome", remedy: "check the coordinator")
        }
        guard let digest = Array(hex: description.modelDigest), (1...32).contains(digest.count) else {
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
        public var key: CacheKey
        /// Bytes of the prepared shard.
        public var byteCount: UInt64
        public var digest: ShardDigest

        public init(lane: Int, firstLine: UInt64, key: CacheKey, byteCount: UInt64, digest: ShardDigest) {
            self.lane = lane
            self.firstLine = firstLine
            self.key = key
            self.byteCount = byteCount
            self.digest = digest
        }
    }

    public var updates: UpdatePlan
    public var shards: [PlannedShard]
    /// Seven numbers a word: orth, norm, prefix, suffix, shape, row (as two's complement), count.
    public var randomWordFigures: [UInt64]
    /// The same of the literal word `[MASK]`, with count 0.
    public var maskWordFigures: [UInt64]

    public init(updates: UpdatePlan, shards: [PlannedShard], randomWords: RandomWordTable, maskWord: WordFeatures) {
        self.updates = updates
        self.shards = shards
        randomWordFigures = zip(randomWords.words, randomWords.counts).flatMap { $0.figures(count: $1) }
        maskWordFigures = maskWord.figures(count: 0)
    }

    public var randomWords: RandomWordTable { RandomWordTable(figures: randomWordFigures) }
    public var maskWord: WordFeatures { WordFeatures(figures: maskWordFigures[...]) }

    /// - Throws: `InputError` when there is no JSON for it.
    public func encoded() throws(InputError) -> [UInt8] {
        do { return Array(try JSONEncoder().encode(self)) } catch {
            throw InputError("the run's plan cannot be encoded: \(error)", at: "plan", remedy: "check the settings")
        }
    }

    /// - Throws: `InputError` when the bytes are no plan of a run with these settings. What passes can be computed with: no sum overflows,
    ///   no division is by zero, no index leaves its table.
    public static func decode(_ bytes: [UInt8], settings: TrainingSettings) throws(InputError) -> RunPlan {
        func refuse(_ what: String) -> InputError {
            InputError("the run's plan cannot be used: \(what)", at: "plan", remedy: "install the same t2v on both hosts")
        }
        let plan: RunPlan
        do { plan = try JSONDecoder().decode(RunPlan.self, from: Data(bytes)) } catch { throw refuse("\(error)") }
        try plan.updates.validate(settings)
        var nextLine: UInt64 = 0
        for (index, shard) in plan.shards.enumerated() {
            guard (0..<settings.lanes).contains(shard.lane) else { throw refuse("shard \(index) is in lane \(shard.lane)") }
            guard shard.firstLine >= nextLine, shard.firstLine < mostLines else { throw refuse("shard \(index) begins before its place") }
            guard (1...RunBounds.mostPreparedBytes(WireLimits.shardText)).contains(shard.byteCount) else {
                throw refuse("shard \(index) has \(shard.byteCount) bytes")
            }
            nextLine = shard.firstLine + 1
        }
        guard plan.maskWordFigures.count == 7, plan.randomWordFigures.count % 7 == 0,
            plan.randomWordFigures.count / 7 <= RandomWordTable.limit
        else { throw refuse("its tables of words have other sizes") }
        var total: UInt64 = 0
        for start in stride(from: 0, to: plan.randomWordFigures.count, by: 7) {
            let (sum, overflow) = total.addingReportingOverflow(plan.randomWordFigures[start + 6])
            guard !overflow else { throw refuse("its words are counted beyond all numbers") }
            total = sum
        }
        for start in stride(from: 5, to: plan.randomWordFigures.count, by: 7) {
            guard plan.isRow(plan.randomWordFigures[start], settings) else { throw refuse("a random word's vector is row \(start)") }
        }
        guard plan.isRow(plan.maskWordFigures[5], settings) else { throw refuse("[MASK] has a vector that is none") }
        return plan
    }

    /// Lines of a corpus are counted below this.
    private static let mostLines: UInt64 = 1 << 53

    /// Whether a figure is -1, for no vector, or a row of the vectors.
    private func isRow(_ figure: UInt64, _ settings: TrainingSettings) -> Bool {
        (-1..<Int64(settings.vectorRows)).contains(Int64(bitPattern: figure))
    }

    /// Shard numbers of a lane, in the corpus's order.
    public func shards(ofLane lane: Int) -> [Int] { shards.indices.filter { shards[$0].lane == lane } }
}

extension UpdatePlan {
    /// - Throws: `InputError` for a division that no corpus has with these settings: what passes never divides by zero or overflows.
    public func validate(_ settings: TrainingSettings) throws(InputError) {
        func refuse(_ what: String) -> InputError {
            InputError("the run's plan cannot be used: \(what)", at: "plan", remedy: "install the same t2v on both hosts")
        }
        guard laneWords.count == settings.lanes else { throw refuse("it has \(laneWords.count) lanes of \(settings.lanes)") }
        guard laneWords.allSatisfy({ $0 < Self.mostWords }) else { throw refuse("a lane has too many words") }
        guard words > 0, updatesPerEpoch == UpdatePlan(laneWords: laneWords, batchSize: settings.batchSize).updatesPerEpoch else {
            throw refuse("it has \(updatesPerEpoch) updates for \(words) words in batches of \(settings.batchSize)")
        }
    }

    /// Words of a lane are counted below this, so that those of all lanes can be added.
    private static let mostWords: UInt64 = 1 << 48
}

extension WordFeatures {
    func figures(count: UInt64) -> [UInt64] { [orth, norm, prefix, suffix, shape, UInt64(bitPattern: Int64(row)), count] }

    init(figures: ArraySlice<UInt64>) {
        let f = Array(figures)
        self.init(
            orth: f[0], norm: f[1], prefix: f[2], suffix: f[3], shape: f[4], row: Int32(truncatingIfNeeded: Int64(bitPattern: f[5])))
    }
}

extension RandomWordTable {
    /// The table as numbers, for the plan and for checkpoints; seven a word.
    public init(figures: [UInt64]) {
        let starts = stride(from: 0, to: figures.count - 6, by: 7)
        self.init(words: starts.map { WordFeatures(figures: figures[$0..<$0 + 7]) }, counts: starts.map { figures[$0 + 6] })
    }
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
        try require(dropout >= 0 && dropout < 1, "--dropout", dropout, "a rate from 0 up to, not including, 1")
        try require((1...1_000_000_000).contains(batchSize), "--batch-size", batchSize, "1 to 1000000000 words an update")
        try require((1...1_000_000).contains(minLength), "--min-length", minLength, "1 to 1000000 tokens")
        try require(
            maxLength > minLength && maxLength <= 1_000_000, "--max-length", maxLength,
            "more than --min-length (\(minLength)), at most 1000000 tokens: documents with min <= tokens < max are kept")
        try require((1...ReductionTree.maximumLanes).contains(lanes), "--lanes", lanes, "1 to \(ReductionTree.maximumLanes)")
        try require(maskProbability >= 0 && maskProbability <= 1, "--mask-prob", maskProbability, "a probability from 0 to 1")
        try require(vectorWidth > 0 && vectorWidth <= 65536, "the vectors' width", vectorWidth, "a vectors model of 1 to 65536 dimensions")
        try require((1...100_000_000).contains(vectorRows), "the number of vectors", vectorRows, "a vectors model of 1 to 100000000 vectors")
        try require(
            optimizer.learnRate > 0 && optimizer.learnRate.isFinite, "learn_rate", optimizer.learnRate, "a learning rate above 0")
    }
}
