// `features`, `inspect` and `keygen`.
import ArgumentParser
import Core
import Foundation
import Launch

struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "features", abstract: "Print what the trainer sees: one JSON line a document.",
        discussion: "Every document is printed, whatever its length; empty ones are left out.")

    @Argument(help: "Folder of a spaCy model.") var vectorsModel: String
    @Argument(help: "Texts: .jsonl.") var texts: String

    func run() throws {
        let model = try VectorsModel(folder: vectorsModel)
        try printFeatures(model: model, texts: texts) { FileHandle.standardOutput.write(Data($0)) }
    }
}

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Tell what a modelN.bin or a checkpoint holds, and how `spacy train` loads it.")

    @Argument(help: "A modelN.bin (spaCy's own too) or a checkpoint (.safetensors).") var file: String

    func run() throws { print(try inspect(path: file)) }
}

struct KeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Make keys for a coordinator and its workers.")

    @Argument(help: "Folder for the key files; made where it is missing.") var folder: String

    func run() throws {
        for path in try KeyFile.generate(in: folder) { print(path) }
    }
}
