// The contents of job.json. In: JSON from Python, or from anyone else. Out: typed values, or the key that is wrong.
import Base
import Formats
import FoundationEssentials
import Model
import Text

/// The JSON of a job folder, format 1 (docs/job.md).
struct JobFile {
    struct Text: Decodable {
        struct Mask: Decodable { var ids: [UInt64] }
        var path: TextSettings.Path
        var why: String?
        /// "pieces" if Python prepares the texts.
        var format: String?
        var columns: [String]
        var symbols: String
        var sources: [String]?
        var mask: Mask?
    }

    struct Vectors: Decodable {
        enum Mode: String, Decodable { case `default`, floret }
        var file: String
        var key2row: String?
        var rows: Int
        var width: Int
        var mode: Mode
        var minn: Int?
        var maxn: Int?
        var hash_count: Int?
        var hash_seed: UInt32?
        var bow: String?
        var eow: String?
        var attribute: String?
    }

    struct Template: Decodable {
        var file: String
        var parameters: [TemplateEntry]
    }

    private struct Format: Decodable { var format: Int }

    private struct Whole: Decodable {
        var versions: [String: String]
        var language: String
        var training: CompiledJob.Training
        var text: Text
        var vectors: Vectors?
        var template: Template
        var model: ModelSpec
    }

    private let whole: Whole
    var versions: [String: String] { whole.versions }
    var language: String { whole.language }
    var training: CompiledJob.Training { whole.training }
    var text: Text { whole.text }
    var vectors: Vectors? { whole.vectors }
    var template: Template { whole.template }
    var spec: ModelSpec { whole.model }

    /// - Throws: `InputError` that names the key.
    init(_ data: Data, place: String) throws(InputError) {
        let format = try Self.decode(Format.self, data, place).format
        guard format == CompiledJob.format else {
            throw InputError(
                "a job of format \(format), this program reads format \(CompiledJob.format)", at: place, remedy: CompiledJob.remedy)
        }
        whole = try Self.decode(Whole.self, data, place)
        try spec.validate(place: place)
    }

    private static func decode<T: Decodable>(_: T.Type, _ data: Data, _ place: String) throws(InputError) -> T {
        func path(_ keys: [any CodingKey]) -> String { keys.map(\.stringValue).joined(separator: ".") }
        func refuse(_ what: String) -> InputError { InputError(what, at: place, remedy: CompiledJob.remedy) }
        do {
            return try JSONDecoder().decode(T.self, from: data)
        } catch DecodingError.keyNotFound(let key, let context) {
            throw refuse("\(path(context.codingPath + [key])) is missing")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context)
        {
            let key = path(context.codingPath)
            throw refuse(key.isEmpty ? "not a job: it is not a JSON object" : "\(key): \(context.debugDescription)")
        } catch {
            throw refuse("not a job: \(error)")
        }
    }

    /// The text side, without the paths of this machine.
    func textSettings(_ place: String) throws(InputError) -> TextSettings {
        TextSettings(
            path: text.path, format: text.format.flatMap(TextSettings.Format.init) ?? .jsonl, language: language, columns: text.columns,
            vectors: try vectors.map { vectors throws(InputError) in try rows(vectors, place) })
    }

    private func rows(_ vectors: Vectors, _ place: String) throws(InputError) -> TextSettings.Vectors {
        let attribute = vectors.attribute ?? "ORTH"
        guard vectors.mode == .floret else { return .table(attribute: attribute, rows: vectors.rows) }
        let floret = FloretRows(
            minimum: vectors.minn ?? 0, maximum: vectors.maxn ?? 0, hashCount: vectors.hash_count ?? 0, seed: vectors.hash_seed ?? 0,
            begin: vectors.bow ?? "<", end: vectors.eow ?? ">", rows: vectors.rows)
        try floret.validate(place: place)
        return .floret(attribute: attribute, floret)
    }

    /// What the types do not check.
    func validate(_ settings: TextSettings, _ place: String) throws(InputError) {
        func require(_ good: Bool, _ key: String, _ found: Any, _ expected: String) throws(InputError) {
            guard good else { throw InputError("\(key) is \(found), expected \(expected)", at: place, remedy: CompiledJob.remedy) }
        }
        let formats = text.path == .pieces ? ["pieces", "jsonl", "lines"] : ["jsonl", "lines"]
        try require(formats.contains(text.format ?? "jsonl"), "text.format", text.format ?? "", formats.joined(separator: " or "))
        try require(text.symbols == "spacy38", "text.symbols", text.symbols, "spacy38")
        try require(spec.weightsFile == .template, "model.weights_file", spec.weightsFile.rawValue, "template")
        try require(spec.initialization == .file, "model.initialization", spec.initialization.rawValue, "file")
        // Larger numbers make no sense in a run, and sums of them might overflow.
        let (mostWords, most) = (TrainingSettings.maximumBatchSize, 1_000_000_000)
        try require((1...most).contains(training.maxEpochs), "training.max_epochs", training.maxEpochs, "1 or more")
        try require((1...mostWords).contains(training.wordsPerUpdate), "training.words_per_update", training.wordsPerUpdate, "1 or more")
        try require((0...most).contains(training.minLength), "training.min_length", training.minLength, "0 or more")
        try require(
            training.maxLength == 0 || (training.maxLength > training.minLength && training.maxLength <= most),
            "training.max_length", training.maxLength, "0, or more than min_length (\(training.minLength)): min <= tokens < max are kept")
        try require(training.limit >= 0, "training.limit", training.limit, "0 or more")
        for (key, value) in [
            ("n_save_every", training.saveEvery), ("n_save_epoch", training.saveEpoch), ("keep_models", training.keepModels),
        ] {
            try require(value.map { $0 >= 1 } ?? true, "training.\(key)", value ?? 0, "null or 1 or more")
        }
        try require(
            training.lanes.map { (1...ReductionTree.maximumLanes).contains($0) } ?? true, "training.lanes", training.lanes ?? 0,
            "null or 1 to \(ReductionTree.maximumLanes)")
        try require(training.heldOut >= 0 && training.heldOut < 1, "training.held_out", training.heldOut, "a number in [0, 1)")
        try require(Set(text.columns).count == text.columns.count, "text.columns", text.columns, "names that differ")
        try validateColumns(settings, place, require)
        if let width = spec.vectorWidth {
            guard let vectors else {
                throw InputError("the model needs vectors and the job has none", at: place, remedy: CompiledJob.remedy)
            }
            try require(vectors.width == width, "vectors.width", vectors.width, "\(width), as the model has it")
            try require(vectors.rows > 0, "vectors.rows", vectors.rows, "1 or more")
            try require(vectors.mode == .floret || vectors.key2row != nil, "vectors.key2row", "missing", "a path, in mode \"default\"")
        }
    }

    private func validateColumns(
        _ settings: TextSettings, _ place: String, _ require: (Bool, String, Any, String) throws(InputError) -> Void
    ) throws(InputError) {
        let schema = spec.schema
        for column in schema.columns where column != "ORTH" {
            switch text.path {
            case .pieces: try require(text.columns.contains(column), "text.columns", text.columns, "\(column) among them")
            case .fast:
                let known = WordAttribute(rawValue: column)
                try require(
                    known?.isComputed(for: language) == true, "model.inputs: \(column)", "not computed for \(language) by t2v itself",
                    "pieces (text.path \"pieces\")")
            }
        }
        if case .floret = settings.vectors {
            try require(
                ["ORTH", "LOWER"].contains(settings.vectors?.attribute ?? ""), "vectors.attribute", settings.vectors?.attribute ?? "",
                "ORTH or LOWER")
        } else if let attribute = settings.vectors?.attribute {
            try require(attribute == "ORTH", "vectors.attribute", attribute, "ORTH, in mode \"default\"")
        }
        if text.path == .pieces {
            try require(text.mask?.ids.count == text.columns.count, "text.mask.ids", text.mask?.ids.count ?? 0, "one id for each column")
        }
    }
}
