// Weights to start from. In: a modelN.bin or a safetensors file, and the settings of the run. Out: tensors that fit them, and seeds.
import Base
import Model

/// The weights that a run starts from instead of random ones.
package struct InitialWeights: Equatable, Sendable {
    /// With spaCy's names and shapes: a tok2vec, or with the head all parameters.
    package var tensors: [NamedTensor]
    /// The seeds of spaCy 2's tables, in the order of the spec; nil if the file does not give them.
    package var seeds: [UInt32]?

    package init(tensors: [NamedTensor], seeds: [UInt32]?) {
        (self.tensors, self.seeds) = (tensors, seeds)
    }

    /// `--init-tok2vec`: the tok2vec of a `modelN.bin`, spaCy's own included.
    /// - Throws: `InputError` that names the tensor which is missing, extra or misshapen for `settings`, both shapes, and the options
    ///   that fit.
    package static func tok2vec(path: String, settings: TrainingSettings) throws(InputError) -> InitialWeights {
        let file = try ThincTok2Vec.load(path: path)
        let shape = Tok2VecShape(settings)
        try TensorCheck(
            wanted: shape.tensors(), wantedShape: shape, place: path, remedy: "give weights made with these settings"
        )
        .check(file.tensors.map { ($0.name, $0.shape) })
        try refuseNonFinite(file.tensors, place: path)
        return InitialWeights(tensors: file.tensors, seeds: file.seeds)
    }

    /// `--init-checkpoint`: all parameters, head included, of a safetensors file: a checkpoint of t2v (its parameters, not the averages),
    /// or any file that has the parameters under their names, with or without the prefix "parameters.". Seeds are read from the metadata.
    /// - Throws: `InputError` that names the tensor which is missing, extra, misshapen or not float32.
    package static func checkpoint(path: String, settings: TrainingSettings) throws(InputError) -> InitialWeights {
        let file = try SafetensorsFile(path: path)
        let isSealed = try file.verifyDigest()
        guard isSealed || file.metadata["format"] != Checkpoint.formatName else {
            throw InputError("a damaged checkpoint: it has no digest", at: path, remedy: "use another copy or an older checkpoint")
        }
        let entries = try parameterEntries(file)
        let shape = Tok2VecShape(settings)
        let layout = ParameterLayout(spec: .spacy2(settings))
        try TensorCheck(
            wanted: layout.tensors.map { ($0.name, $0.shape) }, wantedShape: shape, place: path,
            remedy: "give all parameters of one model, head included, made with these settings"
        ).check(entries.map { ($0.name, $0.entry.shape) })
        var tensors: [NamedTensor] = []
        for (name, entry) in entries {
            var tensor = try file.floats(entry)
            tensor.name = name
            tensors.append(tensor)
        }
        try refuseNonFinite(tensors, place: path)
        return InitialWeights(tensors: tensors, seeds: try SeedMetadata.seeds(file))
    }

    /// The parameters among a file's tensors, without their prefix. In a file that uses the prefix, a checkpoint's other groups are
    /// skipped.
    static func parameterEntries(_ file: SafetensorsFile) throws(InputError) -> [(name: String, entry: SafetensorsFile.Entry)] {
        let prefix = Checkpoint.Group.parameters.prefix
        guard file.entries.contains(where: { $0.name.hasPrefix(prefix) }) else { return file.entries.map { ($0.name, $0) } }
        var found: [(name: String, entry: SafetensorsFile.Entry)] = []
        for entry in file.entries {
            if entry.name.hasPrefix(prefix) {
                found.append((String(entry.name.dropFirst(prefix.count)), entry))
            } else if !Checkpoint.Group.allCases.contains(where: { entry.name.hasPrefix($0.prefix) }) {
                throw InputError(
                    "tensor \(entry.name) of shape \(entry.shape) is extra: it is in no group of a checkpoint",
                    at: file.place, remedy: "remove it, or give all names the prefix")
            }
        }
        return found
    }

    private static func refuseNonFinite(_ tensors: [NamedTensor], place: String) throws(InputError) {
        for tensor in tensors where !tensor.values.allSatisfy(\.isFinite) {
            throw InputError(
                "tensor \(tensor.name) holds a value that is not finite", at: place, remedy: "give weights of a run that did not diverge")
        }
    }
}
