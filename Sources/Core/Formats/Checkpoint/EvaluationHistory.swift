// The evaluations of a run so far. In: one score after another. Out: the best, and how long there has been no better one.

/// Part of a checkpoint: a resumed run judges as if it had never stopped.
package struct EvaluationHistory: Codable, Equatable, Sendable {
    /// One evaluation.
    package struct Score: Codable, Equatable, Sendable {
        /// The version of the parameters that was scored: updates before it.
        package var update: Int
        /// Words trained on until then.
        package var words: Int
        /// Loss of a selected word; nil if no word of the held-out documents was selected.
        package var loss: Double?

        package init(update: Int, words: Int, loss: Double?) { (self.update, self.words, self.loss) = (update, words, loss) }
    }

    /// Scores that are kept.
    package static let length = 1_000

    /// The last ones, newest last.
    package private(set) var scores: [Score] = []
    package private(set) var best: Score?
    /// Evaluations since the best.
    package private(set) var sinceBest = 0

    package init() {}

    package var last: Score? { scores.last }

    /// - Returns: whether it is the best so far. A loss that is not a number is worse than any; without a loss nothing is judged.
    package mutating func add(_ score: Score) -> Bool {
        var score = score
        let isNumber = score.loss?.isFinite ?? true
        if !isNumber { score.loss = nil }
        scores = (scores + [score]).suffix(Self.length)
        guard let loss = score.loss else {
            if !isNumber { sinceBest += 1 }
            return false
        }
        guard loss < best?.loss ?? .infinity else {
            sinceBest += 1
            return false
        }
        (best, sinceBest) = (score, 0)
        return true
    }

    /// Whether this many evaluations in a row were no better; 0: never.
    package func isOver(patience: Int) -> Bool { patience > 0 && sinceBest >= patience }
}
