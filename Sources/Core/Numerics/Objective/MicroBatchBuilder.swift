// From documents to a micro-batch. In: documents of one lane, epoch, update. Out: selection, unique words, row lists, masks.
import Base
import Model
import Shards

/// Prepares micro-batches; nothing here needs parameters, so a worker prepares the next one while parameters travel. Keeps its scratch
/// memory.
package final class MicroBatchBuilder {
    /// Injected selection, for tests: (index of the document in the batch, token) -> what replaces it, nil if not selected.
    package typealias Chooser = (_ document: Int, _ token: Int) -> Replacement?

    private var assembler: MicroBatchAssembler

    /// - Parameters:
    ///   - seed: of the run.
    ///   - maskWord: features of the literal word `[MASK]`, with its vector row if it has one.
    ///   - vectorRows: rows of the vectors table; its last one may be a target.
    ///   - selects: what the selection of tokens is drawn for: training and evaluations have different draws.
    package init(
        spec: ModelSpec, seed: UInt64, randomWords: RandomWordTable, maskWord: WordFeatures, vectorRows: Int,
        selects: Philox.Purpose = .select
    ) {
        assembler = MicroBatchAssembler(
            spec: spec, seed: seed, randomWords: randomWords, maskWord: maskWord, vectorRows: vectorRows, selects: selects)
    }

    /// Fills `batch` from `documents`. `epoch` and the documents' keys decide what is hidden; `update`, counted over the whole run,
    /// decides dropout.
    package func build(
        _ documents: [DocumentView], epoch: UInt64, update: UInt64, into batch: MicroBatch, choose: Chooser? = nil
    ) {
        assembler.build(documents, epoch: epoch, update: update, into: &batch.content, choose: choose)
    }
}

/// The builder as a value.
struct MicroBatchAssembler {
    let spec: ModelSpec
    let seed: UInt64
    let parts: [InputPart]
    let dropout: Dropout
    private let randomWords: RandomWordTable
    private let selects: Philox.Purpose
    /// `[MASK]`, padding, then the random words.
    private let extras: WordBlock
    private static let (maskPlace, paddingPlace, randomPlace) = (0, 1, 2)
    let vectorRows: Int
    /// Bytes of a word's text.
    let schemaBytes: Int
    /// D, and rows on each side of a document: padding, then the zeros outside.
    let depth: Int
    private let padding: Int
    private let edge: Int
    /// Per-token bits that tables read.
    private let tokenBits: UInt64
    private let head: (hidden: Int, pieces: Int, dropout: Bool)
    private let embedsPadding: Bool
    private let masksTokens: Bool

    var unique: UniqueWords
    var tables: [UniqueTable]
    /// By position of the current document: distance to the nearest selected token, what replaces a token, row in the last level listed.
    private var distances: [Int32] = []
    private var replacements: [Replacement?] = []
    private var rows: [Int32] = []
    var fill: [Int32] = []
    var plane: [UInt32] = []

    init(
        spec: ModelSpec, seed: UInt64, randomWords: RandomWordTable, maskWord: WordFeatures, vectorRows: Int, selects: Philox.Purpose
    ) {
        (self.spec, self.seed, self.randomWords, self.vectorRows) = (spec, seed, randomWords, vectorRows)
        self.selects = selects
        let schema = spec.schema
        parts = spec.parts
        schemaBytes = schema.byteCount
        dropout = Dropout(rate: spec.dropout)
        depth = spec.depth
        padding = spec.paddingRows
        edge = spec.paddingRows + spec.outsideRows
        head = spec.head
        embedsPadding = spec.encoder.padding.kind == .embeddedZeros
        masksTokens = spec.mixer.dropout == .token
        tokenBits = parts.reduce(0) { if case .token(let bit) = $1.source { $0 | bit } else { $0 } }
        let paddingWord = WordFeatures(
            ids: schema.columns.map { _ in 0 }, rows: spec.vectorsInput == nil ? [] : [0],
            bytes: [UInt8](repeating: 255, count: schema.byteCount))
        extras = WordBlock([maskWord, paddingWord] + randomWords.words, schema: schema)
        unique = UniqueWords(columns: schema.columns.count)
        tables = [UniqueTable](repeating: UniqueTable(), count: parts.count)
    }

    mutating func build(
        _ documents: [DocumentView], epoch: UInt64, update: UInt64, into batch: inout MicroBatchContent, choose: MicroBatchBuilder.Chooser?
    ) {
        batch.clear(depth: depth, parts: parts.count)
        (batch.epoch, batch.update) = (epoch, update)
        batch.documentCount = documents.count
        unique.clear(first: WordPointers(extras))
        var masking = Masking(
            seed: seed, probability: spec.maskProbability, epoch: epoch, randomWords: randomWords, purpose: selects)
        let convolutions = (0...depth).map { Philox(seed: seed, purpose: .convolutionMask, layer: $0, update: update) }
        let head = Philox(seed: seed, purpose: .headMask, update: update)
        let mixer = Philox(seed: seed, purpose: .mixerMask, update: update)
        var (block, last): (Int, PreparedShard?) = (0, nil)
        for (index, document) in documents.enumerated() {
            let tokens = document.tokens
            batch.wordCount += tokens.count
            replacements.removeAll(keepingCapacity: true)
            if let choose {
                for token in 0..<tokens.count { replacements.append(choose(index, token)) }
            } else {
                masking.draw(document: document.key, count: tokens.count)
                for token in 0..<tokens.count { replacements.append(masking.replacement(of: token)) }
            }
            guard select(document, into: &batch) else { continue }
            if document.shard !== last { (block, last) = (unique.add(WordPointers(document.shard.words)), document.shard) }
            listWords(document, block: block, mixer: mixer, into: &batch)
            listRows(document, into: &batch, convolutions: convolutions, head: head)
        }
        batch.uniqueCount = unique.count
        listParts(into: &batch)
        drawWordMasks(mixer, into: &batch)
        if spec.convolvesWords { listOccurrences(into: &batch) }
        drawEmbeddingMasks(into: &batch)
        batch.beginLanes()
        batch.endLane(merges: 0)
    }

    /// Finds targets of selected tokens and every position's distance to the nearest of them.
    /// - Returns: whether any token is selected.
    private mutating func select(_ document: DocumentView, into batch: inout MicroBatchContent) -> Bool {
        let tokens = document.tokens
        let far = Int32(depth + 1)
        distances.removeAll(keepingCapacity: true)
        for _ in 0..<tokens.count + 2 * edge { distances.append(far) }
        var isAny = false
        for token in 0..<tokens.count where replacements[token] != nil {
            switch aim(document, token, into: &batch) {
            case .visible: replacements[token] = nil
            case .hidden: continue
            case .selected:
                batch.selectedCount += 1
                distances[token + edge] = 0
                isAny = true
            }
        }
        guard isAny else { return false }
        for position in 1..<distances.count { distances[position] = min(distances[position], distances[position - 1] + 1) }
        for position in (0..<distances.count - 1).reversed() { distances[position] = min(distances[position], distances[position + 1] + 1) }
        return true
    }

    /// What happens to a token that was drawn.
    private enum Aim {
        case selected
        /// It has no target: it is replaced, but is not part of the loss.
        case hidden
        /// It has no target: it stays as it is.
        case visible
    }

    /// Appends the target of a token.
    private func aim(_ document: DocumentView, _ token: Int, into batch: inout MicroBatchContent) -> Aim {
        let words = document.shard.words
        let word = document.shard.word(ofToken: document.tokens.lowerBound + token)
        switch spec.objective {
        case .characters(let characters):
            for byte in 0..<characters.bytes { batch.targetBytes.append(words.bytes[word * words.byteCount + byte]) }
            return .selected
        case .vectors(let vectors):
            let start = Int32(batch.targetRows.count)
            for place in words.rowStarts[word]..<words.rowStarts[word + 1] { batch.targetRows.append(Int32(words.rows[Int(place)])) }
            if Int32(batch.targetRows.count) == start {
                switch vectors.missing {
                case .skip: return .visible
                case .row0: batch.targetRows.append(0)
                case .last: batch.targetRows.append(Int32(vectorRows - 1))
                // Against the zero vector the cosine has no gradient.
                case .zero: if vectors.loss == .cosine { return .hidden }
                }
            }
            batch.targetStarts.append(start)
            return .selected
        }
    }

    /// Level 0: numbers the input words that are reached.
    private mutating func listWords(_ document: DocumentView, block: Int, mixer: Philox, into batch: inout MicroBatchContent) {
        let tokens = document.tokens
        let drawsMasks = masksTokens && dropout.isOn
        for position in distances.indices where distances[position] <= Int32(depth) {
            let token = position - edge
            let isToken = token >= 0 && token < tokens.count
            if isToken {
                let place = tokens.lowerBound + token
                var bits: UInt64 = 0
                if tokenBits != 0 {
                    if document.shard.tokens[place] & PreparedShard.spaceBit != 0 { bits |= FeatureSchema.TokenColumn.spacy.keyBit }
                    if token == 0 { bits |= FeatureSchema.TokenColumn.sentStart.keyBit }
                    bits &= tokenBits
                }
                let number: Int32
                switch replacements[token] {
                case .mask: number = unique.number(block: 0, word: Self.maskPlace, bits: bits)
                case .random(let other): number = unique.number(block: 0, word: Self.randomPlace + other, bits: bits)
                case .word(let other): number = unique.number(block: block, word: other, bits: bits)
                case .same, nil: number = unique.number(block: block, word: document.shard.word(ofToken: place), bits: bits)
                }
                batch.words.append(number)
            } else if embedsPadding, token >= -padding, token < tokens.count + padding {
                batch.words.append(unique.number(block: 0, word: Self.paddingPlace, bits: 0))
            } else {
                batch.words.append(-1)
            }
            guard drawsMasks else { continue }
            if isToken {
                dropout.keep(mixer, item: document.key, index: UInt32(token), width: spec.width, into: &batch.levels[0].kept)
            } else {
                for _ in 0..<planeWords(width: spec.width) { batch.levels[0].kept.append(0) }
            }
        }
    }

    /// Levels 1 to D: row lists and the masks of convolutions and head.
    private mutating func listRows(_ document: DocumentView, into batch: inout MicroBatchContent, convolutions: [Philox], head: Philox) {
        // Row in the level below of each position.
        rows.removeAll(keepingCapacity: true)
        let reached = distances.reduce(into: Int32(0)) { $0 += $1 <= Int32(depth) ? 1 : 0 }
        var next = Int32(batch.words.count) - reached
        for distance in distances {
            rows.append(next)
            if distance <= Int32(depth) { next += 1 }
        }
        let hasOutside = edge > padding
        for level in stride(from: 1, through: depth, by: 1) {
            let reach = Int32(depth - level)
            let draws = dropout.isOn && spec.encoder.convolutions[level - 1].dropout
            var row = Int32(batch.levels[level].starts.count)
            for position in distances.indices {
                let own = rows[position]
                rows[position] = row
                guard distances[position] <= reach else { continue }
                var below = own - 1
                if hasOutside, position == 0 || position == distances.count - 1 {
                    // Its window is outside too: any three rows will do, since the result is set to zero.
                    below = position == 0 ? own : own - 2
                    batch.levels[level].outside.append(row)
                }
                batch.levels[level].starts.append(below)
                row += 1
                if draws {
                    dropout.keep(
                        convolutions[level], item: document.key, index: UInt32(position), width: spec.width,
                        into: &batch.levels[level].kept)
                }
            }
        }
        guard dropout.isOn, self.head.dropout else { return }
        for position in distances.indices where distances[position] == 0 {
            dropout.keep(head, item: document.key, index: UInt32(position - edge), width: self.head.hidden, into: &batch.headKept)
        }
    }

    /// The mixer's masks, one for each unique word.
    private mutating func drawWordMasks(_ mixer: Philox, into batch: inout MicroBatchContent) {
        guard dropout.isOn, spec.mixer.dropout == .word else { return }
        for word in 0..<unique.count {
            let orth = unique.keys[word * unique.stride]
            dropout.keep(mixer, item: orth, index: 0, width: spec.width, into: &batch.levels[0].kept)
        }
    }
}
