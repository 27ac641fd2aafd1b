// The safetensors format: what is written can be read, and no header from outside leads out of the file.
import Foundation
import TestSupport
import Testing

@testable import Base

/// Keeps an array's bytes where a mapped file's would be.
final class HeldBytes {
    let buffer: UnsafeMutableRawBufferPointer

    init(_ bytes: [UInt8]) {
        buffer = .allocate(byteCount: bytes.count, alignment: 64)
        buffer.copyBytes(from: bytes)
    }

    deinit { buffer.deallocate() }

    func open() throws -> SafetensorsFile { try SafetensorsFile(bytes: UnsafeRawBufferPointer(buffer), owner: self, place: "held") }
}

@Suite("Safetensors")
struct SafetensorsTests {
    static let tensors = [
        NamedTensor(name: "a", shape: [2, 3], values: [1, 2, 3, 4, 5, 6]),
        NamedTensor(name: "scalar", shape: [], values: [7]),
        NamedTensor(name: "empty", shape: [0, 4], values: []),
    ]
    static let table = NamedWords(name: "w", shape: [2], values: [.max, 1])

    static func sample(metadata: [String: String] = ["note": "a \"quoted\"\n\\ line \u{1} é"]) throws -> [UInt8] {
        let folder = try TemporaryFolder()
        try AtomicFile.write(to: folder.path + "/x") { (sink) throws(InputError) in
            try Safetensors.write(tensors.map { Safetensors.Part($0) } + [Safetensors.Part(table)], metadata: metadata, to: &sink)
        }
        return try folder.bytes("x")
    }

    /// A file of that header and `dataCount` zeros.
    static func file(_ header: String, dataCount: Int) -> [UInt8] {
        withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
            + [UInt8](repeating: 0, count: dataCount)
    }

    @Test("arrays and metadata come back, aligned, and the digest agrees")
    func roundTrip() throws {
        let file = try HeldBytes(Self.sample()).open()
        #expect(file.entries.map(\.name).sorted() == ["a", "empty", "scalar", "w"])
        for tensor in Self.tensors {
            let entry = try #require(file.entries.first { $0.name == tensor.name })
            #expect(try file.floats(entry) == tensor)
        }
        let words = try #require(file.entries.first { $0.name == "w" })
        #expect(try file.words(words) == Self.table)
        #expect(throws: InputError.self) { try file.floats(words) }
        #expect(file.metadata == ["note": "a \"quoted\"\n\\ line \u{1} é"])
        #expect(file.entries[0].range.lowerBound % Safetensors.alignment == 0)
        #expect(try file.verifyDigest())
    }

    @Test("equal content gives equal bytes")
    func deterministic() throws {
        let metadata = Dictionary(uniqueKeysWithValues: (0..<50).map { ("key\($0)", "value") })
        #expect(try Self.sample(metadata: metadata) == Self.sample(metadata: metadata))
    }

    @Test("every flipped bit is found, in length, header and data, and no truncation is accepted")
    func flips() throws {
        let bytes = try Self.sample()
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                let isTaken = (try? HeldBytes(changed).open().verifyDigest()) ?? false
                #expect(!isTaken, "bit \(bit) of byte \(index)")
            }
        }
        for length in 0..<bytes.count {
            #expect(throws: InputError.self) { try HeldBytes(Array(bytes[..<length])).open() }
        }
        #expect(throws: InputError.self) { try HeldBytes(bytes + [0]).open() }
    }

    @Test(
        "headers that lie are refused",
        arguments: [
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9),
            (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2305843009213693952,8],"data_offsets":[0,8]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, 8),
            (#"{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[1e99],"data_offsets":[0,8]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8),
            (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#, 12),
            (#"{"a":7}"#, 0), ("[]", 0), ("{", 0), (#"{"__metadata__":{"x":1}}"#, 0), ("\u{0}\u{0}", 0),
        ])
    func lies(header: String, dataCount: Int) {
        #expect(throws: InputError.self) { try HeldBytes(Self.file(header, dataCount: dataCount)).open() }
    }

    @Test("a lying length, deep nesting and random bytes do not trap")
    func garbage() throws {
        #expect(throws: InputError.self) { try HeldBytes([UInt8](repeating: 0xff, count: 64)).open() }
        let deep = String(repeating: "[", count: 200_000)
        #expect(throws: InputError.self) { try HeldBytes(Self.file(deep, dataCount: 0)).open() }
        let deepMaps = String(repeating: #"{"a":"#, count: 100_000)
        #expect(throws: InputError.self) { try HeldBytes(Self.file(deepMaps, dataCount: 0)).open() }
        var random = SplitMix64(state: 3)
        let bytes = try Self.sample()
        for _ in 0..<10_000 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                changed[Int.random(in: 8..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            _ = try? HeldBytes(changed).open()
        }
    }
}
