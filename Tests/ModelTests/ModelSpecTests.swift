import Base
import Foundation
import Testing

@testable import Model

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
}
