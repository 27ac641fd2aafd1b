import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Text

@Suite struct VectorsModelTests {
    @Test func readsRowsAndVectors() throws {
        let model = try TestModel().open()
        let table = try #require(model.vectors)
        #expect(table.rows == 4 && table.width == 2 && table.dataOffset == 128)
        #expect(table.row(2)[1] == 5)
        #expect(model.language == "en")
        func row(_ word: String) -> Int32 { Array(word.utf8).withUnsafeBufferPointer { model.lexicon.features($0).row } }
        #expect([row("do"), row("mark"), row("word"), row("Word"), row("other")] == [0, 1, 2, 2, -1])
        #expect(model.vectorsDigest.count == 64)
    }

    @Test func aBundleGivesTheSameWithoutTheVectors() throws {
        let folder = try TestModel(lookups: .map([MsgpackPair(.string("lexeme_norm"), .map([]))])).write()
        let model = try VectorsModel(folder: folder)
        let bundle = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-bundle-\(UUID().uuidString)").path
        defer {
            try? FileManager.default.removeItem(atPath: folder)
            try? FileManager.default.removeItem(atPath: bundle)
        }
        #expect(model.bundleFiles.map(\.name) == ["meta.json", "tokenizer", "vocab/key2row", "vocab/lookups.bin"])
        for file in model.bundleFiles {
            let target = URL(fileURLWithPath: "\(bundle)/\(file.name)")
            try FileManager.default.createDirectory(at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
            try FileManager.default.copyItem(at: URL(fileURLWithPath: file.path), to: target)
        }
        let remote = try VectorsModel(bundle: bundle)
        #expect(remote.vectors == nil && remote.vectorsDigest.isEmpty)
        #expect(remote.digest == model.digest)
        let text = Array(#"{"text": "I don't mark 10km words (word) at a.m."}"#.utf8)
        let prepared = try text.withUnsafeBytes { bytes in
            (
                try ShardPreparer(model: model, schema: .spacy2, minLength: 1, maxLength: 99).prepare(jsonl: bytes),
                try ShardPreparer(model: remote, schema: .spacy2, minLength: 1, maxLength: 99).prepare(jsonl: bytes)
            )
        }
        #expect(prepared.0 == prepared.1)
    }

    @Test func theDigestFollowsWhatDecides() throws {
        let digest = try TestModel().open().digest
        #expect(try TestModel().open().digest == digest)
        #expect(
            try TestModel(npyHeader: TestModel().npyHeader, vectorValues: [9, 9, 9, 9, 9, 9, 9, 9]).open().digest == digest,
            "vectors do not affect tokens")
        var other = TestModel()
        other.key2row = .map([MsgpackPair(.unsigned(5), .unsigned(0))])
        #expect(try other.open().digest != digest)
        #expect(try TestModel(meta: #"{"lang": "fr", "spacy_version": ">=2.3.9"}"#).open().digest != digest)
        #expect(try TestModel(meta: #"{"lang": "en", "spacy_version": ">=3.8.0"}"#).open().digest != digest)
        #expect(try TestModel(lookups: .map([])).open().digest != digest)
    }

    @Test func findsTheModelInsideAPackage() throws {
        let outer = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-package-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: outer) }
        try TestModel().write(to: "\(outer)/en_vectors-2.3.0")
        try Data(TestModel().meta.utf8).write(to: URL(fileURLWithPath: "\(outer)/meta.json"))
        #expect(try VectorsModel(folder: outer).folder == "\(outer)/en_vectors-2.3.0")
        try TestModel().write(to: "\(outer)/en_vectors-2.3.1")
        let error = #expect(throws: InputError.self) { try VectorsModel(folder: outer) }
        #expect(error?.description.contains("several models") == true)
    }

    /// What is wrong with a folder, and a part of the message that must say so.
    static let faults: [(TestModel, String)] = [
        (TestModel(without: ["meta.json"]), "no meta.json"),
        (TestModel(meta: "{"), "not the expected JSON"),
        (TestModel(meta: "{}"), "no \"lang\""),
        (TestModel(meta: #"{"lang": "ja", "spacy_version": ">=2.3.0"}"#), "not rule-based"),
        (TestModel(meta: #"{"lang": "zh"}"#, without: ["tokenizer"]), "not rule-based"),
        (TestModel(without: ["tokenizer"]), "no file `tokenizer`"),
        (TestModel(tokenizer: .map([MsgpackPair(.string("pkuseg"), .null)])), "not rule-based"),
        (TestModel(tokenizer: .unsigned(7)), "not rule-based"),
        (TestModel(without: ["vocab/vectors"]), "no vectors"),
        (TestModel(npyHeader: "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 0), }"), "no vectors"),
        (TestModel(npyHeader: "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 2), }"), "not '<f4'"),
        (TestModel(npyHeader: "{'descr': '<f4', 'fortran_order': True, 'shape': (4, 2), }"), "Fortran"),
        (TestModel(npyHeader: "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"), "not a table"),
        (TestModel(npyHeader: "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }"), "5 rows of 2 announced"),
        (TestModel(npyHeader: "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 8), }"), "announced"),
        (TestModel(without: ["vocab/key2row"]), "key2row is missing"),
        (TestModel(key2row: .map([])), "no word has a vector"),
        (TestModel(key2row: .map([MsgpackPair(.unsigned(9), .unsigned(4))])), "row 4 of 4"),
        (TestModel(key2row: .string("x")), "expected map, found string"),
        (TestModel(lookups: .map([MsgpackPair(.string("lexeme_norm"), .unsigned(3))])), "expected map, found integer"),
        (TestModel(meta: #"{"lang": "en", "spacy_version": ">=3.8.0"}"#, vectorsConfig: #"{"mode": "floret"}"#), "\"floret\""),
        (
            TestModel(meta: #"{"lang": "en", "spacy_version": ">=3.8.0"}"#, vectorsConfig: #"{"mode": "default", "attr": 66}"#),
            "attribute 66"
        ),
    ]

    @Test(arguments: 0..<faults.count) func refusesFaultyFolders(index: Int) throws {
        let (fault, words) = Self.faults[index]
        let folder = try fault.write()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let error = #expect(throws: InputError.self) { try VectorsModel(folder: folder) }
        let message = try #require(error).description
        #expect(message.contains(words), "\(message)")
        #expect(message.contains(folder) && !message.contains("\n") && error?.remedy.isEmpty == false, "\(message)")
    }

    @Test func refusesWhatIsNoFolder() {
        for path in ["/nonexistent/model", "/etc/hostname"] {
            let error = #expect(throws: InputError.self) { try VectorsModel(folder: path) }
            #expect(error?.description.hasPrefix(path + ": ") == true)
        }
    }

    /// Random damage is refused or read, never a trap.
    @Test func damagedFilesNeverTrap() throws {
        var generator = SplitMix64(state: 3)
        let folder = try TestModel(lookups: .map([MsgpackPair(.string("lexeme_norm"), .map([MsgpackPair(.unsigned(5), .string("x"))]))]))
            .write()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in ["tokenizer", "vocab/key2row", "vocab/lookups.bin", "vocab/vectors"] {
            let url = URL(fileURLWithPath: "\(folder)/\(name)")
            let whole = try Data(contentsOf: url)
            for _ in 0..<150 {
                var bytes = Array(whole)
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
                }
                if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
                try Data(bytes).write(to: url)
                _ = try? VectorsModel(folder: folder)
            }
            try whole.write(to: url)
        }
        _ = try VectorsModel(folder: folder)
    }
}
