// One checkpoint: everything a run needs to continue as if it had never stopped. In and out: values, and a safetensors file.
import Base
import FoundationEssentials
import Glibc
import Model

/// The progress of a run: all but the tensors, the configuration and the model. One JSON object in the file's metadata, under "state".
package struct CheckpointState: Codable, Equatable, Sendable {
    /// Version of this layout. A reader refuses others.
    package var formatVersion = Checkpoint.formatVersion
    /// Optimizer updates done: the version of the parameters.
    package var update = 0
    /// Epoch of the next update, counted from `--epoch-start`, or from 0.
    package var epoch = 0
    /// The next update's number within its epoch.
    package var epochUpdate = 0
    /// Seed of the run.
    package var seed: UInt64 = 0
    /// L.
    package var lanes = 0
    /// Adam's step count t: 0 before the first update.
    package var optimizerSteps = 0
    /// Loss summed over the run.
    package var loss = 0.0
    /// Loss summed over the current epoch.
    package var epochLoss = 0.0
    /// Selected words, which gave the run's loss.
    package var selectedWords = 0
    /// Selected words of the current epoch.
    package var epochSelectedWords = 0
    /// Words of all updates: what log.jsonl calls nr_word.
    package var wordCount = 0
    /// Length of log.jsonl; what follows it in the file belongs to updates that are done again.
    package var logByteCount = 0
    /// SHA-256 of the corpus, hexadecimal.
    package var corpusHash = ""
    /// SHA-256 of the vectors, hexadecimal.
    package var vectorsHash = ""
    /// The scores of the evaluations; nil where nothing is held out.
    package var evaluations: EvaluationHistory?
    /// Whatever else the run must remember.
    package var extra: [String: String] = [:]

    /// The state before the first update.
    package init() {}
}

/// Parameters, moments, averages and state of one version.
package struct Checkpoint: Equatable, Sendable {
    /// Version of the file's layout.
    package static let formatVersion = 2
    /// Value of the metadata's "format".
    static let formatName = "t2v-checkpoint"

    /// The tensors of each group under their own names, in spaCy's shapes, head included.
    package var parameters: [NamedTensor] = []
    /// Adam's first moments.
    package var moment1: [NamedTensor] = []
    /// Adam's second moments.
    package var moment2: [NamedTensor] = []
    /// The running averages that `modelN.bin` gets.
    package var averages: [NamedTensor] = []
    /// The random replacement words and other tables.
    package var tables: [NamedWords] = []
    /// The run's progress.
    package var state = CheckpointState()
    /// The model that the tensors belong to.
    package var spec: ModelSpec
    /// The text of config.json.
    package var configuration = ""

    /// An empty checkpoint, to be filled.
    package init(spec: ModelSpec) { self.spec = spec }

    /// Prefix of the tensors of a group, and of the tables.
    enum Group: String, CaseIterable {
        case parameters, moment1, moment2, averages, tables
        var prefix: String { rawValue + "." }
    }

    /// Writes the file at `path` (see `AtomicFile.write`).
    /// - Throws: `InputError` from the disk.
    package func write(to path: String) throws(InputError) {
        let groups: [(Group, [NamedTensor])] = [
            (.parameters, parameters), (.moment1, moment1), (.moment2, moment2), (.averages, averages),
        ]
        var parts = groups.flatMap { group, tensors in tensors.map { Safetensors.Part($0, name: group.prefix + $0.name) } }
        for var table in tables {
            table.name = Group.tables.prefix + table.name
            parts.append(Safetensors.Part(table))
        }
        let metadata = try metadata(place: path)
        try AtomicFile.write(to: path) { (sink) throws(InputError) in
            try Safetensors.write(parts, metadata: metadata, to: &sink)
        }
    }

    private func metadata(place: String) throws(InputError) -> [String: String] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        let text: String
        do {
            text = String(decoding: try encoder.encode(state), as: UTF8.self)
        } catch {
            throw InputError("cannot write the state as JSON: \(error)", at: place, remedy: "report this as a bug")
        }
        var metadata = ["format": Self.formatName, "state": text, "config": configuration]
        metadata["model"] = String(decoding: spec.encoded(), as: UTF8.self)
        // `--init-checkpoint` reads the seeds here, since the files of other programs have no spec.
        if spec.tables.map(\.attribute) == ModelSpec.spacy2Tables.map(\.attribute) {
            for (key, table) in zip(SeedMetadata.keys, spec.tables) { metadata[key] = String(table.seed) }
        }
        return metadata
    }

    /// Reads the file at `path` and compares it with its digest.
    /// - Throws: `InputError` when it is truncated, altered, of another version, or not a checkpoint of t2v.
    package static func load(path: String) throws(InputError) -> Checkpoint {
        let file = try SafetensorsFile(path: path)
        guard try file.verifyDigest() else {
            throw InputError("not a checkpoint of t2v, or a damaged one: it has no digest", at: path, remedy: "use an older checkpoint")
        }
        return try Checkpoint(file)
    }

    /// - Parameter file: its digest has been compared.
    init(_ file: SafetensorsFile) throws(InputError) {
        state = try Self.state(file)
        spec = try ModelSpec(json: Data((file.metadata["model"] ?? "").utf8), place: file.place)
        configuration = file.metadata["config"] ?? ""
        for entry in file.entries {
            let parts = entry.name.split(separator: ".", maxSplits: 1)
            guard parts.count == 2, let group = Group(rawValue: String(parts[0])) else {
                throw InputError("tensor \(entry.name) has no known prefix", at: file.place, remedy: "use this version's checkpoints")
            }
            if group == .tables {
                var table = try file.words(entry)
                table.name = String(parts[1])
                tables.append(table)
                continue
            }
            var tensor = try file.floats(entry)
            tensor.name = String(parts[1])
            switch group {
            case .parameters: parameters.append(tensor)
            case .moment1: moment1.append(tensor)
            case .moment2: moment2.append(tensor)
            default: averages.append(tensor)
            }
        }
    }

    /// The state in a file's metadata.
    /// - Throws: `InputError` when there is none, or of another version.
    static func state(_ file: SafetensorsFile) throws(InputError) -> CheckpointState {
        guard file.metadata["format"] == formatName, let text = file.metadata["state"] else {
            throw InputError("not a checkpoint of t2v: it has no state", at: file.place, remedy: "give a checkpoint that t2v wrote")
        }
        struct Version: Decodable { var formatVersion: Int }
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        let json = Data(text.utf8)
        guard let version = try? decoder.decode(Version.self, from: json).formatVersion, version == formatVersion else {
            throw InputError(
                "a checkpoint of another version than \(formatVersion)", at: file.place, remedy: "resume with the t2v that wrote it")
        }
        do {
            return try decoder.decode(CheckpointState.self, from: json)
        } catch {
            throw InputError("its state cannot be read: \(error)", at: file.place, remedy: "resume with the t2v that wrote it")
        }
    }
}

/// The seeds of spaCy 2's tables in a safetensors file's metadata: "embed.norm.seed": "6", and so on.
enum SeedMetadata {
    /// In the order of `ModelSpec.spacy2Tables`.
    static let keys = ModelSpec.spacy2Tables.map { "embed.\($0.attribute.lowercased()).seed" }

    /// - Returns: one for each key; nil when the file has none of the keys.
    /// - Throws: `InputError` when it has some but not all of them, or a value is not a 32-bit number.
    static func seeds(_ file: SafetensorsFile) throws(InputError) -> [UInt32]? {
        guard keys.contains(where: { file.metadata[$0] != nil }) else { return nil }
        var seeds: [UInt32] = []
        for key in keys {
            guard let text = file.metadata[key], let seed = UInt32(text) else {
                let defaults = ModelSpec.spacy2Seeds.map(String.init).joined(separator: ", ")
                throw InputError(
                    "metadata \(key) is \(file.metadata[key] ?? "missing"), expected a number below 2^32", at: file.place,
                    remedy: "give the seeds of all \(keys.count) tables, or none (the defaults are \(defaults))")
            }
            seeds.append(seed)
        }
        return seeds
    }
}
