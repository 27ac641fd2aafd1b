// From documents to a micro-batch. In: documents of one lane, epoch, update. Out: selection, unique words, row lists, masks.
import Base
import Text

/// Prepares micro-batches; nothing here needs parameters, so a worker prepares the next one while parameters travel. Keeps its scratch.
public final class MicroBatchBuilder {
    /// Injected selection, for tests: (index of the document in the batch, token) -> what replaces it, nil if not selected.
    public typealias Chooser = (_ document: Int, _ token: Int) -> Replacement?

    private var assembler: MicroBatchAssembler

    /// - Parameters:
    ///   - maskWord: features of the literal word `[MASK]`, with its vector row if it has one.
    public init(
        settings: TrainingSettings, seeds: EmbeddingSeeds, randomWords: RandomWordTable, maskWord: WordFeatures, profile: Profile = .spacy2
    ) {
        assembler = MicroBatchAssembler(
            settings: settings, seeds: seeds, randomWords: randomWords, maskWord: maskWord, profile: profile)
    }

    /// Fills `batch` from `documents`. `epoch` and the documents' keys decide what is hidden; `update`, counted over the whole run,
    /// decides dropout.
    public func build(
        _ documents: [DocumentView], epoch: UInt64, update: UInt64, into batch: MicroBatch, choose: Chooser? = nil
    ) {
        assembler.build(documents, epoch: epoch, update: update, into: &batch.content, choose: choose)
    }
}

/// The builder as a value.
struct MicroBatchAssembler {
    private let settings: TrainingSettings
    private let profile: Profile
    private let seeds: EmbeddingSeeds
    private let randomWords: RandomWordTable
    private let maskWord: WordAttributes
    private let replacing: [WordAttributes]
    private let dropout: Dropout
    /// D, and padding rows on each side of a document.
    private let depth: Int

    private var wordTable = UniqueTable()
    private var uniqueWords: [WordAttributes] = []
    private var featureTables = [UniqueTable](repeating: UniqueTable(), count: 4)
    private var vectorTable = UniqueTable()
    private var scratch = PlaneScratch()
    /// By position of the current document: distance to the nearest selected token, what replaces a token, row in the last level listed.
    private var distances: [Int32] = []
    private var replacements: [Replacement?] = []
    private var rows: [Int32] = []
    private var touched: [Bool] = []
    private var fill: [Int32] = []
    private var plane: [UInt32] = []

    init(
        settings: TrainingSettings, seeds: EmbeddingSeeds, randomWords: RandomWordTable, maskWord: WordFeatures, profile: Profile
    ) {
        self.settings = settings
        self.profile = profile
        self.seeds = seeds
        self.randomWords = randomWords
        self.maskWord = WordAttributes(maskWord)
        replacing = randomWords.words.map(WordAttributes.init)
        dropout = Dropout(rate: settings.dropout)
        depth = settings.depth
        precondition(profile.padding(depth: depth) == depth, "rows of padding other than one per convolution are not built yet")
    }

    mutating func build(
        _ documents: [DocumentView], epoch: UInt64, update: UInt64, into batch: inout MicroBatchContent, choose: MicroBatchBuilder.Chooser?
    ) {
        batch.clear(depth: depth)
        (batch.epoch, batch.update) = (epoch, update)
        batch.documentCount = documents.count
        wordTable.clear()
        uniqueWords.removeAll(keepingCapacity: true)
        var masking = Masking(settings: settings, epoch: epoch, randomWords: randomWords)
        let convolutions = (0...depth).map { Philox(seed: settings.seed, purpose: .convolutionMask, layer: $0, update: update) }
        let head = Philox(seed: settings.seed, purpose: .headMask, update: update)
        for (index, document) in documents.enumerated() {
            let tokens = document.tokens
            batch.wordCount += tokens.count
            if let choose {
                replacements.removeAll(keepingCapacity: true)
                for token in 0..<tokens.count { replacements.append(choose(index, token)) }
            } else {
                masking.draw(document: document.key, count: tokens.count)
                replacements.removeAll(keepingCapacity: true)
                for token in 0..<tokens.count { replacements.append(masking.replacement(of: token)) }
            }
            guard select(document, into: &batch) else { continue }
            listWords(document, into: &batch)
            listRows(document, into: &batch, convolutions: convolutions, head: head)
        }
        batch.uniqueCount = uniqueWords.count
        listFeatures(into: &batch)
        listOccurrences(into: &batch)
        drawEmbeddingMasks(into: &batch)
    }

    /// Finds targets of selected tokens and every position's distance to the nearest of them.
    /// - Returns: whether any token is selected.
    private mutating func select(_ document: DocumentView, into batch: inout MicroBatchContent) -> Bool {
        let tokens = document.tokens
        let far = Int32(depth + 1)
        distances.removeAll(keepingCapacity: true)
        for _ in 0..<tokens.count + 2 * depth { distances.append(far) }
        var isAny = false
        for token in 0..<tokens.count where replacements[token] != nil {
            guard let row = target(of: document.shard.attributes(document.shard.word(ofToken: tokens.lowerBound + token)).row) else {
                // Nothing to aim at: it stays visible, and is no part of the loss.
                replacements[token] = nil
                continue
            }
            batch.targetRows.append(row)
            distances[token + depth] = 0
            isAny = true
        }
        guard isAny else { return false }
        for position in 1..<distances.count { distances[position] = min(distances[position], distances[position - 1] + 1) }
        for position in (0..<distances.count - 1).reversed() { distances[position] = min(distances[position], distances[position + 1] + 1) }
        return true
    }

    /// Row of the vectors table that a word with vector row `row` aims at, nil for none.
    private mutating func target(of row: Int32) -> Int32? {
        if row >= 0 { return row }
        switch settings.outOfVocabularyTargets {
        case .skip: return nil
        case .row0: return 0
        case .last: return Int32(settings.vectorRows - 1)
        }
    }

    /// Level 0: numbers the input words that are reached.
    private mutating func listWords(_ document: DocumentView, into batch: inout MicroBatchContent) {
        let tokens = document.tokens
        for position in distances.indices where distances[position] <= Int32(depth) {
            let token = position - depth
            let word: WordAttributes
            if token < 0 || token >= tokens.count {
                word = WordAttributes(orth: 0, norm: 0, prefix: 0, suffix: 0, shape: 0, row: profile.paddingVectorRow)
            } else {
                switch replacements[token] {
                case .mask: word = maskWord
                case .random(let place): word = replacing[place]
                case .word(let other): word = document.shard.attributes(other)
                case .same, nil: word = document.shard.attributes(document.shard.word(ofToken: tokens.lowerBound + token))
                }
            }
            let (number, isNew) = wordTable.number(word.orth, word.norm)
            if isNew { uniqueWords.append(word) }
            batch.words.append(number)
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
        for level in 1...depth {
            let reach = Int32(depth - level)
            var row = Int32(batch.levels[level].starts.count)
            for position in distances.indices {
                let below = position > 0 ? rows[position] - 1 : 0
                rows[position] = row
                guard distances[position] <= reach else { continue }
                batch.levels[level].starts.append(below)
                row += 1
                if dropout.isOn {
                    scratch.keep(
                        dropout, convolutions[level], item: document.key, index: UInt32(position), width: settings.width,
                        into: &batch.levels[level].kept)
                }
            }
        }
        guard dropout.isOn else { return }
        for position in distances.indices where distances[position] == 0 {
            scratch.keep(
                dropout, head, item: document.key, index: UInt32(position - depth), width: profile.headWidth, into: &batch.headKept)
        }
    }

    /// Distinct ids of every attribute, their table rows, and the mixer's masks.
    private mutating func listFeatures(into batch: inout MicroBatchContent) {
        for index in 0..<4 { featureTables[index].clear() }
        vectorTable.clear()
        let mixer = Philox(seed: settings.seed, purpose: .mixerMask, update: batch.update)
        let (seedList, half) = (seeds.inTableOrder, UInt32(settings.rows / 2))
        for word in uniqueWords {
            let ids = (word.norm, word.prefix, word.suffix, word.shape)
            addFeature(0, ids.0, seed: seedList[0], rows: UInt32(settings.rows), into: &batch)
            addFeature(1, ids.1, seed: seedList[1], rows: half, into: &batch)
            addFeature(2, ids.2, seed: seedList[2], rows: half, into: &batch)
            addFeature(3, ids.3, seed: seedList[3], rows: half, into: &batch)
            if settings.useVectors {
                if word.row < 0 {
                    batch.wordVectors.append(-1)
                } else {
                    let (number, isNew) = vectorTable.number(UInt64(word.row))
                    if isNew { batch.vectorRows.append(word.row) }
                    batch.wordVectors.append(number)
                }
            }
            if dropout.isOn {
                scratch.keep(dropout, mixer, item: word.orth, index: 0, width: settings.width, into: &batch.levels[0].kept)
            }
        }
        for table in 0..<4 {
            let rows = table == 0 ? settings.rows : settings.rows / 2
            touched.removeAll(keepingCapacity: true)
            for _ in 0..<rows { touched.append(false) }
            for row in batch.features[table].rows { touched[Int(row)] = true }
            for row in 0..<rows where touched[row] { batch.features[table].touched.append(UInt32(row)) }
        }
    }

    @inline(__always)
    private mutating func addFeature(_ table: Int, _ id: UInt64, seed: UInt32, rows: UInt32, into batch: inout MicroBatchContent) {
        let (number, isNew) = featureTables[table].number(id)
        if isNew {
            let keys = murmurHash3(id, seed: seed)
            batch.features[table].count += 1
            batch.features[table].rows.append(keys.0 % rows)
            batch.features[table].rows.append(keys.1 % rows)
            batch.features[table].rows.append(keys.2 % rows)
            batch.features[table].rows.append(keys.3 % rows)
        }
        batch.features[table].ofWord.append(number)
    }

    /// By unique word, where the first convolution reads it: a counting sort, so in row order within a word.
    private mutating func listOccurrences(into batch: inout MicroBatchContent) {
        for start in batch.levels[1].starts {
            for slot in 0..<3 { batch.windows[slot].append(batch.words[Int(start) + slot]) }
        }
        guard batch.sumsByWord else { return }
        fill.removeAll(keepingCapacity: true)
        for _ in 0...batch.uniqueCount { fill.append(0) }
        for slot in 0..<3 {
            for word in batch.windows[slot] { fill[Int(word)] += 1 }
        }
        var total: Int32 = 0
        for word in 0...batch.uniqueCount {
            batch.occurrenceStarts.append(total)
            let count = fill[word]
            fill[word] = total
            total += count
        }
        for _ in 0..<total { batch.occurrences.append(0) }
        for row in batch.windows[1].indices {
            for slot in 0..<3 {
                let word = Int(batch.windows[slot][row])
                batch.occurrences[Int(fill[word])] = UInt32(4 * row + slot)
                fill[word] += 1
            }
        }
    }

    /// One mask of `width` units for the whole update on each table's output, the same in every lane.
    private mutating func drawEmbeddingMasks(into batch: inout MicroBatchContent) {
        guard dropout.isOn, profile.dropsEmbeddings else { return }
        for table in 0..<(settings.useVectors ? 5 : 4) {
            let philox = Philox(seed: settings.seed, purpose: .embeddingMask, layer: table, update: batch.update)
            plane.removeAll(keepingCapacity: true)
            scratch.keep(dropout, philox, item: 0, index: 0, width: settings.width, into: &plane)
            for unit in 0..<settings.width {
                let bit = plane[8 * (unit / 256) + unit % 8] >> UInt32((unit / 8) % 32) & 1
                let factor = bit == 1 ? dropout.scale : 0
                if table < 4 { batch.features[table].factors.append(factor) } else { batch.vectorFactors.append(factor) }
            }
        }
    }
}

/// Appends planes of kept units to arrays.
private struct PlaneScratch {
    var words: [UInt32] = []

    mutating func keep(_ dropout: Dropout, _ philox: Philox, item: UInt64, index: UInt32, width: Int, into planes: inout [UInt32]) {
        let needed = Philox.wordsPerGroup * Dropout.groups(width: width)
        if words.count < needed { words = [UInt32](repeating: 0, count: needed) }
        let (start, count) = (planes.count, planeWords(width: width))
        for _ in 0..<count { planes.append(0) }
        words.withUnsafeMutableBufferPointer { words in
            planes.withUnsafeMutableBufferPointer { planes in
                guard let words = words.baseAddress, let planes = planes.baseAddress else { return }
                dropout.keep(philox, item: item, index: index, width: width, scratch: words, plane: planes + start)
            }
        }
    }
}

extension WordAttributes {
    fileprivate init(_ word: WordFeatures) {
        self.init(
            orth: word.ids[0], norm: word.ids[1], prefix: word.ids[2], suffix: word.ids[3], shape: word.ids[4],
            row: word.rows.first.map { Int32($0) } ?? -1)
    }
}

extension PreparedShard {
    @inline(__always)
    fileprivate func attributes(_ word: Int) -> WordAttributes {
        let (ids, count) = (words.ids + word, words.count)
        let row = words.rowStarts[word] < words.rowStarts[word + 1] ? Int32(words.rows[Int(words.rowStarts[word])]) : -1
        return WordAttributes(
            orth: ids[0], norm: ids[count], prefix: ids[2 * count], suffix: ids[3 * count], shape: ids[4 * count], row: row)
    }
}
