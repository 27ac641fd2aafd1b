// `features`, `inspect` and `keygen`.
import ArgumentParser
import Base
import CoordinatorKit
import Formats
import Glibc
import Launch
import Model
import Numerics
import Run
import Text
import Transport

struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "features", abstract: "Print what the trainer sees: one JSON line per document.",
        discussion: "Every document is printed, whatever its length; empty ones are left out.")

    @Argument(help: "TEXTS: .jsonl or .jsonl.gz; - for standard input. VECTORS_MODEL: folder of a spaCy model. In either order.")
    var paths: [String]
    @Option(help: "Folder of a compiled spaCy 3 config; then only TEXTS: prints tokens, spaces, columns and vector rows.") var job: String?

    func run() throws {
        guard paths.count == (job == nil ? 2 : 1) else {
            throw InputError("\(paths.count) arguments", at: "features", remedy: "give TEXTS VECTORS_MODEL, or --job JOB TEXTS")
        }
        if let job { return try printFeatures(job: job, texts: paths[0]) }
        let isSwapped = isFolder(paths[0]) && !isFolder(paths[1])
        let (texts, vectorsModel) = isSwapped ? (paths[1], paths[0]) : (paths[0], paths[1])
        let printer = FeaturesPrinter(model: try VectorsModel(folder: vectorsModel))
        // A shard at a time: memory does not depend on the file's size.
        let (file, index) = try TextSource.withPlainFile(texts) { path in (try MappedFile(path), try CorpusIndex(path: path, lanes: 1)) }
        let name = texts == "-" ? "standard input" : texts
        for shard in index.shards {
            do {
                let lines = try printer.lines(
                    jsonl: UnsafeRawBufferPointer(rebasing: file.bytes[shard.offset..<shard.offset + shard.byteCount]))
                try StandardOutput.write(Array(lines))
            } catch let error as ShardPreparationError {
                throw error.inputError(file: name, firstLine: shard.firstLine + 1)
            }
        }
    }
}

private func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show what a modelN.bin or a checkpoint holds, and how `spacy train` loads it.")

    @Argument(help: "A modelN.bin (spaCy's own too) or a checkpoint (.safetensors).") var file: String

    func run() throws { try StandardOutput.write(try inspect(path: file)) }
}

struct KeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Make keys for a coordinator and its workers.")

    @Argument(help: "Folder for the key files; made if it is missing.") var folder: String

    func run() throws {
        for path in try KeyFile.generate(in: folder) { try StandardOutput.write(path + "\n") }
    }
}

struct ProfileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Time one core's work on an update by kernel, compared with this core's matrix multiplication.")

    @Option(help: "A compiled job whose model is measured (default: spaCy 2's, 96 wide and 4 deep).") var job: String?
    @Option(help: "Words of one update.") var batchSize = 3000
    @Option(help: "Lanes of one update.") var lanes = 4
    @Option(help: "Threads that share the lanes: with more of them, fewer lanes are computed together.") var threads = 1
    @Option(help: "Updates to measure.") var updates = 40
    @Option(help: "Also time tokenizing and features of these texts (.jsonl) on one core; needs --vectors-model.") var texts: String?
    @Option(help: "The vectors model whose tokenizer --texts is for.") var vectorsModel: String?

    func run() throws {
        guard (1...1_000_000).contains(batchSize), (1...ReductionTree.maximumLanes).contains(lanes), (1...100_000).contains(updates),
            (1...lanes).contains(threads)
        else {
            throw InputError("an option is out of range", at: "profile", remedy: "see --help")
        }
        let spec = try job.map { try CompiledJob(folder: $0).spec } ?? ModelSpec.spacy2(TrainingSettings())
        try spec.arithmetic.checkHost()
        let profile = try StepProfile.measure(
            spec: spec, lanes: lanes, threads: threads, wordsPerLane: max(1, batchSize / lanes), updates: updates)
        try StandardOutput.write(profile.description + "\n")
        let path = try UpdatePathProfile.measure(lanes: lanes, wordsPerLane: max(1, batchSize / lanes), updates: updates, spec: spec)
        try StandardOutput.write(path.description + "\n")
        guard let texts, let vectorsModel else { return }
        let file = try MappedFile(texts)
        do {
            let speed = try PreparationSpeed.measure(model: try VectorsModel(folder: vectorsModel), jsonl: file.bytes)
            try StandardOutput.write(
                "preparation: \(speed.documents) documents, \(speed.tokens) tokens, \(Int(speed.tokensPerSecond)) tokens/s on one core\n")
        } catch let error as ShardPreparationError {
            throw InputError(error.what, at: "\(texts):\(error.line + 1)", remedy: error.remedy)
        }
    }
}
