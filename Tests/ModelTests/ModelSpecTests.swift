import Base
import Foundation
import Testing

@testable import Model
@testable import Shards

@Suite struct ModelSpecTests {
    /// Every variant of every part, as in a job folder.
    static let sample = """
        {
          "width": 256, "dropout": 0.2,
          "inputs": [
            {"kind": "table", "attribute": "NORM", "rows": 5000, "seed": 8, "width": 256, "dropout": true},
            {"kind": "table", "attribute": "SPACY", "rows": 50, "seed": 9, "width": 256, "dropout": false},
            {"kind": "characters", "bytes": 8, "width": 32},
            {"kind": "vectors", "width": 300, "output": 256, "attribute": "ORTH", "missing": "zero", "dropout": true}
          ],
          "mixer": {"pieces": 3, "dropout": "token"},
          "encoder": {
            "padding": {"kind": "zeroVectors", "rows": 8},
            "convolutions": [
              {"activation": "maxout", "pieces": 3, "window": 1, "dropout": true},
              {"activation": "mish", "window": 1, "dropout": false}
            ]
          },
          "objective": {"kind": "characters", "bytes": 4, "hidden": 300, "pieces": 3, "head_dropout": false, "loss": "linear"},
          "mask_probability": 0.15,
          "optimizer": {
            "kind": "adam", "learn_rate": {"values": [0.0, 0.5], "rest": 0.001}, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
            "grad_clip": 1.0, "l2": 0.01, "l2_is_weight_decay": true, "averages": true, "gradient_scale": "words", "block": "parameter"
          },
          "layer_norm_epsilon": 1e-8, "initialization": "file", "weights_file": "template"
        }
        """

    private func decode(_ text: String) throws -> ModelSpec { try ModelSpec(json: Data(text.utf8), place: "job.json") }

    private func replacing(_ old: String, _ new: String) throws -> String {
        try #require(Self.sample.contains(old), "\(old)")
        return Self.sample.replacingOccurrences(of: old, with: new)
    }

    @Test func everyVariantDecodesAndComesBack() throws {
        let spec = try decode(Self.sample)
        #expect(spec.inputs.count == 4)
        #expect(spec.inputs[0] == .table(.init(attribute: "NORM", rows: 5000, seed: 8, width: 256, dropout: true)))
        #expect(spec.inputs[2] == .characters(.init(bytes: 8, width: 32)))
        #expect(spec.mixer == .init(pieces: 3, dropout: .token))
        #expect(spec.encoder.padding == .init(kind: .zeroVectors, rows: 8))
        #expect(spec.encoder.convolutions[1] == .init(activation: .mish, dropout: false))
        #expect(spec.optimizer.learnRate.rate(update: 1) == 0.5)
        #expect(spec.optimizer.learnRate.rate(update: 2) == 0.001)
        #expect(try decode(String(decoding: spec.encoded(), as: UTF8.self)) == spec)
        let variants = [
            ("\"kind\": \"zeroVectors\", \"rows\": 8", "\"kind\": \"none\""), ("\"rows\": 8", "\"rows\": 0"),
            ("\"loss\": \"linear\"", "\"loss\": \"softmax\""), ("{\"values\": [0.0, 0.5], \"rest\": 0.001}", "0.001"),
            ("\"missing\": \"zero\"", "\"missing\": \"last\""), ("\"dropout\": \"token\"", "\"dropout\": \"none\""),
            ("\"words\", \"block\": \"parameter\"", "\"sum\", \"block\": \"layer\""),
            (
                "{\"kind\": \"characters\", \"bytes\": 4, \"hidden\": 300, \"pieces\": 3, \"head_dropout\": false, \"loss\": \"linear\"}",
                "{\"kind\": \"vectors\", \"loss\": \"L2\", \"width\": 300, \"hidden\": 300, \"pieces\": 3, \"head_dropout\": true, "
                    + "\"missing\": \"row0\"}"
            ),
        ]
        for (old, new) in variants {
            let other = try decode(try replacing(old, new))
            #expect(other != spec, "\(new)")
            #expect(try decode(String(decoding: other.encoded(), as: UTF8.self)) == other)
        }
    }

    @Test(arguments: [
        ("\"width\": 256, \"dropout\"", "\"width\": 0, \"dropout\"", "model.width"),
        ("\"dropout\": 0.2", "\"dropout\": 1", "model.dropout"),
        ("\"rows\": 5000", "\"rows\": 0", "model.inputs.0.rows"),
        ("\"attribute\": \"NORM\"", "\"attribute\": \"../x\"", "model.inputs.0.attribute"),
        ("\"kind\": \"table\", \"attribute\": \"SPACY\"", "\"kind\": \"lstm\", \"attribute\": \"SPACY\"", "lstm"),
        ("\"activation\": \"maxout\", \"pieces\": 3, \"window\": 1", "\"activation\": \"maxout\", \"pieces\": 3, \"window\": 2", "window"),
        ("\"activation\": \"maxout\", \"pieces\": 3", "\"activation\": \"maxout\"", "model.encoder.convolutions.0.pieces"),
        ("\"beta1\": 0.9", "\"beta1\": 1", "model.optimizer.beta1"),
        ("\"mask_probability\": 0.15,", "", "model.mask_probability is missing"),
        ("\"hidden\": 300", "\"hidden\": \"x\"", "model.objective.hidden"),
        ("\"kind\": \"zeroVectors\", \"rows\": 8", "\"kind\": \"embeddedZeros\", \"rows\": 1", "padding.rows"),
    ]) func refusesByName(old: String, new: String, name: String) throws {
        let text = try replacing(old, new)
        #expect {
            _ = try decode(text)
        } throws: {
            "\($0)".contains(name) && "\($0)".contains("job.json")
        }
    }

    @Test func schemaFollowsTheSpec() throws {
        let schema = try decode(Self.sample).schema
        #expect(schema.columns == ["ORTH", "NORM"])
        #expect(schema.hasVectors && schema.byteCount == 8)
        let spacy2 = ModelSpec.spacy2(TrainingSettings()).schema
        #expect(spacy2 == .spacy2)
        #expect(spacy2.columns == ["ORTH", "NORM", "PREFIX", "SUFFIX", "SHAPE"] && spacy2.byteCount == 0)
        #expect(schema.digest != spacy2.digest)
        try ModelSpec.spacy2(TrainingSettings()).validate()
    }

    @Test func bytesAreTakenFromBothEnds() {
        func bytes(_ text: String, _ count: Int) -> [UInt8] {
            Array(text.utf8).withUnsafeBufferPointer { WordFeatures.selectedBytes($0, count: count) }
        }
        #expect(bytes("jumping", 4) == Array("jgun".utf8))
        #expect(bytes("naïve", 5) == Array("neav".utf8) + [0xC3])
        #expect(bytes("ab", 4) == Array("ab".utf8) + [255, 255])
        #expect(bytes("abc", 4) == Array("acb".utf8) + [255])
        #expect(bytes("", 2) == [255, 255])
    }

    @Test func figuresBringWordsBack() throws {
        let schema = FeatureSchema(attributes: ["LOWER", "SPACY"], vectorsAttribute: "ORTH", byteCount: 9)
        #expect(schema.columns == ["ORTH", "LOWER"])
        let words = [
            WordFeatures(ids: [5, .max], rows: [3, 1, 3], bytes: [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            WordFeatures(ids: [6, 0], rows: [], bytes: [UInt8](repeating: 255, count: 9)),
        ]
        let table = RandomWordTable(words: words, counts: [2, 7])
        let back = try #require(RandomWordTable(figures: table.figures, schema: schema))
        #expect(back.counts == [7, 2])
        #expect(back.words.map(\.ids) == [words[1].ids, words[0].ids])
        #expect(back.words[1].rows == [3, 1, 3] && back.words[1].bytes == words[0].bytes)
        for count in 1..<table.figures.count where count != table.figures.count - 10 {
            let cut = RandomWordTable(figures: Array(table.figures.prefix(count)), schema: schema)
            #expect((cut?.words.count ?? 0) < 2, "\(count)")
        }
    }

    @Test func shardsKeepEveryColumn() throws {
        let schema = FeatureSchema(attributes: ["LOWER"], vectorsAttribute: "ORTH", byteCount: 3)
        var builder = PreparedShardBuilder(schema: schema)
        let first = builder.add(word: WordFeatures(ids: [10, 11], rows: [4, 5], bytes: [1, 2, 3]))
        let second = builder.add(word: WordFeatures(ids: [20, 21], rows: [], bytes: [4, 5, 6]))
        builder.add(line: 0, words: [first | PreparedShard.spaceBit, second, second])
        let bytes = Fixture.Bytes(builder.finish())
        let shard = try PreparedShard(bytes: bytes.buffer, owner: bytes, schema: schema, place: "test")
        #expect(shard.tokens.indices.map(shard.word(ofToken:)) == [0, 1, 1])
        #expect(shard.tokens[0] & PreparedShard.spaceBit != 0 && shard.tokens[1] & PreparedShard.spaceBit == 0)
        #expect(Array(shard.counts) == [1, 2])
        #expect(shard.word(0).ids == [10, 11] && shard.word(0).rows == [4, 5] && shard.word(0).bytes == [1, 2, 3])
        #expect(shard.word(1).ids == [20, 21] && shard.word(1).rows.isEmpty && shard.word(1).bytes == [4, 5, 6])
        #expect {
            _ = try PreparedShard(bytes: bytes.buffer, owner: bytes, schema: .spacy2, place: "test")
        } throws: {
            "\($0)".contains("other columns")
        }
        #expect(throws: InputError.self) {
            _ = try PreparedShard(
                bytes: UnsafeRawBufferPointer(rebasing: bytes.buffer.dropLast(8)), owner: bytes, schema: schema, place: "test")
        }
    }
}
