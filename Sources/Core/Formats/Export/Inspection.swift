// What is in a weights file. In: a path to a modelN.bin or to a checkpoint. Out: a text for people, with commands to paste.
import Base
import Model

/// Describes a modelN.bin, spaCy's own included, or a checkpoint: settings, shapes, seeds, and how `spacy train` loads it.
/// - Throws: `InputError` when it is neither, or damaged.
package func inspect(path: String) throws(InputError) -> String {
    let file = try MappedFile(path)
    guard !file.bytes.isEmpty else { throw InputError("the file is empty", at: path, remedy: "give a modelN.bin or a checkpoint") }
    // A safetensors file has '{' after its 8 bytes of length; a weights file begins with a msgpack map of one entry.
    if file.bytes[0] == 0x81 { return try Inspection.weights(path) }
    if TemplateFile.isLikely(file.bytes) { return try Inspection.template(path) }
    if file.bytes.count > 8, file.bytes[8] == UInt8(ascii: "{") { return try Inspection.safetensors(path) }
    throw InputError("neither a weights file of spaCy 2 or 3 nor a safetensors file", at: path, remedy: "give a modelN.bin or a checkpoint")
}

enum Inspection {
    /// The place in commands where users put their vectors model.
    static let vectorsPlaceholder = "VECTORS_MODEL"

    static func weights(_ path: String) throws(InputError) -> String {
        let file = try ThincTok2Vec.load(path: path)
        var lines = ["\(path): tok2vec weights for spaCy 2 (file format of thinc 7)", ""]
        lines += table(settings(file.shape) + [("seeds", seeds(file.seeds))] + numbers(file.tensors))
        lines += training(file.shape, file: path)
        lines += ["", "tensors:"] + shapes(file.tensors.map { ($0.name, $0.shape) })
        return lines.joined(separator: "\n") + "\n"
    }

    static func safetensors(_ path: String) throws(InputError) -> String {
        let file = try SafetensorsFile(path: path)
        let isSealed = try file.verifyDigest()
        let entries = try InitialWeights.parameterEntries(file)
        guard let shape = Tok2VecShape(inferringFrom: Dictionary(entries.map { ($0.name, $0.entry.shape) }) { first, _ in first }) else {
            throw InputError(
                "a safetensors file without the parameters of a tok2vec (embed.norm.E, encode.0.W, ...)", at: path,
                remedy: "give a checkpoint that t2v wrote")
        }
        var rows: [(String, String)] = []
        if file.metadata["format"] == Checkpoint.formatName {
            guard isSealed else { throw InputError("a damaged checkpoint: it has no digest", at: path, remedy: "use an older checkpoint") }
            rows += state(try Checkpoint.state(file))
        }
        rows += settings(shape)
        rows.append(("seeds", seeds(try SeedMetadata.seeds(file) ?? ModelSpec.spacy2Seeds)))
        let isCheckpoint = file.metadata["format"] == Checkpoint.formatName
        let kind = isCheckpoint ? "a checkpoint of t2v, undamaged (its SHA-256 matches)" : "named parameters"
        var lines = ["\(path): \(kind)", ""] + table(rows)
        lines += ["", "It is not for `spacy train`: its run writes a modelN.bin beside it after each epoch. For such a file:"]
        lines += training(shape, file: "modelN.bin")
        lines += ["", "parameters:"] + shapes(entries.map { ($0.name, $0.entry.shape) })
        return lines.joined(separator: "\n") + "\n"
    }

    private static func settings(_ shape: Tok2VecShape) -> [(String, String)] {
        [
            ("width", "\(shape.width)"), ("depth", "\(shape.depth)"), ("pieces", "\(shape.pieces)"), ("rows", "\(shape.rows)"),
            ("vectors", shape.vectorWidth.map { "an input (--use-vectors), width \($0)" } ?? "no input"),
        ]
    }

    private static func state(_ state: CheckpointState) -> [(String, String)] {
        var rows = [
            ("update", "\(state.update)"), ("epoch", "\(state.epoch), its update \(state.epochUpdate) is next"),
            ("words so far", "\(state.wordCount)"), ("seed", "\(state.seed)"), ("lanes", "\(state.lanes)"),
        ]
        if state.selectedWords > 0 {
            rows.append(("loss", "\(rounded(state.loss / Double(state.selectedWords))) per selected word, over the run"))
        }
        return rows
    }

    static func numbers(_ tensors: [NamedTensor]) -> [(String, String)] {
        var (least, most, hasFault) = (Float.infinity, -Float.infinity, false)
        for tensor in tensors {
            for value in tensor.values {
                if value.isFinite { (least, most) = (min(least, value), max(most, value)) } else { hasFault = true }
            }
        }
        let count = tensors.reduce(0) { $0 + $1.values.count }
        let range = "\(count), from \(rounded(Double(least))) to \(rounded(Double(most)))"
        return [("numbers", hasFault ? "\(range); WARNING: some are not finite, the run diverged" : range)]
    }

    /// To four decimals; leaves a value that is not finite as it is.
    private static func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }

    private static func seeds(_ seeds: [UInt32]) -> String {
        let text = zip(ModelSpec.spacy2Tables, seeds).map { "\($0.attribute.lowercased()) \($1)" }.joined(separator: ", ")
        return text + (seeds == ModelSpec.spacy2Seeds ? " (as spaCy 2.3.3 and later)" : " (of the file: kept with the weights)")
    }

    static func table(_ rows: [(String, String)]) -> [String] {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { "  " + $0.0 + String(repeating: " ", count: width - $0.0.count + 2) + $0.1 }
    }

    static func shapes(_ tensors: [(name: String, shape: [Int])]) -> [String] {
        table(tensors.map { ($0.name, $0.shape.map(String.init).joined(separator: " x ")) })
    }

    private static func training(_ shape: Tok2VecShape, file: String) -> [String] {
        let commands = TrainCommands(shape: shape, file: file)
        func part(_ title: String, _ lines: [String], _ warnings: [String]) -> [String] {
            ["", title] + lines.map { "  \($0)" } + warnings.map { "  note: \($0)" }
        }
        return part("spaCy 2.3 loads it with", commands.for23, commands.warningsFor23)
            + part("spaCy 2.1 loads it with", commands.for21, commands.warningsFor21)
            + part("Both:", [], commands.warnings + ["pieces and rows need no setting: spaCy takes them from the file"])
    }

    /// `text` as one word of a POSIX shell.
    static func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "/._-+=:@%,".utf8.contains(byte)
        }
        return isPlain && !text.isEmpty ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }
}
