// One lane's share of an update, ready to compute. In: filled by MicroBatchBuilder. Out: every index and mask the engine needs.
//
// Legend: n tokens and D convolutions; position p = token + E within a document, which has E rows on each side: padding, and if that is
// less than D, one row for the zeros outside. Level i holds the outputs of convolution i (level 0: the embeddings). S_i are the positions
// of level i that a selected token's loss can reach: those at most D - i away from a selected token. Rows of a level are the positions of
// its S_i, document by document, ascending; so the three rows that a convolution reads at p are adjacent in the level below.
import Shards

/// Documents of one lane and one update, with everything that does not depend on parameters. Storage is kept and reused: nothing is
/// allocated after the largest micro-batch.
///
/// Owned by one thread at a time: a builder fills it, then an engine reads it.
package final class MicroBatch: @unchecked Sendable {
    /// A value, so that builder and engine use it without run-time access checks.
    var content = MicroBatchContent()

    /// An empty one, for a builder to fill.
    package init() {}

    /// The epoch that its selection was drawn for.
    package var epoch: UInt64 { content.epoch }
    /// The update that its dropout was drawn for.
    package var update: UInt64 { content.update }
    /// Documents, with or without a selected token.
    package var documentCount: Int { content.documentCount }
    /// All tokens of the documents, selected or not.
    package var wordCount: Int { content.wordCount }
    /// Tokens that give a loss.
    package var selectedCount: Int { content.selectedCount }
}

/// What a `MicroBatch` holds.
struct MicroBatchContent {
    /// Rows of one level, and the inputs of the convolution that makes them.
    struct Level {
        /// Index, in the level below, of the row of position p - 1; rows of p and p + 1 follow it.
        var starts: [Int32] = []
        /// Planes of kept units (`Dropout`), one after another; empty without dropout. Level 0 has the mixer's, by unique word or by row.
        var kept: [UInt32] = []
        /// Rows that stand for the zeros outside a document.
        var outside: [Int32] = []
        /// Where each lane's rows begin, and the end.
        var laneStarts: [Int] = []
    }

    /// Distinct ids of one part of the mixer's input: it is looked up, and multiplied, once for each.
    struct Part {
        var count = 0
        /// A hash embedding's four rows of each id, a byte, or the vector rows of each word, one list after another.
        var rows: [UInt32] = []
        /// Of vectors: where each list begins, and the end.
        var starts: [Int32] = []
        /// Dropout on the output: `width` factors, 0 or scale; empty without dropout.
        var factors: [Float] = []
        /// Where each lane's ids begin, and the end.
        var laneStarts: [Int] = []
    }

    var epoch: UInt64 = 0
    var update: UInt64 = 0
    /// The order in which lanes are added: after each lane's own sum, how often the last two sums are added. One number for each lane.
    var merges: [Int32] = [0]
    var laneCount: Int { merges.count }
    /// Documents and all their tokens, selected or not.
    var documentCount = 0
    var wordCount = 0
    /// Tokens that give a loss.
    var selectedCount = 0

    /// In the order of `ModelSpec.parts`.
    var parts: [Part] = []
    /// Distinct input words that are reached; embedded padding is one of them.
    var uniqueCount = 0
    /// Where each lane's words begin among these, and the end: the same word in two lanes is two.
    var uniqueStarts: [Int] = []
    /// By part, then by unique word: its index among the part's distinct ids; -1: a word without a vector.
    var ofWord: [Int32] = []

    /// Unique word of every row of level 0; -1 is a row of zeros.
    var words: [Int32] = []
    /// levels[i] for i in 0...D; `levels[0].starts` stays empty.
    var levels: [Level] = []
    /// Where the first convolution goes through unique words: those in the windows of level 1's rows, previous, current, next.
    var windows: [[Int32]] = [[], [], []]
    /// Only if `sumsByWord`: where each unique word occurs in these windows: entries of word w are
    /// occurrences[occurrenceStarts[w]..<occurrenceStarts[w + 1]], each 4 * (row of level 1) + (0 previous, 1 current, 2 next).
    var occurrenceStarts: [Int32] = []
    var occurrences: [UInt32] = []

    /// Vector rows that are the target of each row of level D, one list after another, and where the lists begin; an empty list: the zero
    /// vector.
    var targetRows: [Int32] = []
    var targetStarts: [Int32] = []
    /// Bytes that are the target of each row of level D.
    var targetBytes: [UInt8] = []
    /// Planes of kept units of the head's hidden layer, by row of level D.
    var headKept: [UInt32] = []

    /// Whether the first convolution's backward pass goes through the unique words: two dense products per word are cheaper than the
    /// winners' products of every row if a word occurs in about two rows or more.
    var sumsByWord: Bool { 2 * uniqueCount < windows[1].count }

    /// Where each lane's selected tokens begin, which are the rows of the last level, and the end.
    var selectedStarts: [Int] { levels[levels.count - 1].laneStarts }

    /// Rows of level i.
    func rowCount(level: Int) -> Int { level == 0 ? words.count : levels[level].starts.count }

    mutating func clear(depth: Int, parts count: Int) {
        (documentCount, wordCount, uniqueCount, selectedCount) = (0, 0, 0, 0)
        merges.removeAll(keepingCapacity: true)
        uniqueStarts.removeAll(keepingCapacity: true)
        if parts.count != count { parts = [Part](repeating: Part(), count: count) }
        for index in parts.indices {
            parts[index].count = 0
            parts[index].rows.removeAll(keepingCapacity: true)
            parts[index].starts.removeAll(keepingCapacity: true)
            parts[index].factors.removeAll(keepingCapacity: true)
            parts[index].laneStarts.removeAll(keepingCapacity: true)
        }
        if levels.count != depth + 1 { levels = [Level](repeating: Level(), count: depth + 1) }
        for index in levels.indices {
            levels[index].starts.removeAll(keepingCapacity: true)
            levels[index].kept.removeAll(keepingCapacity: true)
            levels[index].outside.removeAll(keepingCapacity: true)
            levels[index].laneStarts.removeAll(keepingCapacity: true)
        }
        for slot in 0..<3 { windows[slot].removeAll(keepingCapacity: true) }
        ofWord.removeAll(keepingCapacity: true)
        words.removeAll(keepingCapacity: true)
        occurrenceStarts.removeAll(keepingCapacity: true)
        occurrences.removeAll(keepingCapacity: true)
        targetRows.removeAll(keepingCapacity: true)
        targetStarts.removeAll(keepingCapacity: true)
        targetBytes.removeAll(keepingCapacity: true)
        headKept.removeAll(keepingCapacity: true)
    }
}
