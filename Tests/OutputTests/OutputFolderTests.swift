// The output folder: files of others are left alone, and every interrupted step is undone or finished.
import CLinux
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Formats
@testable import Model
@testable import Output

@Suite("Output folder") struct OutputFolderTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func write(_ text: String, _ path: String) throws {
        let folder = (path as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: path))
    }

    private func text(_ path: String) -> String? { FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } }

    /// Every file below a folder, with its text, except the lock file.
    private func tree(_ path: String) -> [String: String] {
        var found: [String: String] = [:]
        guard let walk = FileManager.default.enumerator(atPath: path) else { return found }
        for case let name as String in walk where name != "t2v/lock" {
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isFolder), !isFolder.boolValue {
                found[name] = text("\(path)/\(name)")
            }
        }
        return found
    }

    private func checkpoint(_ update: Int) -> Checkpoint {
        var checkpoint = Checkpoint(spec: .spacy2(TrainingSettings()))
        checkpoint.parameters = [NamedTensor(name: "mixer.b", shape: [2, 3], values: (0..<6).map { Float(update + $0) })]
        checkpoint.state.update = update
        return checkpoint
    }

    /// A run with two epochs and one checkpoint.
    private func makeRun(_ path: String, _ mark: String) throws {
        let folder = try OutputFolder(path)
        try folder.begin(files: [("config.json", bytes("config \(mark)"))], spool: nil)
        try folder.save(checkpoint(0), keep: 3)
        try folder.commit(run: bytes("run \(mark)"))
        for epoch in 0..<2 {
            try folder.writeModel(bytes("weights \(epoch) \(mark)"), epoch: epoch, temporary: false)
            _ = try folder.appendLog("{\"epoch\":\(epoch)}", after: epoch * 12)
        }
    }

    @Test func lookingChangesNothing() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/a/b/out"
        let folder = try OutputFolder(path)
        #expect(folder.contents == .noRun)
        try folder.requireRoom(for: ["config.json"])
        folder.abandon()
        #expect(scratch.names == [])
    }

    @Test func aRunIsFoundAgain() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        let folder = try OutputFolder(path)
        #expect(folder.contents == .run)
        #expect(try CheckpointStore(folder: folder.checkpointFolder, keep: 1).updates() == [0])
        #expect(text(folder.runPath) == "run A")
        #expect(text("\(path)/model1.bin") == "weights 1 A")
        #expect(FileManager.default.fileExists(atPath: "\(path)/t2v/lock"))
    }

    @Test func oneCoordinatorAtATime() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        let first = try OutputFolder(path)
        let error = #expect(throws: InputError.self) { _ = try OutputFolder(path) }
        #expect(error?.what.contains("another coordinator") == true)
        // It is the kernel's lock, which ends with the process, however that ends.
        let stranger = open("\(path)/t2v/lock", O_RDWR)
        defer { close(stranger) }
        #expect(stranger >= 0 && flock(stranger, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK)
        withExtendedLifetime(first) {}
    }

    /// The lock file stays when a coordinator ends, so that no other file of the same name can be locked.
    @Test func theLockFileStays() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        var before = stat()
        #expect(stat("\(path)/t2v/lock", &before) == 0)
        do { _ = try OutputFolder(path) }
        var after = stat()
        #expect(stat("\(path)/t2v/lock", &after) == 0 && before.st_ino == after.st_ino)
    }

    @Test(arguments: ["model0.bin", "model7.bin", "model3.temp.bin", "model-last.bin", "model-best.bin", "log.jsonl", "config.json"])
    func filesOfOthersAreInTheWay(name: String) throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try write("mine", "\(path)/\(name)")
        let folder = try OutputFolder(path)
        let error = #expect(throws: InputError.self) { try folder.requireRoom(for: ["config.json"]) }
        #expect(error?.what.contains(name) == true)
        #expect(throws: InputError.self) { try folder.begin(files: [("config.json", bytes("x"))], spool: nil) }
        folder.abandon()
        #expect(tree(path) == [name: "mine"])
    }

    /// A failed attempt in a folder that holds the user's files removes only its own.
    @Test func anAttemptIsTakenBack() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        for name in ["modelA.bin", "model.bin", "notes.txt", "t2v/mine.txt", "t2v/checkpoints/mine"] {
            try write("mine", "\(path)/\(name)")
        }
        let before = tree(path)
        let folder = try OutputFolder(path)
        try folder.begin(files: [("config.json", bytes("x"))], spool: nil)
        try folder.save(checkpoint(0), keep: 3)
        #expect(tree(path).count > before.count)
        folder.abandon()
        #expect(tree(path) == before)
    }

    @Test func anAttemptThatWasKilledIsTakenBack() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try write("mine", "\(path)/model.bin")
        do {
            let folder = try OutputFolder(path)
            try folder.begin(files: [("config.json", bytes("x"))], spool: nil)
            try folder.save(checkpoint(0), keep: 3)
        }
        #expect(try OutputFolder(path).contents == .noRun)
        #expect(tree(path) == ["model.bin": "mine"])
    }

    @Test func overwritingRemovesTheRunAfterTheCommit() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        try write("mine", "\(path)/notes.txt")
        let folder = try OutputFolder(path)
        try folder.begin(files: [("config.json", bytes("config B"))], spool: nil)
        #expect(text("\(path)/t2v/previous/model0.bin") == "weights 0 A")
        #expect(text("\(path)/model0.bin") == nil)
        try folder.save(checkpoint(0), keep: 3)
        try folder.commit(run: bytes("run B"))
        let names = tree(path)
        #expect(
            Set(names.keys) == [
                "config.json", "notes.txt", "t2v/manifest.json", "t2v/run.json", "t2v/checkpoints/checkpoint-0.safetensors",
            ])
        #expect(names["t2v/run.json"] == "run B")
    }

    /// If the new run ends before its first checkpoint, by an error or a kill, the old one is restored byte for byte.
    @Test(arguments: [true, false]) func overwritingFails(killed: Bool) throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        let before = tree(path)
        do {
            let folder = try OutputFolder(path)
            try folder.begin(files: [("config.json", bytes("config B"))], spool: nil)
            try folder.save(checkpoint(0), keep: 3)
            if !killed { folder.abandon() }
        }
        #expect(try OutputFolder(path).contents == .run)
        #expect(tree(path) == before)
    }

    /// A process can be killed between any two renames: from each state in between, the earlier run is restored.
    @Test(arguments: 0...6) func movingAsideIsInterrupted(step: Int) throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        let before = tree(path)
        let names = [
            "t2v/run.json", "t2v/manifest.json", "config.json", "t2v/checkpoints/checkpoint-0.safetensors", "model0.bin", "log.jsonl",
        ]
        for folder in ["", "/t2v", "/t2v/checkpoints"] {
            try FileManager.default.createDirectory(atPath: "\(path)/t2v/previous\(folder)", withIntermediateDirectories: true)
        }
        for name in names.prefix(step) { #expect(rename("\(path)/\(name)", "\(path)/t2v/previous/\(name)") == 0) }
        #expect(try OutputFolder(path).contents == .run)
        #expect(tree(path) == before)
        #expect(!FileManager.default.fileExists(atPath: "\(path)/t2v/previous"))
    }

    /// After the commit the old run is removed, even if the process is killed while doing so.
    @Test func removingIsInterrupted() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "B")
        let manifest = "{\"files\":[\"model0.bin\",\"model1.bin\"],\"format\":1}"
        for (name, text) in [("t2v/run.json", "run A"), ("t2v/manifest.json", manifest), ("model1.bin", "weights 1 A")] {
            try write(text, "\(path)/t2v/previous/\(name)")
        }
        #expect(try OutputFolder(path).contents == .run)
        #expect(text("\(path)/model1.bin") == "weights 1 B")
        #expect(!FileManager.default.fileExists(atPath: "\(path)/t2v/previous"))
    }

    @Test func aManifestThatLeadsOutIsRefused() throws {
        let scratch = try TemporaryFolder()
        try write("mine", scratch.path + "/precious")
        for name in ["../precious", "/etc/passwd", "a/../../precious", ""] {
            try write("{\"files\":[\"\(name)\"],\"format\":1}", scratch.path + "/out/t2v/manifest.json")
            #expect(throws: InputError.self) { _ = try OutputFolder(scratch.path + "/out") }
        }
        #expect(text(scratch.path + "/precious") == "mine")
    }

    /// A user's file that appears during the run is not overwritten.
    @Test func filesThatTurnUpDuringTheRun() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        try write("mine", "\(path)/model2.bin")
        let folder = try OutputFolder(path)
        #expect(throws: InputError.self) { try folder.writeModel(bytes("x"), epoch: 2, temporary: false) }
        #expect(text("\(path)/model2.bin") == "mine")
        try folder.writeModel(bytes("again"), epoch: 1, temporary: false)
        #expect(text("\(path)/model1.bin") == "again")
    }

    @Test func checkpointsOfThisRunAloneGo() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        try write("mine", "\(path)/t2v/checkpoints/checkpoint-7.safetensors")
        let folder = try OutputFolder(path)
        for update in [5, 9, 200] { try folder.save(checkpoint(update), keep: 2) }
        let store = CheckpointStore(folder: folder.checkpointFolder, keep: 2)
        #expect(try store.updates() == [7, 9, 200])
        // Later checkpoints, of updates that are done again, are removed.
        try folder.save(checkpoint(50), keep: 2)
        #expect(try store.updates() == [7, 9, 50])
        #expect(try store.latestGood().checkpoint?.state.update == 50)
    }

    @Test func theLogIsCutBackAndNeverFilledUp() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try makeRun(path, "A")
        let folder = try OutputFolder(path)
        #expect(try folder.resume(run: bytes("run C"), spool: nil, logByteCount: 12) == 12)
        #expect(text("\(path)/log.jsonl") == "{\"epoch\":0}\n")
        #expect(try folder.resume(run: bytes("run C"), spool: nil, logByteCount: 500) == 12)
        #expect(text("\(path)/log.jsonl") == "{\"epoch\":0}\n")
        #expect(text("\(path)/t2v/run.json") == "run C")
    }

    @Test func aRunOfTheEarlierLayoutIsTakenOver() throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path + "/out"
        try write("{\"t2v_version\": \"0.1.0\"}", "\(path)/config.json")
        try write("{\"epoch\":0,\"loss\":1}\n", "\(path)/log.jsonl")
        for name in ["model0.bin", "model7.bin", "texts.spool.jsonl", "notes.txt"] { try write(name, "\(path)/\(name)") }
        try FileManager.default.createDirectory(atPath: "\(path)/checkpoints", withIntermediateDirectories: true)
        try checkpoint(5).write(to: "\(path)/checkpoints/checkpoint-5.safetensors")
        let before = tree(path)
        do {
            let folder = try OutputFolder(path)
            #expect(folder.contents == .earlierLayout)
            #expect(try CheckpointStore(folder: folder.checkpointFolder, keep: 1).updates() == [5])
            #expect(tree(path).filter { $0.key != ".lock" } == before)
            #expect(try folder.resume(run: bytes("run"), spool: nil, logByteCount: 21) == 21)
        }
        let folder = try OutputFolder(path)
        #expect(folder.contents == .run)
        #expect(try CheckpointStore(folder: folder.checkpointFolder, keep: 1).updates() == [5])
        #expect(text(folder.spoolPath) == "texts.spool.jsonl")
        // The log does not mention epoch 7: that file is not t2v's.
        #expect(throws: InputError.self) { try folder.writeModel(bytes("x"), epoch: 7, temporary: false) }
        try folder.writeModel(bytes("x"), epoch: 0, temporary: false)
        #expect(text("\(path)/notes.txt") == "notes.txt")
    }

    @Test func textsWithoutANameLeaveNothing() throws {
        let scratch = try TemporaryFolder()
        do {
            let spool = try UnnamedFile(for: scratch.path + "/out/t2v/texts.spool.jsonl")
            try bytes("{}\n").withUnsafeBytes { try spool.append($0, place: "x") }
            #expect(text(spool.path) == "{}\n")
        }
        #expect(scratch.names == [])
        let folder = try OutputFolder(scratch.path + "/out")
        let spool = try UnnamedFile(for: folder.spoolPath)
        try bytes("{}\n").withUnsafeBytes { try spool.append($0, place: "x") }
        try folder.begin(files: [], spool: spool)
        #expect(text(folder.spoolPath) == "{}\n")
        // The texts may come from a file that nobody else may read.
        var status = stat()
        #expect(stat(folder.spoolPath, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }
}
