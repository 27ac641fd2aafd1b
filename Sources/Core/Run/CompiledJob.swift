// A compiled spaCy 3 config. In: a job folder. Out: everything that a run needs to know, checked.
import Base
import CLinux
import Formats
import FoundationEssentials
import Glibc
import Model
import Text

/// A job folder as the Python package writes it (docs/job.md): job.json, config.cfg, tok2vec.bin, head.safetensors, nlp.
package struct CompiledJob: Sendable {
    /// The format of job.json that this program reads.
    package static let format = 1

    /// The absolute path of the folder.
    package let folder: String
    package let spec: ModelSpec
    /// The arithmetic if the precision is float32.
    package let float32Arithmetic: Arithmetic
    package let training: Training
    package let text: TextSettings
    /// Where the files are on this machine.
    package let files: Files
    /// The columns of the word [MASK], in the order of `text.columns`, if Python computed them: for pieces.
    package let maskIDs: [UInt64]?
    /// Why Python or t2v prepares the texts, for the user.
    package let why: String
    package let templateEntries: [TemplateEntry]
    /// spaCy's version, for the user: "3.8.18".
    package let spacyVersion: String

    /// Absolute paths.
    package struct Files: Sendable, Equatable {
        package var template: String
        package var head: String
        package var config: String
        /// The folder of the tokenizer; for pieces it need not exist.
        package var nlp: String
        /// The .npy file and the map from keys to rows; nil if the model needs no vectors. floret has no keys.
        package var vectors: String?
        package var key2row: String?
        /// The files of the config's corpus reader; if Python has read them, the pieces in this folder, which may be a copy.
        package var sources: [String]
    }

    /// `job.json`, "training".
    package struct Training: Decodable, Sendable, Equatable {
        package var seed: UInt64
        package var maxEpochs: Int
        package var saveEvery: Int?
        package var saveEpoch: Int?
        package var skipLast: Bool
        package var wordsPerUpdate: Int
        /// 0 switches a bound off; documents with min <= tokens < max are kept.
        package var minLength: Int
        package var maxLength: Int
        /// Records to take; 0: all.
        package var limit: Int
        package var shuffle: Bool
        package var lanes: Int?
        package var heldOut: Double
        package var evaluateEvery: Int?
        package var patience: Int
        package var keepModels: Int?
        /// Number of the first epoch, if the weights of an earlier run are continued.
        package var epochStart: Int
        package var precision: Precision
        package var localUpdates: Int

        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            seed = try values.decode(UInt64.self, forKey: .seed)
            maxEpochs = try values.decode(Int.self, forKey: .maxEpochs)
            saveEvery = try values.decodeIfPresent(Int.self, forKey: .saveEvery)
            saveEpoch = try values.decodeIfPresent(Int.self, forKey: .saveEpoch)
            skipLast = try values.decodeIfPresent(Bool.self, forKey: .skipLast) ?? false
            wordsPerUpdate = try values.decode(Int.self, forKey: .wordsPerUpdate)
            minLength = try values.decode(Int.self, forKey: .minLength)
            maxLength = try values.decode(Int.self, forKey: .maxLength)
            limit = try values.decodeIfPresent(Int.self, forKey: .limit) ?? 0
            shuffle = try values.decodeIfPresent(Bool.self, forKey: .shuffle) ?? true
            lanes = try values.decodeIfPresent(Int.self, forKey: .lanes)
            heldOut = try values.decodeIfPresent(Double.self, forKey: .heldOut) ?? 0
            evaluateEvery = try values.decodeIfPresent(Int.self, forKey: .evaluateEvery)
            patience = try values.decodeIfPresent(Int.self, forKey: .patience) ?? 0
            keepModels = try values.decodeIfPresent(Int.self, forKey: .keepModels)
            epochStart = try values.decodeIfPresent(Int.self, forKey: .epochStart) ?? 0
            localUpdates = try values.decodeIfPresent(Int.self, forKey: .localUpdates) ?? 1
            precision = try values.decodeIfPresent(Precision.self, forKey: .precision) ?? .float32
        }

        enum CodingKeys: String, CodingKey {
            case seed, limit, shuffle, lanes, patience, precision
            case epochStart = "epoch_start", localUpdates = "local_updates"
            case maxEpochs = "max_epochs", saveEvery = "n_save_every", saveEpoch = "n_save_epoch", skipLast = "skip_last"
            case wordsPerUpdate = "words_per_update", minLength = "min_length", maxLength = "max_length"
            case heldOut = "held_out", evaluateEvery = "evaluate_every", keepModels = "keep_models"
        }
    }

    static let remedy = "compile the config again with this version of t2v"

    /// Reads and checks `job.json`, and checks that the other files exist.
    /// - Throws: `InputError` that names the file and the key which is missing, unknown, of another type or out of range.
    /// - Parameter isWhole: false: only the files that `features` needs must exist.
    package init(folder given: String, isWhole: Bool = true) throws(InputError) {
        let folder = given.hasPrefix("/") ? given : "\(FileManager.default.currentDirectoryPath)/\(given)"
        let place = "\(folder)/job.json"
        guard access(place, R_OK) == 0 else {
            throw InputError(
                "not a job folder: job.json cannot be read (\(String(cString: strerror(errno))))", at: folder,
                remedy: "make one with `python -m spacy t2v compile CONFIG \(given)`")
        }
        let contents = try MappedFile(place)
        let file = try withExtendedLifetime(contents) { () throws(InputError) in try JobFile(Data(contents.bytes), place: place) }
        self.folder = folder
        training = file.training
        var spec = file.spec
        float32Arithmetic = spec.arithmetic
        if training.precision == .bf16 { spec.arithmetic = .bf16 }
        self.spec = spec
        why = file.text.why ?? ""
        maskIDs = file.text.mask?.ids
        templateEntries = file.template.parameters
        spacyVersion = file.versions["spacy"] ?? "3"
        text = try file.textSettings(place)
        func path(_ name: String) -> String { name.hasPrefix("/") ? name : "\(folder)/\(name)" }
        files = Files(
            template: path(file.template.file), head: path("head.safetensors"), config: path("config.cfg"), nlp: path("nlp"),
            vectors: file.vectors.map { path($0.file) }, key2row: file.vectors.flatMap { $0.mode == .floret ? nil : $0.key2row.map(path) },
            sources: text.path == .pieces ? [path("texts.pieces")] : file.text.sources ?? [])
        try file.validate(text, place)
        let weights = isWhole ? [files.template, files.head, files.config] : []
        for needed in weights + [files.vectors, files.key2row].compactMap({ $0 }) {
            guard access(needed, R_OK) == 0 else {
                throw InputError(
                    "the job needs this file, which cannot be read: \(String(cString: strerror(errno)))", at: needed,
                    remedy: files.vectors == needed || files.key2row == needed
                        ? "put the vectors back, or compile the config again with --portable" : Self.remedy)
            }
        }
    }

    /// The text side's files.
    package var textFiles: JobTextFiles { JobTextFiles(nlp: files.nlp, key2row: files.key2row, vectors: files.vectors) }

    /// SHA-256 over what determines the numbers of a run: job.json, the template and the head. Identifies the job in a checkpoint.
    package func digest() throws(InputError) -> String {
        var hash = SHA256()
        for path in ["\(folder)/job.json", files.template, files.head] {
            let file = try MappedFile(path)
            hash.update("\(file.bytes.count) ")
            hash.update(file.bytes)
        }
        return hash.finalize().hex
    }

    /// The settings that do not belong to the model.
    package var settings: TrainingSettings {
        var settings = TrainingSettings()
        (settings.batchSize, settings.seed) = (training.wordsPerUpdate, training.seed)
        settings.minLength = max(1, training.minLength)
        let most = TrainingSettings.maximumTokens
        settings.maxLength = training.maxLength == 0 ? most : min(training.maxLength, most)
        if let lanes = training.lanes { settings.lanes = lanes }
        (settings.dropout, settings.maskProbability) = (spec.dropout, spec.maskProbability)
        settings.vectorRows = 1
        return settings
    }

    /// - Throws: `InputError` for settings that this version does not have.
    package func requireBuilt() throws(InputError) {
        let unbuilt: [(String, Bool)] = [
            ("local_updates", training.localUpdates > 1)
        ]
        if let first = unbuilt.first(where: { $0.1 }) {
            throw InputError(
                "\(first.0) is set, which this version does not have", at: "\(folder)/job.json", remedy: "leave it out of [t2v]")
        }
    }

    /// The weights file to fill in, checked against the model.
    /// - Throws: `InputError` when it is damaged or its parameters are not the model's.
    package func template(layout: ParameterLayout) throws(InputError) -> WeightsTemplate {
        try WeightsTemplate(
            file: TemplateFile(path: files.template), entries: templateEntries,
            tensors: layout.tensors.filter { !$0.isHead }.map { ($0.name, $0.shape) })
    }

    /// The values that spaCy drew for the head: float32 tensors head.* of a safetensors file.
    package func head() throws(InputError) -> [NamedTensor] {
        let file = try SafetensorsFile(path: files.head)
        var tensors: [NamedTensor] = []
        for entry in file.entries { tensors.append(try file.floats(entry)) }
        return tensors
    }
}
