// What a worker must know about a run. In: settings, model, plan. Out: JSON that travels in the welcome, and the plan that is fetched.
import Base
import FoundationEssentials
import Model
import Numerics
import Protocol
import Shards
import Text

/// The run as described in the welcome: enough to prepare shards and to set up the model.
package struct RunDescription: Codable, Sendable {
    /// A file of the vectors model that tokenizing needs.
    package struct File: Codable, Sendable, Equatable {
        package var name: String
        package var byteCount: UInt64

        package init(name: String, byteCount: UInt64) {
            self.name = name
            self.byteCount = byteCount
        }
    }

    /// Where workers on the coordinator's own host find files without fetching them.
    package struct LocalPaths: Codable, Sendable, Equatable {
        package var vectorsModel: String
        /// A job's files.
        package var text: JobTextFiles?
        package var cache: String

        package init(vectorsModel: String, cache: String) {
            self.vectorsModel = vectorsModel
            self.cache = cache
        }
    }

    package var settings: TrainingSettings
    /// What is trained.
    package var spec: ModelSpec
    /// What a job's texts are; nil: spaCy 2's options.
    package var text: TextSettings?
    package var modelFiles: [File]
    /// Identifies the model's tokenizing files in a cache.
    package var modelDigest: String
    package var local: LocalPaths?

    package init(
        settings: TrainingSettings, spec: ModelSpec, modelFiles: [File], modelDigest: String, local: LocalPaths? = nil
    ) {
        self.settings = settings
        self.spec = spec
        self.modelFiles = modelFiles
        self.modelDigest = modelDigest
        self.local = local
    }

    /// - Throws: `InputError` when the settings cannot be written as JSON, which has no infinity.
    package func encoded() throws(InputError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do { return String(decoding: try encoder.encode(self), as: UTF8.self) } catch {
            throw InputError("the run's description cannot be encoded: \(error)", at: "settings", remedy: "check the settings")
        }
    }

    /// The engine reads vector rows of the model's width from a table of the settings' width.
    private func checkWidths() throws(InputError) {
        var widths = spec.inputs.compactMap { if case .vectors(let input) = $0 { input.width } else { nil } }
        if case .vectors(let target) = spec.objective { widths.append(target.width) }
        guard widths.allSatisfy({ $0 == settings.vectorWidth }) else {
            throw InputError(
                "the run's description has vectors of \(settings.vectorWidth) dimensions and a model for \(widths)", at: "welcome",
                remedy: "check the coordinator")
        }
    }

    /// The most files of a vectors model that tokenizing needs, and the most bytes of one.
    private static let (mostFiles, mostFileBytes) = (64, UInt64(1) << 40)

    /// - Throws: `InputError` when the text is not a description or its settings are out of range.
    package static func decode(_ text: String) throws(InputError) -> RunDescription {
        guard let description = try? JSONDecoder().decode(RunDescription.self, from: Data(text.utf8)) else {
            throw InputError("the run's description cannot be read", at: "welcome", remedy: "install the same t2v on both hosts")
        }
        try description.settings.validate()
        try description.spec.arithmetic.checkHost()
        try description.spec.validate(place: "welcome")
        try description.checkWidths()
        for file in description.modelFiles {
            // Names become paths below the worker's cache.
            guard !file.name.isEmpty, !file.name.hasPrefix("/"), !file.name.split(separator: "/").contains(".."),
                !file.name.utf8.contains(0)
            else {
                throw InputError("the run's description names a file outside its folder", at: file.name, remedy: "check the coordinator")
            }
            guard file.byteCount <= mostFileBytes else {
                throw InputError(
                    "the run's description has a file of \(file.byteCount) bytes", at: file.name, remedy: "check the coordinator")
            }
        }
        let names = Set(description.modelFiles.map(\.name))
        guard description.modelFiles.count <= mostFiles, names.count == description.modelFiles.count else {
            throw InputError("the run's description has too many files, or one twice", at: "welcome", remedy: "check the coordinator")
        }
        guard let digest = Array(hex: description.modelDigest), (1...32).contains(digest.count) else {
            throw InputError("the run's description has no valid model digest", at: "welcome", remedy: "check the coordinator")
        }
        return description
    }
}

/// What is known once every shard is prepared: fetched by each worker.
package struct RunPlan: Codable, Sendable {
    package struct PlannedShard: Codable, Sendable, Equatable {
        package var lane: LaneID
        /// Number of its first line in the corpus: documents are identified by their line.
        package var firstLine: UInt64
        package var key: CacheKey
        /// Bytes of the prepared shard.
        package var byteCount: UInt64
        package var digest: ShardDigest

        package init(lane: LaneID, firstLine: UInt64, key: CacheKey, byteCount: UInt64, digest: ShardDigest) {
            self.lane = lane
            self.firstLine = firstLine
            self.key = key
            self.byteCount = byteCount
            self.digest = digest
        }
    }

    package var updates: UpdatePlan
    package var shards: Numbered<ShardID, PlannedShard>
    /// The random words as `WordFigures`.
    package var randomWordFigures: [UInt64]
    /// The same of the literal word `[MASK]`, with count 0.
    package var maskWordFigures: [UInt64]
    /// Documents that are scored and never trained on; nil: none.
    package var heldOut: HeldOutDocuments?

    package init(
        updates: UpdatePlan, shards: Numbered<ShardID, PlannedShard>, randomWords: RandomWordTable, maskWord: WordFeatures,
        heldOut: HeldOutDocuments = HeldOutDocuments()
    ) {
        self.updates = updates
        self.shards = shards
        self.heldOut = heldOut.count == 0 ? nil : heldOut
        randomWordFigures = randomWords.figures
        var mask = WordFigures()
        mask.append(maskWord, count: 0)
        maskWordFigures = mask.figures
    }

    /// The random words and the word `[MASK]`.
    /// - Throws: `InputError` when the figures are of another schema, name vector rows that do not exist, or have counts that overflow.
    package func words(schema: FeatureSchema, vectorRows: Int) throws(InputError) -> (random: RandomWordTable, mask: WordFeatures) {
        func isSound(_ words: [(word: WordFeatures, count: UInt64)]) -> Bool {
            var total: UInt64 = 0
            for entry in words {
                let (sum, overflow) = total.addingReportingOverflow(entry.count)
                guard !overflow, entry.word.rows.allSatisfy({ Int($0) < vectorRows }) else { return false }
                total = sum
            }
            return words.count <= RandomWordTable.limit
        }
        guard let words = WordFigures.decode(randomWordFigures, schema: schema), isSound(words),
            let random = RandomWordTable(figures: randomWordFigures, schema: schema),
            let mask = WordFigures.decode(maskWordFigures, schema: schema), isSound(mask), let word = mask.first?.word, mask.count == 1
        else { throw InputError("the run's plan has words of other columns", at: "plan", remedy: "install the same t2v on both hosts") }
        return (random, word)
    }

    /// - Throws: `InputError` when it cannot be written as JSON.
    package func encoded() throws(InputError) -> [UInt8] {
        do { return Array(try JSONEncoder().encode(self)) } catch {
            throw InputError("the run's plan cannot be encoded: \(error)", at: "plan", remedy: "check the settings")
        }
    }

    /// - Throws: `InputError` when the bytes are not a plan of a run with these settings. A plan that passes is safe to use: no sum
    ///   overflows, nothing is divided by zero, no index leaves its table.
    package static func decode(_ bytes: [UInt8], settings: TrainingSettings) throws(InputError) -> RunPlan {
        func refuse(_ what: String) -> InputError {
            InputError("the run's plan cannot be used: \(what)", at: "plan", remedy: "install the same t2v on both hosts")
        }
        let plan: RunPlan
        do { plan = try JSONDecoder().decode(RunPlan.self, from: Data(bytes)) } catch { throw refuse("\(error)") }
        try plan.updates.validate(settings)
        var nextLine: UInt64 = 0
        for (index, shard) in zip(plan.shards.indices, plan.shards) {
            guard (0..<settings.lanes).contains(shard.lane.rawValue) else { throw refuse("shard \(index) is in lane \(shard.lane)") }
            guard shard.firstLine >= nextLine, shard.firstLine < mostLines else { throw refuse("shard \(index) begins before its place") }
            guard (1...RunBounds.mostPreparedBytes(WireLimits.shardText)).contains(shard.byteCount) else {
                throw refuse("shard \(index) has \(shard.byteCount) bytes")
            }
            nextLine = shard.firstLine + 1
        }
        guard plan.heldOut?.isSound(shards: plan.shards.count) ?? true else { throw refuse("its held-out documents are out of order") }
        return plan
    }

    /// Lines of a corpus are counted below this.
    private static let mostLines: UInt64 = 1 << 53

    /// Shard numbers of a lane, in the corpus's order.
    package func shards(ofLane lane: LaneID) -> [ShardID] { shards.indices.filter { shards[$0].lane == lane } }
}

extension UpdatePlan {
    /// - Throws: `InputError` for a plan that no corpus gives with these settings: one that passes never divides by zero or overflows.
    package func validate(_ settings: TrainingSettings) throws(InputError) {
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

extension TrainingSettings {
    /// Words of an update.
    static let maximumBatchSize = 1_000_000_000
    /// Tokens of a document: no text that spaCy reads has more.
    static let maximumTokens = 1_000_000

    /// - Throws: `InputError` that names the option whose value no run can have.
    package func validate() throws(InputError) {
        typealias Limits = ModelSpec.Limits
        func require(_ good: Bool, _ option: String, _ found: Any, _ expected: String) throws(InputError) {
            guard good else { throw InputError("\(option) is \(found)", at: "", remedy: "give \(expected)") }
        }
        func range(_ value: Int, _ range: ClosedRange<Int>, _ option: String, _ what: String = "", unit: String = "") throws(InputError) {
            try require(range.contains(value), option, value, "\(what)\(range.lowerBound) to \(range.upperBound)\(unit)")
        }
        try range(width, Limits.width, "--width")
        try range(depth, 1...Limits.depth.upperBound, "--conv-depth")
        try range(pieces, Limits.pieces, "--cnn-pieces")
        try range(rows, 2...Limits.rows.upperBound, "--embed-rows")
        try require(dropout >= 0 && dropout < 1, "--dropout", dropout, "a rate in [0, 1)")
        try range(batchSize, 1...Self.maximumBatchSize, "--batch-size", unit: " words an update")
        try range(minLength, 1...Self.maximumTokens, "--min-length", unit: " tokens")
        try require(
            maxLength > minLength && maxLength <= Self.maximumTokens, "--max-length", maxLength,
            "more than --min-length (\(minLength)), at most \(Self.maximumTokens) tokens: documents with min <= tokens < max are kept")
        try range(lanes, 1...ReductionTree.maximumLanes, "--lanes")
        try require(maskProbability >= 0 && maskProbability <= 1, "--mask-prob", maskProbability, "a probability from 0 to 1")
        try range(vectorWidth, Limits.vectorWidth, "the vectors' width", "a vectors model of ", unit: " dimensions")
        try range(vectorRows, Limits.rows, "the number of vectors", "a vectors model of ", unit: " vectors")
        try require(
            optimizer.learnRate > 0 && optimizer.learnRate.isFinite, "learn_rate", optimizer.learnRate, "a learning rate above 0")
    }
}
