// The weights file: what is written can be read, and no bytes from outside cause a trap.
import TestSupport
import Testing

@testable import Base
@testable import Formats
@testable import Model

/// A tok2vec of small integers, all different.
func sampleTok2Vec(_ shape: Tok2VecShape, seeds: [UInt32] = ModelSpec.spacy2Seeds) throws -> ThincTok2Vec {
    var next: Float = 0
    let tensors = shape.tensors().map { tensor in
        let values = (0..<tensor.shape.reduce(1, *)).map { _ in
            next += 1
            return next
        }
        return NamedTensor(name: tensor.name, shape: tensor.shape, values: values)
    }
    return try ThincTok2Vec(tensors: tensors, seeds: seeds, place: "sample")
}

@Suite("Weights file")
struct ThincFileTests {
    static let small = Tok2VecShape(width: 3, depth: 2, pieces: 2, rows: 5, vectorWidth: nil)
    static let withVectors = Tok2VecShape(width: 2, depth: 1, pieces: 1, rows: 4, vectorWidth: 7)

    @Test(
        "what is written can be read, for any shape",
        arguments: [
            small, withVectors, Tok2VecShape(width: 1, depth: 20, pieces: 5, rows: 2, vectorWidth: 1),
        ])
    func roundTrip(shape: Tok2VecShape) throws {
        let file = try sampleTok2Vec(shape, seeds: [0, 128, .max, 65_536])
        #expect(try ThincTok2Vec.decode(file.encoded(), place: "x") == file)
    }

    @Test("the number of entries is 16 + 5 D, with vectors 18 + 5 D")
    func entryCount() {
        for depth in 1...9 {
            #expect(ThincEntry.all(depth: depth, useVectors: false).count == 16 + 5 * depth)
            #expect(ThincEntry.all(depth: depth, useVectors: true).count == 18 + 5 * depth)
            #expect(ThincEntry.all(count: 16 + 5 * depth) == ThincEntry.all(depth: depth, useVectors: false))
            #expect(ThincEntry.all(count: 18 + 5 * depth) == ThincEntry.all(depth: depth, useVectors: true))
        }
        #expect(ThincEntry.all(count: 17) == nil && ThincEntry.all(count: 0) == nil && ThincEntry.all(count: .max) == nil)
    }

    @Test("every truncation is refused")
    func truncated() throws {
        for shape in [Self.small, Self.withVectors] {
            let bytes = try sampleTok2Vec(shape).encoded()
            for length in 0..<bytes.count {
                #expect(throws: InputError.self) { try ThincTok2Vec.decode(Array(bytes[..<length]), place: "x") }
            }
            #expect(throws: InputError.self) { try ThincTok2Vec.decode(bytes + [0], place: "x") }
        }
    }

    @Test("no changed byte causes a trap, and whatever is accepted is a whole tok2vec")
    func mutated() throws {
        let bytes = try sampleTok2Vec(Self.withVectors).encoded()
        var random = SplitMix64(state: 7)
        var accepted = 0
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                if let file = try? ThincTok2Vec.decode(changed, place: "x") {
                    #expect(file.shape == Self.withVectors)
                    accepted += 1
                }
            }
        }
        // Only changed values and seeds can pass: the file has no check for them.
        let floats = try sampleTok2Vec(Self.withVectors).tensors.reduce(0) { $0 + $1.values.count }
        #expect(accepted >= 32 * floats && accepted < 8 * bytes.count)
        for _ in 0..<5_000 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                changed[Int.random(in: 0..<min(changed.count, 2_000), using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            if Bool.random(using: &random) { changed.removeLast(Int.random(in: 0..<changed.count, using: &random)) }
            _ = try? ThincTok2Vec.decode(changed, place: "x")
        }
    }

    @Test("announced sizes that no file can have are refused before anything is reserved")
    func oversized() {
        let huge: [[UInt8]] = [
            [0x81, 0xc4, 7] + Array("weights".utf8) + [0xdd, 0xff, 0xff, 0xff, 0xff],
            [0xdf, 0xff, 0xff, 0xff, 0xff],
            [0x81, 0xc6, 0xff, 0xff, 0xff, 0xff],
            [UInt8](repeating: 0x91, count: 100_000),
        ]
        for bytes in huge {
            #expect(throws: InputError.self) { try ThincTok2Vec.decode(bytes, place: "x") }
        }
    }

    @Test("errors name the entry and the tensor")
    func errors() throws {
        let bytes = try sampleTok2Vec(Self.small).encoded()
        // The type of the first value, the mixer's G.
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: "<f4".utf8) })
        var changed = bytes
        changed[place + 2] = UInt8(ascii: "8")
        let error = #expect(throws: InputError.self) { try ThincTok2Vec.decode(changed, place: "model0.bin") }
        let text = try #require(error).description
        #expect(
            text.hasPrefix("model0.bin: entry 12 (LayerNorm mixer.norm, tensor mixer.norm.G, mixer.norm.b): a value of type \"<f8\""),
            "\(text)")
        let empty = #expect(throws: InputError.self) { try ThincTok2Vec.decode([UInt8]("{}".utf8), place: "a.json") }
        #expect(try #require(empty).description.contains("not a weights file of thinc 7"))
    }

    @Test("dimensions that belie the parameters are refused, since spaCy would take them on trust")
    func dimensions() throws {
        var bytes = try sampleTok2Vec(Self.small).encoded()
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: [0xa2] + Array("nP".utf8)) })
        #expect(bytes[place + 3] == 3)
        bytes[place + 3] = 2
        let error = #expect(throws: InputError.self) { try ThincTok2Vec.decode(bytes, place: "x") }
        #expect(try #require(error).what.hasPrefix("entry 19 (Maxout mixer, tensor mixer.W, mixer.b): dimensions "))
    }

    @Test("tensors that do not fit together are refused by name")
    func misfits() throws {
        var tensors = try sampleTok2Vec(Self.small).tensors
        let index = try #require(tensors.firstIndex { $0.name == "encode.1.norm.b" })
        tensors[index] = NamedTensor(name: "encode.1.norm.b", shape: [4], values: [1, 2, 3, 4])
        let error = #expect(throws: InputError.self) { try ThincTok2Vec(tensors: tensors, seeds: ModelSpec.spacy2Seeds, place: "x") }
        #expect(try #require(error).what == "tensor encode.1.norm.b has shape [4], expected [3]")
        tensors.remove(at: index)
        let missing = #expect(throws: InputError.self) { try ThincTok2Vec(tensors: tensors, seeds: ModelSpec.spacy2Seeds, place: "x") }
        #expect(try #require(missing).what == "tensor encode.1.norm.b of shape [3] is missing")
        let seeds = #expect(throws: InputError.self) { try ThincTok2Vec(tensors: tensors, seeds: [6, 7, 8], place: "x") }
        #expect(try #require(seeds).what == "3 seeds, expected one for each table")
    }
}
