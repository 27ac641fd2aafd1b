// Scores documents. In: documents, parameters. Out: the loss of the words that their keys select; no gradient.
import Base
import Model
import Shards

/// Computes the loss without dropout. What is hidden depends only on the seed and the document's key: each evaluation predicts the same
/// words. One for each compute thread.
package final class Evaluator {
    private let engine: GradientEngine
    private let builder: MicroBatchBuilder
    private let batch = MicroBatch()
    private let wordsAtATime: Int

    /// - Parameters:
    ///   - engine: of the same thread; its memory is used.
    ///   - spec: the run's.
    ///   - wordsAtATime: documents are batched until they have this many words. It bounds the memory and affects the bits.
    package init(
        engine: GradientEngine, spec: ModelSpec, seed: UInt64, randomWords: RandomWordTable, maskWord: WordFeatures, vectorRows: Int,
        wordsAtATime: Int
    ) {
        self.engine = engine
        self.wordsAtATime = wordsAtATime
        var still = spec
        still.dropout = 0
        builder = MicroBatchBuilder(
            spec: still, seed: seed, randomWords: randomWords, maskWord: maskWord, vectorRows: vectorRows, selects: .evaluate)
    }

    /// The documents' loss, selected words and words, in the given order.
    package func score(_ documents: [DocumentView], parameters: UnsafePointer<Float>) -> ContributionStatistics {
        var total = ContributionStatistics(lossSum: 0, selectedCount: 0, wordCount: 0)
        var start = 0
        while start < documents.count {
            var (end, words) = (start, 0)
            while end < documents.count, words < wordsAtATime {
                words += documents[end].tokens.count
                end += 1
            }
            builder.build(Array(documents[start..<end]), epoch: 0, update: 0, into: batch)
            let part = engine.loss(of: batch, parameters: parameters)
            total.lossSum += part.lossSum
            total.selectedCount += part.selectedCount
            total.wordCount += part.wordCount
            start = end
        }
        return total
    }
}
