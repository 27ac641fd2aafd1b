import Foundation

@testable import Base
@testable import Text

/// A vectors model made by hand: few exceptions, simple affixes, four vectors. Each test changes the part that it tests.
struct TestModel {
    var meta = #"{"lang": "en", "name": "model", "version": "0.0.0", "spacy_version": ">=2.3.9"}"#
    var tokenizer: MsgpackValue = .map([
        MsgpackPair(.string("prefix_search"), .string("^[(\"']|^\\.\\.\\.")),
        MsgpackPair(.string("suffix_search"), .string("[)\"'.,:]$|(?<=[0-9])km$")),
        MsgpackPair(.string("infix_finditer"), .string("-|(?<=[a-z])\\.(?=[A-Z])")),
        MsgpackPair(.string("token_match"), .null),
        MsgpackPair(.string("url_match"), .string("(?u)^https?://\\S+$")),
        MsgpackPair(
            .string("exceptions"),
            .map([
                exception("don't", [("do", nil), ("n't", "not")]), exception("a.m.", [("a.m.", nil)]), exception(":)", [(":)", nil)]),
                exception("cannot", [("can", "can"), ("not", "not")]),
            ])),
    ])
    var key2row: MsgpackValue = .map([
        MsgpackPair(.unsigned(StringIDs(.spacy23).id("do")), .unsigned(0)), MsgpackPair(.unsigned(423), .unsigned(1)),
        MsgpackPair(.unsigned(StringIDs(.spacy23).id("word")), .unsigned(2)),
        MsgpackPair(.unsigned(StringIDs(.spacy23).id("Word")), .unsigned(2)),
    ])
    var npyHeader = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }"
    var vectorValues: [Float] = [0, 1, 2, 3, 4, 5, 6, 7]
    var lookups: MsgpackValue?
    var vectorsConfig: String?
    var without: Set<String> = []

    static func exception(_ text: String, _ tokens: [(String, String?)]) -> MsgpackPair {
        let items = tokens.map { token in
            MsgpackValue.map(
                [MsgpackPair(.unsigned(65), .string(token.0))] + (token.1.map { [MsgpackPair(.unsigned(67), .string($0))] } ?? []))
        }
        return MsgpackPair(.string(text), .array(items))
    }

    var npy: Data {
        var data = Data([0x93] + Array("NUMPY".utf8) + [1, 0])
        let padded = npyHeader + String(repeating: " ", count: (64 - (10 + npyHeader.utf8.count + 1) % 64) % 64) + "\n"
        data += withUnsafeBytes(of: UInt16(padded.utf8.count).littleEndian) { Data($0) } + Data(padded.utf8)
        return vectorValues.withUnsafeBytes { data + Data($0) }
    }

    /// Writes the folder and returns its path.
    func write() throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("t2v-model-\(UUID().uuidString)").path
        try write(to: folder)
        return folder
    }

    func write(to folder: String) throws {
        try FileManager.default.createDirectory(atPath: folder + "/vocab", withIntermediateDirectories: true)
        var files: [String: Data] = [
            "meta.json": Data(meta.utf8), "tokenizer": Data(encode(tokenizer)), "vocab/key2row": Data(encode(key2row)),
            "vocab/vectors": npy,
        ]
        files["vocab/lookups.bin"] = lookups.map { Data(encode($0)) }
        files["vocab/vectors.cfg"] = vectorsConfig.map { Data($0.utf8) }
        for (name, data) in files where !without.contains(name) { try data.write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
    }

    /// The model, with its folder already deleted: mappings stay.
    func open() throws -> VectorsModel {
        let folder = try write()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        return try VectorsModel(folder: folder)
    }
}

/// Msgpack bytes of a value, always in the widest form.
func encode(_ value: MsgpackValue) -> [UInt8] {
    func big<T: FixedWidthInteger>(_ number: T) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }
    switch value {
    case .null: return [0xc0]
    case .bool(let flag): return [flag ? 0xc3 : 0xc2]
    case .unsigned(let number): return [0xcf] + big(number)
    case .negative(let number): return [0xd3] + big(number)
    case .float(let number): return [0xca] + big(number.bitPattern)
    case .double(let number): return [0xcb] + big(number.bitPattern)
    case .string(let string): return [0xdb] + big(UInt32(string.utf8.count)) + Array(string.utf8)
    case .binary(let bytes): return [0xc6] + big(UInt32(bytes.count)) + bytes
    case .array(let items): return [0xdd] + big(UInt32(items.count)) + items.flatMap(encode)
    case .map(let pairs): return [0xdf] + big(UInt32(pairs.count)) + pairs.flatMap { encode($0.key) + encode($0.value) }
    case .extended(let type, let bytes): return [0xc9] + big(UInt32(bytes.count)) + [UInt8(bitPattern: type)] + bytes
    }
}
