import TestSupport
import Testing

@testable import Base
@testable import Numerics

/// Scores are losses without dropout, for the same words every time.
@Suite struct EvaluatorTests {
    private func evaluator(_ fixture: Fixture, wordsAtATime: Int = 1_000) -> Evaluator {
        Evaluator(
            engine: fixture.engine(), spec: fixture.spec, seed: fixture.seed, randomWords: fixture.randomWords, maskWord: fixture.maskWord,
            vectorRows: Fixture.vectorRows, wordsAtATime: wordsAtATime)
    }

    /// The score of a model with dropout is the loss that a gradient of the same model without dropout gives.
    @Test(arguments: SpecGradientTests.cases) func aScoreIsTheLossWithoutDropout(_ item: SpecGradientTests.Case) throws {
        let fixture = try Fixture(spec: item.spec, lengths: item.lengths, vocabulary: 25, seed: 9, isFloret: item.isFloret)
        let score = fixture.parameters.withUnsafeBufferPointer { parameters in
            parameters.baseAddress.map { evaluator(fixture).score(fixture.documents, parameters: $0) }
        }
        var still = fixture
        still.spec.dropout = 0
        let batch = MicroBatch()
        MicroBatchBuilder(
            spec: still.spec, seed: still.seed, randomWords: still.randomWords, maskWord: still.maskWord, vectorRows: Fixture.vectorRows,
            selects: .evaluate
        ).build(still.documents, epoch: 0, update: 0, into: batch)
        let (_, statistics) = still.gradient(batch)
        #expect(score == statistics)
        #expect(statistics.wordCount == item.lengths.reduce(0, +))
    }

    @Test func whatIsSelectedDependsOnTheDocumentAlone() throws {
        var spec = SpecGradientTests.cases[0].spec
        spec.maskProbability = 0.3
        let fixture = try Fixture(spec: spec, lengths: [9, 30, 14, 2, 40, 17], vocabulary: 25, seed: 9)
        let parameters = UnsafeMutablePointer<Float>.allocate(capacity: fixture.parameters.count)
        parameters.update(from: fixture.parameters, count: fixture.parameters.count)
        defer { parameters.deallocate() }
        let all = evaluator(fixture).score(fixture.documents, parameters: parameters)
        let each = fixture.documents.reversed().map { evaluator(fixture).score([$0], parameters: parameters) }
        #expect(each.reduce(0) { $0 + $1.selectedCount } == all.selectedCount && all.selectedCount > 10)
        #expect(abs(each.reduce(0) { $0 + $1.lossSum } - all.lossSum) < 1e-4 * all.lossSum)
        // A few at a time: the same words, and the order of the documents counts.
        let few = evaluator(fixture, wordsAtATime: 20)
        let first = few.score(fixture.documents, parameters: parameters)
        #expect(first.selectedCount == all.selectedCount && first.wordCount == all.wordCount)
        #expect(first == few.score(fixture.documents, parameters: parameters), "a second evaluation scores the same words")
        #expect(evaluator(fixture).score([], parameters: parameters) == .init(lossSum: 0, selectedCount: 0, wordCount: 0))
        // Training selects others.
        #expect(fixture.batch(epoch: 0).content.targetBytes != [])
        let training = fixture.batch(epoch: 0)
        let evaluation = MicroBatch()
        MicroBatchBuilder(
            spec: spec, seed: fixture.seed, randomWords: fixture.randomWords, maskWord: fixture.maskWord, vectorRows: Fixture.vectorRows,
            selects: .evaluate
        ).build(fixture.documents, epoch: 0, update: 11, into: evaluation)
        #expect(training.content.targetBytes != evaluation.content.targetBytes)
    }
}
