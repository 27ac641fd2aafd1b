// Checkpoints: nothing is lost in a round trip, and a damaged one is reported while the one before it is used.
import CLinux
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Formats
@testable import Model

@Suite("Checkpoint")
struct CheckpointTests {
    static func sample(update: Int) -> Checkpoint {
        var checkpoint = Checkpoint(spec: .spacy2(TrainingSettings()))
        func group(_ base: Float) -> [NamedTensor] {
            [
                NamedTensor(name: "mixer.W", shape: [2, 3, 2], values: (0..<12).map { base + Float($0) }),
                NamedTensor(name: "mixer.b", shape: [2, 3], values: (0..<6).map { base - Float($0) }),
            ]
        }
        checkpoint.parameters = group(Float(update))
        checkpoint.moment1 = group(0.25)
        checkpoint.moment2 = group(1e-30)
        checkpoint.averages = group(-1)
        checkpoint.tables = [NamedWords(name: "random_words", shape: [2, 2], values: [1, .max, 3, 4])]
        checkpoint.spec = .spacy2(TrainingSettings(), seeds: [12, 13, 14, 4_000_000_000])
        checkpoint.configuration = "{\"width\": 96, \"texts\": \"a\\\"b.jsonl\"}\n"
        checkpoint.state.update = update
        checkpoint.state.seed = .max
        checkpoint.state.loss = 0.1 + 0.2
        checkpoint.state.epochLoss = .infinity
        checkpoint.state.wordCount = 1 << 60
        checkpoint.state.extra = ["lane": "ü \u{1F600}"]
        return checkpoint
    }

    @Test("everything comes back bit for bit")
    func roundTrip() throws {
        let folder = try TemporaryFolder()
        let checkpoint = Self.sample(update: 3)
        try checkpoint.write(to: folder.path + "/c.safetensors")
        #expect(try Checkpoint.load(path: folder.path + "/c.safetensors") == checkpoint)
        #expect(folder.names == ["c.safetensors"])
    }

    @Test("the metadata has the seeds of spaCy 2's tables under their names, and none of other tables")
    func seeds() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/c.safetensors"
        func written(_ checkpoint: Checkpoint) throws -> [String: String] {
            try checkpoint.write(to: path)
            return try SafetensorsFile(path: path).metadata.filter { $0.key.hasSuffix(".seed") }
        }
        var checkpoint = Self.sample(update: 3)
        #expect(
            try written(checkpoint) == [
                "embed.norm.seed": "12", "embed.prefix.seed": "13", "embed.suffix.seed": "14", "embed.shape.seed": "4000000000",
            ])
        var table = checkpoint.spec.tables[3]
        table.attribute = "LOWER"
        checkpoint.spec.inputs[3] = .table(table)
        #expect(try written(checkpoint).isEmpty)
    }

    @Test("a truncated, altered, empty or renamed checkpoint is reported and the one before it is used")
    func damaged() throws {
        let folder = try TemporaryFolder()
        let store = CheckpointStore(folder: folder.path, keep: 9)
        for update in 1...5 { try store.write(Self.sample(update: update)) }
        var bytes = try folder.bytes("checkpoint-5.safetensors")
        try Data(bytes.dropLast(3)).write(to: URL(filePath: store.path(update: 5)))
        bytes = try folder.bytes("checkpoint-4.safetensors")
        bytes[bytes.count / 2] ^= 0x10
        try Data(bytes).write(to: URL(filePath: store.path(update: 4)))
        try Data().write(to: URL(filePath: store.path(update: 3)))
        try Data(folder.bytes("checkpoint-2.safetensors")).write(to: URL(filePath: store.path(update: 6)))
        try Data("x".utf8).write(to: URL(filePath: folder.path + "/checkpoint-+7.safetensors"))
        let (checkpoint, skipped) = try store.latestGood()
        #expect(checkpoint == Self.sample(update: 2))
        #expect(skipped.map { String($0.place.split(separator: "/").last ?? "") } == [6, 5, 4, 3].map { "checkpoint-\($0).safetensors" })
        #expect(skipped[0].what == "it holds update 2")
    }

    @Test("any flipped bit of a checkpoint is found", arguments: [0, 1])
    func flips(half: Int) throws {
        let folder = try TemporaryFolder()
        let store = CheckpointStore(folder: folder.path, keep: 3)
        var small = Self.sample(update: 2)
        (small.moment1, small.moment2, small.averages) = ([], [], [])
        try store.write(Self.sample(update: 1))
        try store.write(small)
        let bytes = try folder.bytes("checkpoint-2.safetensors")
        for bit in stride(from: half, to: bytes.count * 8, by: 2) {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            try Data(changed).write(to: URL(filePath: store.path(update: 2)))
            let (checkpoint, skipped) = try store.latestGood()
            #expect(checkpoint?.state.update == 1 && skipped.count == 1, "bit \(bit)")
        }
    }

    @Test("an empty folder has none, a missing one is an error")
    func none() throws {
        let folder = try TemporaryFolder()
        let (checkpoint, skipped) = try CheckpointStore(folder: folder.path, keep: 1).latestGood()
        #expect(checkpoint == nil && skipped.isEmpty)
        #expect(throws: InputError.self) { try CheckpointStore(folder: folder.path + "/no", keep: 1).latestGood() }
    }

    @Test("a checkpoint of another version is refused as such")
    func version() throws {
        let folder = try TemporaryFolder()
        var checkpoint = Self.sample(update: 1)
        checkpoint.state.formatVersion = 99
        try checkpoint.write(to: folder.path + "/c.safetensors")
        let error = #expect(throws: InputError.self) { try Checkpoint.load(path: folder.path + "/c.safetensors") }
        #expect(try #require(error).what.contains("another version"))
    }
}

@Suite("Atomic file")
struct AtomicFileTests {
    @Test("a body that fails leaves the old file and nothing else")
    func failure() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a"
        try AtomicFile.write([1, 2, 3], to: path)
        let error = #expect(throws: InputError.self) {
            try AtomicFile.write(to: path) { (sink) throws(InputError) in
                try sink.write([UInt8](repeating: 7, count: 3 << 20))
                throw InputError("stop", at: path, remedy: "")
            }
        }
        #expect(try #require(error).what == "stop")
        #expect(folder.names == ["a"])
        #expect(try folder.bytes("a") == [1, 2, 3])
    }

    @Test("a full disk is reported with path and remedy")
    func fullDevice() throws {
        let descriptor = open("/dev/full", O_WRONLY)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        let error = #expect(throws: InputError.self) {
            var sink = FileSink(descriptor: descriptor, path: "/out/model0.bin")
            try sink.write([1, 2, 3])
            try sink.flush()
        }
        #expect(
            try #require(error).description == "/out/model0.bin: cannot write: No space left on device; free space on its disk")
    }

    /// A real full file system, where the test may mount one.
    @Test("on a full file system the old file stays and no temporary file is left")
    func fullDisk() throws {
        let folder = try TemporaryFolder()
        guard mount("tmpfs", folder.path, "tmpfs", 0, "size=1m") == 0 else {
            print("SKIPPED: no permission to mount a small tmpfs: a full disk was not tested")
            return
        }
        defer { umount(folder.path) }
        try AtomicFile.write([UInt8](repeating: 1, count: 1000), to: folder.path + "/a")
        let error = #expect(throws: InputError.self) {
            try AtomicFile.write([UInt8](repeating: 2, count: 4 << 20), to: folder.path + "/a")
        }
        #expect(try #require(error).description == "\(folder.path)/a: cannot write: No space left on device; free space on its disk")
        #expect(folder.names == ["a"])
        #expect(try folder.bytes("a") == [UInt8](repeating: 1, count: 1000))
        try AtomicFile.write([UInt8](repeating: 3, count: 1000), to: folder.path + "/a")
        #expect(try folder.bytes("a").first == 3)
    }

    @Test("a missing folder and a file in its place are reported")
    func noFolder() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write([1], to: folder.path + "/file")
        for path in [folder.path + "/no/a", folder.path + "/file/a"] {
            let error = #expect(throws: InputError.self) { try AtomicFile.write([1], to: path) }
            #expect(try #require(error).place == path)
            #expect(try #require(error).remedy == "create the folder, or choose another one")
        }
    }

    @Test("large and small pieces arrive in order, and files of killed processes are removed")
    func pieces() throws {
        let folder = try TemporaryFolder()
        var expected: [UInt8] = []
        try AtomicFile.write(to: folder.path + "/a") { (sink) throws(InputError) in
            for (value, count) in [(1, 10), (2, 1 << 20), (3, 1), (4, (1 << 20) - 1), (5, 2), (6, 3_000_000)] {
                let piece = [UInt8](repeating: UInt8(value), count: count)
                expected += piece
                try sink.write(piece)
            }
        }
        #expect(try folder.bytes("a") == expected)
        try AtomicFile.write([1], to: folder.path + "/.a.t2v-tmp-1")
        AtomicFile.removeLeftovers(in: folder.path)
        #expect(folder.names == ["a"])
    }
}
