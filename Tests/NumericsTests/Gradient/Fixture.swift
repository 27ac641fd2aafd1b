// Small random corpora, vectors and selections for tests. In: a seed. Out: the same documents for engine and naive model.

import TestSupport

@testable import Base
@testable import Numerics
@testable import Text

struct TestVectors: VectorRows {
    let rows: [[Float]]
    let width: Int
    private let storage: Storage

    private final class Storage: @unchecked Sendable {
        let pointer: UnsafeMutablePointer<Float>
        init(_ values: [Float]) {
            pointer = .allocate(capacity: max(1, values.count))
            pointer.update(from: values, count: values.count)
        }
        deinit { pointer.deallocate() }
    }

    init(count: Int, width: Int, using random: inout SplitMix64) {
        self.width = width
        rows = (0..<count).map { _ in (0..<width).map { _ in Float.random(in: -1...1, using: &random) } }
        storage = Storage(rows.flatMap { $0 })
    }

    func pointer(row: Int) -> UnsafePointer<Float> { UnsafePointer(storage.pointer) + row * width }
}

struct Fixture {
    var settings: TrainingSettings
    let layout: ParameterLayout
    let vectors: TestVectors
    let shard: PreparedShard
    let maskWord: WordFeatures
    let randomWords: RandomWordTable
    var parameters: [Float]

    /// Documents of the given lengths over `vocabulary` words; every fifth word has no vector.
    init(settings base: TrainingSettings, lengths: [Int], vocabulary: Int, seed: UInt64) throws {
        var random = SplitMix64(state: seed)
        var settings = base
        settings.vectorRows = 20
        vectors = TestVectors(count: 20, width: settings.vectorWidth, using: &random)
        var builder = PreparedShardBuilder(schema: .spacy2)
        var ids: [UInt32] = []
        for index in 0..<vocabulary {
            let number = UInt64(index)
            let row: Int32 = index % 5 == 4 ? -1 : Int32(index % 20)
            let word = WordFeatures(
                orth: 1000 + number, norm: 2000 + number - number % 4 / 3, prefix: 1 + number % 5, suffix: 1 + number % 7,
                shape: 1 + number % 3,
                row: row)
            ids.append(builder.add(word: word))
        }
        for (line, length) in lengths.enumerated() {
            // Squaring makes low indices frequent.
            builder.add(
                line: line,
                words: (0..<length).map { _ in
                    let uniform = Double.random(in: 0..<1, using: &random)
                    return ids[Int(uniform * uniform * Double(vocabulary))]
                })
        }
        let bytes = builder.finish()
        let owner = Bytes(bytes)
        shard = try PreparedShard(bytes: owner.buffer, owner: owner, schema: .spacy2, place: "test")
        maskWord = WordFeatures(orth: 1, norm: 2, prefix: 3, suffix: 4, shape: 5, row: 7)
        randomWords = RandomWordTable(words: (0..<vocabulary).map(shard.word), counts: shard.counts.map(UInt64.init))
        layout = ParameterLayout(settings: settings)
        self.settings = settings
        parameters = [Float](repeating: 0, count: layout.count)
        layout.initialize(&parameters, seed: seed)
        // Biases and gains that are not at their initial values.
        for tensor in layout.tensors where tensor.name.hasSuffix(".b") || tensor.name.hasSuffix(".G") {
            for index in tensor.range { parameters[index] += Float.random(in: -0.3...0.3, using: &random) }
        }
    }

    final class Bytes {
        let buffer: UnsafeRawBufferPointer
        init(_ bytes: [UInt8]) {
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
            copy.copyBytes(from: bytes)
            buffer = UnsafeRawBufferPointer(copy)
        }
        deinit { buffer.deallocate() }
    }

    var documents: [DocumentView] {
        (0..<shard.documentCount).map { DocumentView(key: UInt64(shard.lines[$0]) + 77, shard: shard, index: $0) }
    }

    func builder() -> MicroBatchBuilder {
        MicroBatchBuilder(settings: settings, seeds: EmbeddingSeeds(), randomWords: randomWords, maskWord: maskWord)
    }

    func batch(epoch: UInt64 = 3, update: UInt64 = 11) -> MicroBatch {
        let batch = MicroBatch()
        builder().build(documents, epoch: epoch, update: update, into: batch)
        return batch
    }

    func gradient(_ batch: MicroBatch, engine: GradientEngine? = nil) -> (values: [Float], statistics: ContributionStatistics) {
        let engine = engine ?? GradientEngine(settings: settings, layout: layout, vectors: vectors)
        var values = [Float](repeating: .nan, count: layout.count)
        let statistics = engine.gradient(of: batch, parameters: parameters, into: &values)
        return (values, statistics)
    }

    func tensors(_ values: [Float]) -> [NamedTensor] { layout.export(values) }

    /// The same documents for the naive model, drawn from the definition: one Philox block a token.
    func naiveDocuments(epoch: UInt64 = 3) -> [NaiveDocument] {
        let philox = Philox(seed: settings.seed, purpose: .select, update: epoch)
        return documents.map { document in
            var words: [WordFeatures] = []
            var targets: [Int?] = []
            for (token, place) in document.tokens.enumerated() {
                var word = shard.word(shard.word(ofToken: place))
                var target: Int? = word.row >= 0 ? Int(word.row) : nil
                if target == nil, settings.outOfVocabularyTargets == .row0 { target = 0 }
                if target == nil, settings.outOfVocabularyTargets == .last { target = settings.vectorRows - 1 }
                let block = philox.block(UInt32(truncatingIfNeeded: document.key), UInt32(document.key >> 32), 0, UInt32(token))
                if settings.maskProbability > 0 {
                    if Double(block.0) >= Double(settings.maskProbability) * 4294967296 { target = nil }
                    if target != nil {
                        let roll = Double(block.1) / 4294967296
                        if roll < 0.8 {
                            word = maskWord
                        } else if roll < 0.9 {
                            let bits = UInt64(block.2) | UInt64(block.3) << 32
                            word = randomWords.index(bits: bits).map { randomWords.words[$0] } ?? word
                        }
                    }
                }
                words.append(word)
                targets.append(target)
            }
            return NaiveDocument(key: document.key, words: words, targets: targets)
        }
    }
}

/// Relative L2 distance of two tensors; 0 if both are 0.
func relativeError(_ values: [Float], _ reference: [Double]) -> Double {
    var (difference, norm) = (0.0, 0.0)
    for (a, b) in zip(values, reference) {
        difference += (Double(a) - b) * (Double(a) - b)
        norm += b * b
    }
    return difference == 0 ? 0 : (difference / norm).squareRoot()
}
