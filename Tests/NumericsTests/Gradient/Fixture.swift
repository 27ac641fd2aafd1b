// Small random corpora, vectors and selections for tests. In: a seed. Out: the same documents for engine and naive model.
import TestSupport

@testable import Base
@testable import Model
@testable import Numerics
@testable import Shards

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
    var spec: ModelSpec
    var seed: UInt64
    let layout: ParameterLayout
    let vectors: TestVectors
    let shard: PreparedShard
    let maskWord: WordFeatures
    let randomWords: RandomWordTable
    var parameters: [Float]
    static let vectorRows = 20

    init(settings: TrainingSettings, lengths: [Int], vocabulary: Int, seed: UInt64) throws {
        try self.init(spec: .spacy2(settings), runSeed: settings.seed, lengths: lengths, vocabulary: vocabulary, seed: seed)
    }

    /// Documents of the given lengths over `vocabulary` words; every fifth word has no vector.
    /// - Parameter isFloret: words have several vector rows, and all have some.
    init(spec: ModelSpec, runSeed: UInt64 = 5, lengths: [Int], vocabulary: Int, seed: UInt64, isFloret: Bool = false) throws {
        var random = SplitMix64(state: seed)
        self.spec = spec
        self.seed = runSeed
        let schema = spec.schema
        vectors = TestVectors(count: Self.vectorRows, width: spec.vectorWidth ?? 3, using: &random)
        func word(_ number: UInt64, row: Int) -> WordFeatures {
            let columns = [1000 + number, 2000 + number - number % 4 / 3, 1 + number % 5, 1 + number % 7, 1 + number % 3, number % 2]
            let rows = isFloret ? (0...row % 3 + 1).map { UInt32((row + 1 + 7 * $0) % Self.vectorRows) } : row < 0 ? [] : [UInt32(row)]
            return WordFeatures(
                ids: schema.columns.indices.map { columns[min($0, 5)] }, rows: schema.hasVectors ? rows : [],
                bytes: (0..<schema.byteCount).map { $0 < 3 ? UInt8((number * 7 + UInt64($0)) % 11 * 20) : 255 })
        }
        var builder = PreparedShardBuilder(schema: schema)
        var ids: [UInt32] = []
        for index in 0..<vocabulary { ids.append(builder.add(word: word(UInt64(index), row: index % 5 == 4 ? -1 : index % 20))) }
        for (line, length) in lengths.enumerated() {
            // Squaring makes low indices frequent.
            builder.add(
                line: line,
                words: (0..<length).map { place in
                    let uniform = Double.random(in: 0..<1, using: &random)
                    return ids[Int(uniform * uniform * Double(vocabulary))] | (place % 3 == 1 ? PreparedShard.spaceBit : 0)
                })
        }
        let bytes = builder.finish()
        let owner = Bytes(bytes)
        let shard = try PreparedShard(bytes: owner.buffer, owner: owner, schema: schema, place: "test")
        self.shard = shard
        maskWord = word(777, row: 7)
        randomWords = RandomWordTable(words: (0..<vocabulary).map(shard.word), counts: shard.counts.map(UInt64.init))
        layout = ParameterLayout(spec: spec)
        parameters = [Float](repeating: 0, count: layout.count)
        layout.initialize(&parameters, seed: seed)
        // Biases and gains that are not at their initial values.
        for tensor in layout.tensors where tensor.name.hasSuffix(".b") || tensor.name.hasSuffix(".G") {
            for index in tensor.range { parameters[index] += Float.random(in: -0.3...0.3, using: &random) }
        }
        clearOutputs()
    }

    /// A run over characters begins with zeros: some outputs are still there, and among them are targets.
    private mutating func clearOutputs() {
        guard case .characters(let objective) = spec.objective else { return }
        for tensor in layout.tensors where tensor.name.hasPrefix("head.output.") {
            let width = tensor.count / (256 * objective.bytes)
            for index in tensor.range where (index - tensor.offset) / width % 256 / 20 % 2 == 1 { parameters[index] = 0 }
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
        MicroBatchBuilder(spec: spec, seed: seed, randomWords: randomWords, maskWord: maskWord, vectorRows: Self.vectorRows)
    }

    func batch(epoch: UInt64 = 3, update: UInt64 = 11) -> MicroBatch {
        let batch = MicroBatch()
        builder().build(documents, epoch: epoch, update: update, into: batch)
        return batch
    }

    /// - Parameter wordsPerLane: with few, products add row by row.
    func engine(wordsPerLane: Int = 1000, idle: (any IdleThreads)? = nil) -> GradientEngine {
        GradientEngine(spec: spec, layout: layout, vectors: vectors, wordsPerLane: wordsPerLane, idle: idle)
    }

    func gradient(_ batch: MicroBatch, engine: GradientEngine? = nil) -> (values: [Float], statistics: ContributionStatistics) {
        let engine = engine ?? self.engine()
        var values = [Float](repeating: .nan, count: layout.count)
        let statistics = engine.gradient(of: batch, parameters: parameters, into: &values)
        return (values, statistics)
    }

    func tensors(_ values: [Float]) -> [NamedTensor] { layout.export(values) }

    func naive(update: UInt64 = 11) -> NaiveModel {
        NaiveModel(spec: spec, seed: seed, parameters: tensors(parameters), vectors: vectors.rows, update: update)
    }

    /// The same documents for the naive model, drawn from the definition: one Philox block per token.
    func naiveDocuments(epoch: UInt64 = 3) -> [NaiveDocument] {
        let philox = Philox(seed: seed, purpose: .select, update: epoch)
        return documents.map { document in
            var naive = NaiveDocument(key: document.key, words: [], spaces: [], targets: [])
            for (token, place) in document.tokens.enumerated() {
                var word = shard.word(shard.word(ofToken: place))
                let aim = target(word)
                var target: NaiveTarget?
                let block = philox.block(UInt32(truncatingIfNeeded: document.key), UInt32(document.key >> 32), 0, UInt32(token))
                let isDrawn = spec.maskProbability <= 0 || Double(block.0) < Double(spec.maskProbability) * 4294967296
                if isDrawn, aim.isHidden {
                    target = aim.target
                    if spec.maskProbability > 0 {
                        let roll = Double(block.1) / 4294967296
                        if roll < 0.8 {
                            word = maskWord
                        } else if roll < 0.9 {
                            let bits = UInt64(block.2) | UInt64(block.3) << 32
                            word = randomWords.index(bits: bits).map { randomWords.words[$0] } ?? word
                        }
                    }
                }
                naive.words.append(word)
                naive.spaces.append(shard.tokens[place] & PreparedShard.spaceBit != 0)
                naive.targets.append(target)
            }
            return naive
        }
    }

    /// The target of a drawn word, and whether it is replaced at all.
    private func target(_ word: WordFeatures) -> (target: NaiveTarget?, isHidden: Bool) {
        switch spec.objective {
        case .characters(let characters): return (.bytes(Array(word.bytes.prefix(characters.bytes))), true)
        case .vectors(let objective):
            if !word.rows.isEmpty { return (.vector(word.rows.map(Int.init)), true) }
            switch objective.missing {
            case .skip: return (nil, false)
            case .row0: return (.vector([0]), true)
            case .last: return (.vector([Self.vectorRows - 1]), true)
            case .zero: return (objective.loss == .cosine ? nil : .vector([]), true)
            }
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
