// Every option of a run. In: command line or config.json. Out: config.json, checkpoints, settings.
import Base
import FoundationEssentials
import Model

/// All options of `pretrain`, as config.json records them. Keys are spaCy's where spaCy has the option (spaCy 2.3 `cli/pretrain.py`).
package struct RunOptions: Codable, Sendable, Equatable {
    package var textsLoc: String
    /// The job folder of a compiled spaCy 3 config; nil: spaCy 2's options.
    package var job: String?
    /// The texts of a job, in order; `textsLoc` names them for people.
    package var texts: [String]?
    /// A constant rate with which a resumed job continues, instead of its own.
    package var learnRate: Double?
    /// Of the operands of matrix products; nil: what the job says, or else float32.
    package var precision: Precision?
    /// Every learning rate is multiplied by `learnRateFactor`; nil: it is not.
    package var scaleLearnRate: Bool?
    package var vectorsModel: String
    package var outputDir: String
    package var settings: TrainingSettings
    package var nIter = 1000
    package var nSaveEvery: Int?
    /// The fraction of documents that are scored and never trained on; nil: none.
    package var heldOut: Double?
    /// Updates between two evaluations; nil: see `EvaluationSchedule`.
    package var evaluateEvery: Int?
    /// The number of evaluations in a row without an improvement that ends the run; nil: none does.
    package var patience: Int?
    /// How many of the last modelN.bin are kept; nil: all.
    package var keepModels: Int?
    package var initTok2vec: String?
    package var initCheckpoint: String?
    package var epochStart = 0
    /// More would overflow the count of updates of a large corpus.
    package static let mostEpochs = 1_000_000
    /// Local workers; 0: none.
    package var workers = 1
    /// Local workers as the user asked for them; nil: as many as fit the machine.
    package var askedWorkers: Int?
    /// Threads of a local worker as the user asked for them.
    package var askedThreads: Int?
    /// Lanes a local worker computes at a time.
    package var threads = 1
    package var bind: String?
    package var minWorkers = 1
    /// libzmq's threads; nil: `IOThreads.fitting`.
    package var ioThreads: Int?
    package var checkpointEvery = 300
    package var keepCheckpoints = 3
    package var strictBits = false
    package var blasCore: String?
    package var insecure = false
    package var keyFile: String?
    package var allowFile: String?
    package var cache: String?
    package var metrics: String?

    /// Words of an update for which learning rates are meant: spaCy's default.
    package static let unscaledWords = 3000

    /// Words of an update from which on a scaled rate was worse than the rate itself: four times the rate, with the characters objective
    /// (docs/updates.md; not measured with vectors).
    package static let tooLargeToScale = 48_000

    /// What to tell the user of a scaled rate that learns less than the rate itself; nil: there is none.
    package func scalingWarning(_ objective: ModelSpec.Objective) -> String? {
        guard case .characters = objective, scaleLearnRate == true, settings.batchSize >= Self.tooLargeToScale else { return nil }
        return "with updates of \(settings.batchSize) words --scale-learn-rate learned less in our measurements than the rate itself "
            + "(docs/scale.md): leave it out, or make updates of 12000 words"
    }

    /// The factor of learning rates: the square root of the words of an update over 3,000, or 1.
    package var learnRateFactor: Double {
        scaleLearnRate == true ? (Double(settings.batchSize) / Double(Self.unscaledWords)).squareRoot() : 1
    }

    package init(textsLoc: String, vectorsModel: String, outputDir: String, settings: TrainingSettings) {
        self.textsLoc = textsLoc
        self.vectorsModel = vectorsModel
        self.outputDir = outputDir
        self.settings = settings
    }

    /// - Throws: `InputError` that names the setting. Names are those of a command line; a config has them without the dashes.
    package func validateEvaluation() throws(InputError) {
        func require(_ good: Bool, _ what: String, _ remedy: String) throws(InputError) {
            guard good else { throw InputError(what, at: "", remedy: remedy) }
        }
        try require(
            heldOut.map { $0 > 0 && $0 <= 0.5 } ?? true, "held-out is \(heldOut ?? 0)", "give a fraction of the documents, 0 to 0.5")
        try require(evaluateEvery ?? 1 >= 1, "evaluate-every is \(evaluateEvery ?? 0)", "give 1 or more updates")
        try require(patience ?? 1 >= 1, "patience is \(patience ?? 0)", "give 0 or more evaluations")
        try require(keepModels ?? 1 >= 1, "keep-models is \(keepModels ?? 0)", "give 1 or more files")
        try require(
            heldOut != nil || evaluateEvery == nil && patience == nil, "patience and evaluate-every need held-out documents",
            "give a held-out fraction, 0.01 say, or leave them out")
    }

    /// JSON text, keys sorted, in snake case: `settings` is on the same level as the rest, as in spaCy's file.
    /// - Throws: `InputError` for a number that JSON does not have.
    package func encoded() throws(InputError) -> String {
        do {
            var object = try Self.members(of: self)
            for (key, value) in object.removeValue(forKey: "settings")?.members ?? [:] { object[Self.spacyNames[key] ?? key] = value }
            object["t2v_version"] = .string(Version.current)
            return try JSONValue.object(object).prettyText()
        } catch {
            throw InputError("the options cannot be written as JSON: \(error)", at: "", remedy: "give numbers that are finite")
        }
    }

    /// `value` as JSON, with keys in snake case.
    private static func members(of value: some Encodable) throws -> [String: JSONValue] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try JSONDecoder().decode([String: JSONValue].self, from: encoder.encode(value))
    }

    /// Swift's names where spaCy's differ.
    private static let spacyNames = [
        "depth": "conv_depth", "pieces": "cnn_pieces", "rows": "embed_rows", "loss": "loss_func", "mask_probability": "mask_prob",
        "out_of_vocabulary_targets": "oov_targets",
    ]

    /// The `--blas-core` of the run in a folder, needed before anything else is read; nil where there is no run, or none was given.
    package static func blasCore(inFolder path: String) -> String? {
        let files = ["\(path)/t2v/run.json", "\(path)/config.json"]
        guard let data = files.lazy.compactMap({ FileManager.default.contents(atPath: $0) }).first,
            let options = try? JSONValue.parse([UInt8](data))
        else { return nil }
        return options.members?["blas_core"]?.text
    }

    /// - Throws: `InputError` for text that is not a configuration of this version.
    package static func decode(_ text: String, place: String) throws(InputError) -> RunOptions {
        let damaged = InputError(
            "the configuration cannot be read", at: place, remedy: "use the t2v version that wrote it, or start a new run")
        guard var object = (try? JSONValue.parse(Array(text.utf8)))?.members else { throw damaged }
        let back = Dictionary(uniqueKeysWithValues: spacyNames.map { ($1, $0) })
        guard let defaults = try? members(of: TrainingSettings()) else { throw damaged }
        // A run that began before a setting existed has its default.
        var settings = defaults.filter { $0.key == "wire_precision" }
        for (key, value) in object where defaults[back[key] ?? key] != nil {
            settings[back[key] ?? key] = value
            object[key] = nil
        }
        object["settings"] = .object(settings)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(RunOptions.self, from: JSONEncoder().encode(object))
        } catch {
            throw damaged
        }
    }
}

/// Of the operands of matrix products; sums are float32.
package enum Precision: String, Codable, Sendable, CaseIterable {
    case float32, bf16
}

/// The program's version: both programs of a run must have the same.
package enum Version {
    package static let current = "0.2.0"
}
