import Testing

@testable import Base
@testable import Model

@Suite struct ParameterLayoutTests {
    static func settings(uv: Bool) -> TrainingSettings {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.pieces, settings.rows, settings.vectorWidth) = (8, 2, 2, 11, 5)
        settings.useVectors = uv
        return settings
    }

    @Test func namesAndShapesAreSpacys() throws {
        let layout = ParameterLayout(spec: .spacy2(TrainingSettings()))
        #expect(layout.tensor(named: "embed.norm.E")?.shape == [2000, 96])
        #expect(layout.tensor(named: "embed.shape.E")?.shape == [1000, 96])
        #expect(layout.tensor(named: "mixer.W")?.shape == [96, 3, 384])
        #expect(layout.tensor(named: "encode.3.W")?.shape == [96, 3, 288])
        #expect(layout.tensor(named: "head.hidden.b")?.shape == [300, 3])
        #expect(layout.tensor(named: "head.output.W")?.shape == [300, 300])
        #expect(layout.tensor(named: "embed.vectors.W") == nil)
        #expect(layout.tables.map(\.name) == ["embed.norm.E", "embed.prefix.E", "embed.suffix.E", "embed.shape.E"])
        // (2000 + 3 * 1000) * 96, mixer, 4 convolutions, head
        let expected = 480_000 + 288 * 385 + 192 + 4 * (288 * 289 + 192) + 900 * 97 + 600 + 300 * 301
        #expect(layout.count == expected)
    }

    @Test(arguments: [false, true]) func layersTileTheBuffer(uv: Bool) {
        let layout = ParameterLayout(spec: .spacy2(Self.settings(uv: uv)))
        var next = 0
        for layer in layout.layers {
            #expect(layer.range.lowerBound == next)
            next = layer.range.upperBound
        }
        #expect(next == layout.count)
        #expect(layout.layers.count == 4 + (uv ? 1 : 0) + 2 + 2 * 2 + 2 + 1)
        for tensor in layout.tensors { #expect(layout.layers[tensor.layer].range.contains(tensor.offset)) }
    }

    @Test func exportAndLoadAreInverse() throws {
        let layout = ParameterLayout(spec: .spacy2(Self.settings(uv: true)))
        let values = (0..<layout.count).map { Float($0) }
        let tensors = values.withUnsafeBufferPointer { layout.export($0.baseAddress!) }
        var back = [Float](repeating: -1, count: layout.count)
        try back.withUnsafeMutableBufferPointer { buffer throws(InputError) in
            try layout.load(tensors.reversed(), into: buffer.baseAddress!)
        }
        #expect(back == values)
    }

    /// Independent of `forEachIndex`: one element of each order, by hand.
    @Test func axesStandWhereTheKernelsExpectThem() throws {
        let layout = ParameterLayout(spec: .spacy2(Self.settings(uv: false)))
        let values = (0..<layout.count).map { Float($0) }
        let tensors = values.withUnsafeBufferPointer { layout.export($0.baseAddress!) }
        func element(_ name: String, _ indices: [Int]) throws -> Int {
            let tensor = try #require(tensors.first { $0.name == name })
            let flat = zip(indices, tensor.shape).reduce(0) { $0 * $1.1 + $1.0 }
            return Int(tensor.values[flat])
        }
        let (width, pieces) = (8, 2)
        // (O, P, I) -> (P, O, I)
        #expect(try element("encode.1.W", [5, 1, 17]) == layout.offset("encode.1.W") + (1 * width + 5) * 24 + 17)
        // (O, P, K * I) -> (K, P, O, I)
        #expect(try element("encode.0.W", [5, 1, 17]) == layout.offset("encode.0.W") + ((2 * pieces + 1) * width + 5) * 8 + 1)
        #expect(try element("encode.0.b", [3, 1]) == layout.offset("encode.0.b") + width + 3)
        #expect(try element("head.output.W", [2, 7]) == layout.offset("head.output.W") + 2 * 300 + 7)
    }

    @Test func aMissingExtraDoubledOrMisshapenTensorIsNamed() {
        let layout = ParameterLayout(spec: .spacy2(Self.settings(uv: false)))
        var buffer = [Float](repeating: 1, count: layout.count)
        let good = buffer.withUnsafeBufferPointer { layout.export($0.baseAddress!) }
        func message(_ tensors: [NamedTensor], part: ParameterLayout.Part = .all) -> String {
            buffer.withUnsafeMutableBufferPointer { buffer in
                do {
                    try layout.load(tensors, into: buffer.baseAddress!, part: part, place: "file")
                    return "accepted"
                } catch { return "\(error)" }
            }
        }
        #expect(message(good) == "accepted")
        #expect(message(good.filter { $0.name != "mixer.b" }).contains("mixer.b is missing"))
        #expect(message(good + [good[0]]).contains("embed.norm.E is there twice"))
        #expect(message(good + [NamedTensor(name: "embed.vectors.W", shape: [1], values: [0])]).contains("embed.vectors.W does not belong"))
        var bent = good
        bent[1] = NamedTensor(name: bent[1].name, shape: bent[1].shape.reversed(), values: bent[1].values)
        #expect(message(bent).contains("embed.prefix.E has shape"))
        #expect(message(good, part: .tok2vec).contains("head.hidden.W does not belong"))
        #expect(message(good.filter { !$0.name.hasPrefix("head.") }, part: .tok2vec) == "accepted")
        #expect(message(good.filter { !$0.name.hasPrefix("head.") }).contains("head.hidden.W is missing"))
    }
}
