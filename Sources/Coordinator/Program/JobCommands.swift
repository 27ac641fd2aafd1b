// Commands for the Python front end. In: a job folder, texts. Out: JSON on standard output.
import ArgumentParser
import Base
import CoordinatorKit
import FoundationEssentials
import Glibc
import Run
import Shards
import Text

struct AttributesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attributes", abstract: "Print which attributes of words t2v computes itself, as JSON.",
        discussion: "\"words\" maps each attribute to the languages for which it does not, \"tokens\" lists those that belong to a token.")

    private struct Lists: Encodable {
        var words: [String: [String]]
        var tokens: [String]
    }

    func run() throws {
        let words = Dictionary(uniqueKeysWithValues: WordAttribute.allCases.map { ($0.rawValue, $0.excludedLanguages) })
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let lists = Lists(words: words, tokens: FeatureSchema.TokenColumn.allCases.map(\.rawValue))
        print(String(decoding: try encoder.encode(lists), as: UTF8.self))
    }
}

/// `features --job JOB TEXTS`.
func printFeatures(job path: String, texts: String) throws {
    let job = try CompiledJob(folder: path, isWhole: false)
    guard job.text.path == .fast else {
        throw InputError("this job's texts are prepared by Python: \(job.why)", at: job.folder, remedy: "ask Python for their features")
    }
    let printer = JobFeaturesPrinter(model: try VectorsModel(job.textFiles, text: job.text), text: job.text)
    let (file, index) = try TextSource.withPlainFile(texts, format: job.text.corpusFormat) { path in
        (try MappedFile(path), try CorpusIndex(paths: [path], format: job.text.corpusFormat, lanes: 1))
    }
    let name = texts == "-" ? "standard input" : texts
    for shard in index.shards {
        do {
            let lines = try printer.lines(UnsafeRawBufferPointer(rebasing: file.bytes[shard.offset..<shard.offset + shard.byteCount]))
            try StandardOutput.write(Array(lines))
        } catch let error as ShardPreparationError {
            throw error.inputError(file: name, firstLine: shard.firstLine + 1)
        }
    }
}
