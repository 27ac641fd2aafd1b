// Weights files and safetensors against the real spaCy and the public safetensors package. In: dumps in data/, venvs. Out: equality.
import Base
import Formats
import Foundation
import Model
import Testing

/// Finds the Python of a venv and runs the scripts of reference/.
enum ReferencePython {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The interpreter of `name` ("spacy-2.3.9") in $T2V_VENVS, or in .venvs of the repository; nil if there is none.
    static func path(_ name: String) -> String? {
        let folder = ProcessInfo.processInfo.environment["T2V_VENVS"] ?? root.appending(path: ".venvs").path
        let path = "\(folder)/\(name)/bin/python"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }

    static func absence(_ name: String) -> Comment {
        "SKIPPED: no venv \(name) in $T2V_VENVS or .venvs: the real spaCy was not asked"
    }

    /// Runs a script of reference/ and returns its exit status and everything it printed.
    static func run(_ python: String, _ script: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: python)
        process.arguments = ["-W", "ignore", root.appending(path: "Tests/GoldenTests/reference/\(script)").path] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }
}

/// A folder that goes away with its owner.
final class ExportFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "t2v-export-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

private func data(_ name: String) throws -> [UInt8] {
    let url = try #require(Bundle.module.url(forResource: "data/\(name)", withExtension: nil))
    return [UInt8](try Data(contentsOf: url))
}

/// Tensors of that shape whose values all differ, so that a mix-up shows.
private func tok2vec(_ shape: Tok2VecShape, seeds: [UInt32]) throws -> ThincTok2Vec {
    var next: Float = 1
    let tensors = shape.tensors().map { tensor in
        let values = (0..<tensor.shape.reduce(1, *)).map { _ in
            next += 1
            return next / 64
        }
        return NamedTensor(name: tensor.name, shape: tensor.shape, values: values)
    }
    return try ThincTok2Vec(tensors: tensors, seeds: seeds, place: "test")
}

@Suite("Export")
struct ExportTests {
    static let files = ["export-2.3.9-plain", "export-2.3.9-vectors", "export-2.1.9-plain", "export-2.1.9-vectors"]

    @Test("a file of spaCy's own is written again byte for byte", arguments: files)
    func roundTrip(name: String) throws {
        let bytes = try data("\(name).bin")
        let file = try ThincTok2Vec.decode(bytes, place: name)
        #expect(file.encoded() == bytes)
        let isPlain = name.hasSuffix("plain")
        #expect(
            file.shape
                == Tok2VecShape(
                    width: 16, depth: isPlain ? 2 : 1, pieces: isPlain ? 3 : 2, rows: isPlain ? 50 : 31, vectorWidth: isPlain ? nil : 12))
    }

    @Test("tensors and seeds have the names that the layers of the real model have", arguments: ["plain", "vectors"])
    func names(kind: String) throws {
        let file = try ThincTok2Vec.decode(try data("export-2.3.9-\(kind).bin"), place: kind)
        let url = try #require(Bundle.module.url(forResource: "data/export-2.3.9-\(kind).safetensors", withExtension: nil))
        // Written by the public package from the model's layers, which the script found in the order of the data.
        let reference = try SafetensorsFile(path: url.path)
        #expect(reference.entries.count == file.tensors.count)
        for entry in reference.entries {
            let tensor = try #require(file.tensors.first { $0.name == entry.name }, "\(entry.name)")
            #expect(try reference.floats(entry) == tensor)
        }
        #expect(file.seeds == [6, 7, 8, 9])
        #expect(reference.metadata["embed.suffix.seed"] == "8")
    }

    @Test("seeds of spaCy 2.1 stay with the weights")
    func oldSeeds() throws {
        let file = try ThincTok2Vec.decode(try data("export-2.1.9-plain.bin"), place: "2.1.9")
        #expect(file.seeds == [12, 13, 14, 15])
    }

    static let shapes = [
        Tok2VecShape(width: 96, depth: 4, pieces: 3, rows: 2000, vectorWidth: nil),
        Tok2VecShape(width: 128, depth: 8, pieces: 2, rows: 501, vectorWidth: nil),
        Tok2VecShape(width: 32, depth: 1, pieces: 1, rows: 20, vectorWidth: nil),
        Tok2VecShape(width: 64, depth: 3, pieces: 3, rows: 100, vectorWidth: 300),
    ]

    @Test(
        "spaCy 2.3.9 loads t2v's file, has the same tensors under the same names, and writes the same bytes",
        .enabled(if: ReferencePython.path("spacy-2.3.9") != nil, ReferencePython.absence("spacy-2.3.9")), arguments: shapes)
    func loadsIn23(shape: Tok2VecShape) throws { try load("spacy-2.3.9", shape, withNames: true) }

    @Test(
        "spaCy 2.1.9 loads t2v's file and writes the same bytes",
        .enabled(if: ReferencePython.path("spacy-2.1.9") != nil, ReferencePython.absence("spacy-2.1.9")), arguments: shapes)
    func loadsIn21(shape: Tok2VecShape) throws { try load("spacy-2.1.9", shape, withNames: false) }

    /// The public safetensors package, in the venv of spaCy 2.3.9, reads what `Safetensors` writes on the way.
    private func load(_ venv: String, _ shape: Tok2VecShape, withNames: Bool) throws {
        let python = try #require(ReferencePython.path(venv))
        let folder = try ExportFolder()
        let file = try tok2vec(shape, seeds: [6, 300, 70_000, 4_000_000_000])
        let path = "\(folder.path)/model0.bin", tensors = "\(folder.path)/tensors.safetensors"
        try AtomicFile.write(file.encoded(), to: path)
        let seeds = [("norm", 6), ("prefix", 300), ("suffix", 70_000), ("shape", 4_000_000_000)]
        try AtomicFile.write(to: tensors) { (sink) throws(InputError) in
            let metadata = Dictionary(uniqueKeysWithValues: seeds.map { ("embed.\($0.0).seed", "\($0.1)") })
            try Base.Safetensors.write(file.tensors.map { Base.Safetensors.Part($0) }, metadata: metadata, to: &sink)
        }
        let numbers = [shape.width, shape.rows, shape.depth, shape.pieces, shape.vectorWidth ?? 0].map(String.init)
        let result = try ReferencePython.run(python, "export_load.py", [path] + numbers + (withNames ? [tensors] : []))
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.contains("ok: spaCy \(venv.dropFirst(6))"), "\(result.output)")
    }
}

/// Weights files with the output of inspect, for train_check.py. By hand: T2V_EXPORT_SAMPLES=FOLDER swift test --filter ExportSamples
@Suite(
    "ExportSamples", .enabled(if: ProcessInfo.processInfo.environment["T2V_EXPORT_SAMPLES"] != nil, "set T2V_EXPORT_SAMPLES to a folder"))
struct ExportSamples {
    @Test("files of random values for the settings that spacy-facts names")
    func write() throws {
        let folder = try #require(ProcessInfo.processInfo.environment["T2V_EXPORT_SAMPLES"])
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        // The demo's vectors are 64 wide.
        let kinds: [(String, Tok2VecShape)] = [
            ("defaults", Tok2VecShape(width: 96, depth: 4, pieces: 3, rows: 2000, vectorWidth: nil)),
            ("cw128", Tok2VecShape(width: 128, depth: 4, pieces: 3, rows: 2000, vectorWidth: nil)),
            ("cd8", Tok2VecShape(width: 96, depth: 8, pieces: 3, rows: 2000, vectorWidth: nil)),
            ("er5000", Tok2VecShape(width: 96, depth: 4, pieces: 3, rows: 5000, vectorWidth: nil)),
            ("cP2", Tok2VecShape(width: 96, depth: 4, pieces: 2, rows: 2000, vectorWidth: nil)),
            ("uv", Tok2VecShape(width: 96, depth: 4, pieces: 3, rows: 2000, vectorWidth: 64)),
            ("mixed", Tok2VecShape(width: 64, depth: 2, pieces: 2, rows: 501, vectorWidth: 64)),
        ]
        for (name, shape) in kinds {
            var state: UInt32 = 1
            let tensors = shape.tensors().map { tensor in
                let isGain = tensor.name.hasSuffix(".G")
                let values = (0..<tensor.shape.reduce(1, *)).map { _ in
                    state = state &* 1_664_525 &+ 1_013_904_223
                    return isGain ? 1 : (Float(state >> 8) / Float(1 << 24) - 0.5) * 0.2
                }
                return NamedTensor(name: tensor.name, shape: tensor.shape, values: values)
            }
            let path = "\(folder)/\(name).bin"
            try AtomicFile.write(try ThincTok2Vec(tensors: tensors, seeds: ModelSpec.spacy2Seeds, place: name).encoded(), to: path)
            try AtomicFile.write(Array(inspect(path: path).utf8), to: "\(folder)/\(name).inspect.txt")
        }
    }
}
