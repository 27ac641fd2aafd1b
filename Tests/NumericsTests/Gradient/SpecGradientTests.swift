// Every layer and objective against the naive model, for specs that are not defaults.
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Model
@testable import Numerics

@Suite struct SpecGradientTests {
    typealias Convolution = ModelSpec.Convolution

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var inputs: [ModelSpec.Input]
        var masks = ModelSpec.Mixer.Masks.token
        var padding = ModelSpec.Padding(kind: .zeroVectors, rows: 2)
        var convolutions = [Convolution](repeating: Convolution(activation: .maxout, pieces: 3, dropout: true), count: 2)
        var objective = ModelSpec.Objective.characters(.init(bytes: 2, hidden: 13, pieces: 2, headDropout: false, loss: .linear))
        var dropout: Float = 0.2
        var width = 11
        var lengths = [9, 1, 14, 2]
        var isFloret = false

        var testDescription: String { name }

        var spec: ModelSpec {
            var spec = ModelSpec.spacy2(TrainingSettings())
            (spec.width, spec.dropout, spec.inputs, spec.objective) = (width, dropout, inputs, objective)
            spec.mixer = .init(pieces: 2, dropout: masks)
            spec.encoder = .init(padding: padding, convolutions: convolutions)
            spec.maskProbability = 0.3
            return spec
        }
    }

    static func table(_ attribute: String, _ rows: Int, seed: UInt32 = 8, width: Int = 11, dropout: Bool = true) -> ModelSpec.Input {
        .table(.init(attribute: attribute, rows: rows, seed: seed, width: width, dropout: dropout))
    }

    static func vectors(_ loss: LossFunction, _ missing: ModelSpec.VectorsObjective.Missing, dropout: Bool = true) -> ModelSpec.Objective {
        .vectors(.init(loss: loss, width: 6, hidden: 13, pieces: 3, headDropout: dropout, missing: missing))
    }

    static func vectorsInput(_ missing: ModelSpec.Vectors.Missing = .zero, output: Int = 11) -> ModelSpec.Input {
        .vectors(.init(width: 6, output: output, attribute: "ORTH", missing: missing, dropout: true))
    }

    static let mish = Convolution(activation: .mish, dropout: true)

    static let cases: [Case] = [
        Case(
            name: "three odd tables, a token attribute, no vectors",
            inputs: [table("SHAPE", 17), table("SPACY", 3, seed: 9), table("LOWER", 29)]),
        Case(
            name: "both token attributes, L2, zero targets",
            inputs: [table("SENT_START", 5), table("SPACY", 3), table("NORM", 31, dropout: false)],
            objective: vectors(.l2, .zero)),
        Case(
            name: "tables of several widths, static vectors last, cosine, zero targets",
            inputs: [table("NORM", 19), table("PREFIX", 7, width: 5), table("NORM", 23, seed: 3), vectorsInput(output: 9)],
            objective: vectors(.cosine, .zero)),
        Case(
            name: "six tables",
            inputs: ["ORTH", "SHAPE", "SPACY", "LOWER", "IS_SPACE", "PREFIX"].enumerated().map { table($1, 9 + 2 * $0) },
            objective: vectors(.cosine, .last, dropout: false)),
        Case(name: "one table", inputs: [table("NORM", 19)], dropout: 0),
        Case(name: "two tables, masks of words", inputs: [table("NORM", 19), table("SHAPE", 5)], masks: .word),
        Case(
            name: "characters, a table and vectors",
            inputs: [.characters(.init(bytes: 4, width: 3)), table("LOWER", 40, dropout: false), vectorsInput()],
            objective: vectors(.l2, .row0)),
        Case(name: "vectors with the last row for missing ones", inputs: [vectorsInput(.last), table("NORM", 7)], masks: .none),
        Case(
            name: "floret, cosine", inputs: [table("NORM", 19), vectorsInput()], objective: vectors(.cosine, .zero), isFloret: true),
        Case(name: "floret, L2", inputs: [vectorsInput()], objective: vectors(.l2, .zero), isFloret: true),
        Case(
            name: "mish without padding", inputs: [table("NORM", 19), table("SHAPE", 7)], padding: .init(kind: .none),
            convolutions: [mish, mish, mish], objective: vectors(.l2, .skip), width: 19),
        Case(
            name: "mish without padding, no dropout, softmax", inputs: [table("NORM", 19)], padding: .init(kind: .none),
            convolutions: [mish], objective: .characters(.init(bytes: 3, hidden: 9, pieces: 1, headDropout: true, loss: .softmax)),
            dropout: 0, lengths: [1, 2, 3]),
        Case(
            name: "embedded padding, mish first", inputs: [table("NORM", 19)], masks: .word, padding: .init(kind: .embeddedZeros, rows: 2),
            convolutions: [mish, Convolution(activation: .maxout, pieces: 1, dropout: false)]),
        Case(name: "no convolution", inputs: [table("NORM", 19), table("SPACY", 2)], convolutions: []),
        Case(
            name: "less padding than convolutions", inputs: [table("NORM", 19)], padding: .init(kind: .zeroVectors, rows: 1),
            convolutions: [Convolution](repeating: Convolution(activation: .maxout, pieces: 2, dropout: true), count: 3)),
        Case(
            name: "more padding than convolutions, wide", inputs: [table("NORM", 19, width: 264)],
            padding: .init(kind: .zeroVectors, rows: 5),
            width: 264, lengths: [6]),
    ]

    @Test(arguments: cases, [Arithmetic.blas, .native]) func engineEqualsTheDenseDefinition(_ item: Case, arithmetic: Arithmetic) throws {
        var spec = item.spec
        spec.arithmetic = arithmetic
        try spec.validate()
        let fixture = try Fixture(spec: spec, lengths: item.lengths, vocabulary: 25, seed: 9, isFloret: item.isFloret)
        let (values, statistics) = fixture.gradient(fixture.batch())
        let naive = fixture.naive()
        let documents = fixture.naiveDocuments()
        let loss = naive.run(documents)
        #expect(statistics.selectedCount == documents.reduce(0) { $0 + $1.targets.reduce(0) { $0 + ($1 == nil ? 0 : 1) } })
        #expect(statistics.selectedCount > 0)
        #expect(abs(statistics.lossSum - loss) <= 1e-5 * max(1, abs(loss)), "\(statistics.lossSum) \(loss)")
        for tensor in fixture.tensors(values) {
            let error = relativeError(tensor.values, naive.tensor(tensor.name).gradient)
            #expect(error < 5e-5, "\(tensor.name)")
        }
    }

    /// The rows of a gradient buffer are those of a dense gradient, even if it was filled before.
    @Test(arguments: cases.prefix(7), [Arithmetic.blas, .native]) func buffersKeepNothing(_ item: Case, arithmetic: Arithmetic) throws {
        var spec = item.spec
        spec.arithmetic = arithmetic
        let fixture = try Fixture(spec: spec, lengths: item.lengths, vocabulary: 25, seed: 9)
        let engine = fixture.engine()
        let coding = GradientCoding(layout: fixture.layout)
        let buffer = GradientBuffer(coding: coding)
        for update in [11, 12, 11] as [UInt64] {
            let batch = fixture.batch(epoch: update, update: update)
            let dense = fixture.gradient(batch, engine: engine).values
            _ = engine.gradient(of: batch, parameters: fixture.parameters, into: buffer)
            let tree = ReductionTree(lanes: 1)
            let sum = try #require(GradientSum(coding, tree, tree.root) { _ in .value(buffer.view) })
            var found = [Float](repeating: .nan, count: coding.count)
            sum.write(0..<coding.count, to: &found)
            #expect(found.map(\.bitPattern) == dense.map(\.bitPattern))
        }
    }

    /// The naive model against finite differences: its gradients are those of its loss.
    @Test(arguments: [0, 2, 4, 6, 7, 9, 10, 13, 14]) func naiveGradientsAreDerivatives(_ number: Int) throws {
        let item = Self.cases[number]
        let fixture = try Fixture(spec: item.spec, lengths: [6, 4], vocabulary: 12, seed: 4, isFloret: item.isFloret)
        let naive = fixture.naive()
        let documents = fixture.naiveDocuments()
        _ = naive.run(documents)
        // spaCy omits the factor 2 in the gradient of squares.
        var factor = 0.5
        if case .vectors(let objective) = item.objective, objective.loss == .cosine { factor = 1 }
        var random = SplitMix64(state: 1)
        for (name, tensor) in naive.tensors.sorted(by: { $0.key < $1.key }) {
            for _ in 0..<4 {
                let index = tensor.gradient.indices.filter { tensor.gradient[$0] != 0 }.randomElement(using: &random) ?? 0
                let (old, step) = (tensor.values[index], 1e-6)
                tensor.values[index] = old + step
                let above = naive.run(documents, backward: false)
                tensor.values[index] = old - step
                let below = naive.run(documents, backward: false)
                tensor.values[index] = old
                let difference = factor * (above - below) / (2 * step)
                #expect(abs(difference - tensor.gradient[index]) < 1e-6 + 1e-4 * abs(difference), "\(name)[\(index)]")
            }
        }
    }

    /// A document's contribution does not depend on its neighbours: the parts add up to the whole.
    @Test(arguments: [0, 2, 10, 14]) func documentsDoNotSeeTheirNeighbours(_ number: Int) throws {
        let fixture = try Fixture(spec: Self.cases[number].spec, lengths: [9, 1, 14, 2], vocabulary: 25, seed: 9)
        let whole = fixture.gradient(fixture.batch()).values
        var sum = [Double](repeating: 0, count: whole.count)
        for document in fixture.documents {
            let batch = MicroBatch()
            fixture.builder().build([document], epoch: 3, update: 11, into: batch)
            for (index, value) in fixture.gradient(batch).values.enumerated() { sum[index] += Double(value) }
        }
        for tensor in fixture.layout.tensors {
            #expect(relativeError(Array(whole[tensor.range]), Array(sum[tensor.range])) < 1e-5, "\(tensor.name)")
        }
    }

    @Test func exponentialIsRightToTheLastBits() {
        var worst = 0.0
        for step in 0..<17_000 {
            let x = Float(step) * 0.01 - 85
            let exact = Foundation.exp(Double(x))
            worst = max(worst, abs(Double(exponential(Float8(repeating: x))[3]) / exact - 1))
        }
        #expect(worst < 3e-7)
        #expect(exponential(Float8(repeating: -1000))[0] < 1e-37 && exponential(Float8(repeating: 1000))[0] > 1e38)
    }
}
