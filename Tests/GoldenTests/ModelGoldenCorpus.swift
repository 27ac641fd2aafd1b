// The documents, vectors and parameters of the golden cases. In: a dump. Out: micro-batches' documents and the injected selection.
import TestSupport

@testable import Base
@testable import Model
@testable import Numerics
@testable import Shards

struct GoldenCorpus {
    let settings: TrainingSettings
    let vectors: GoldenVectors
    /// Documents of each update.
    let batches: [[DocumentView]]
    /// By update, document and token.
    private let replacements: [[[Replacement?]]]

    init(dump: Safetensors, item: ModelGoldenTests.Case) throws {
        func ids(_ name: String) throws -> [UInt64] { try dump.array(item.documents + name, UInt64.self) }
        func integers(_ name: String) throws -> [Int] { try dump.array(item.documents + name, Int32.self).map(Int.init) }
        let shape = try integers("vectors")
        settings = item.settings(vectorRows: shape[0], vectorWidth: shape[1])
        vectors = GoldenVectors(rows: shape[0], width: shape[1])
        let (orth, norm, prefix) = (try ids("orth"), try ids("norm"), try ids("prefix"))
        let (suffix, wordShape) = (try ids("suffix"), try ids("shape"))
        let (row, target, lengths) = (try integers("row"), try integers("target"), try integers("lengths"))
        let selected = item.masked ? try integers("selected") : orth.map { _ in 1 }
        var (documents, token) = (0, 0)
        var (batches, replacements): ([[DocumentView]], [[[Replacement?]]]) = ([], [])
        for count in try integers("batches") {
            var builder = PreparedShardBuilder(schema: .spacy2)
            var chosen: [[Replacement?]] = []
            for document in documents..<documents + count {
                var words: [UInt32] = []
                var choices: [Replacement?] = []
                for _ in 0..<lengths[document] {
                    let input = WordFeatures(
                        orth: orth[token], norm: norm[token], prefix: prefix[token], suffix: suffix[token], shape: wordShape[token],
                        row: Int32(row[token]))
                    // A word of its own for each token: the original's vector row is the target, the rest is what the network sees.
                    var original = input
                    original.rows = target[token] < 0 ? [] : [UInt32(target[token])]
                    words.append(builder.add(word: original))
                    choices.append(selected[token] == 1 ? .word(Int(builder.add(word: input))) : nil)
                    token += 1
                }
                builder.add(line: document, words: words)
                chosen.append(choices)
            }
            let bytes = GoldenBytes(builder.finish())
            let shard = try PreparedShard(bytes: bytes.buffer, owner: bytes, schema: .spacy2, place: "golden")
            batches.append((0..<count).map { DocumentView(key: UInt64(documents + $0), shard: shard, index: $0) })
            replacements.append(chosen)
            documents += count
        }
        self.batches = batches
        self.replacements = replacements
    }

    static let noWord = WordFeatures(orth: 0, norm: 0, prefix: 0, suffix: 0, shape: 0, row: -1)

    func choose(_ update: Int, _ document: Int, _ token: Int) -> Replacement? { replacements[update][document][token] }

    /// Element i of a stream, as `uniform` in the reference script.
    static func uniform(stream: UInt64, count: Int, bound: Double) -> [Float] {
        (0..<UInt64(count)).map { index in
            let bits = Philox.mix(index + stream << 32) >> 40
            return Float((Double(bits) * 0x1p-24 * 2 - 1) * bound)
        }
    }

    static func parameters(_ layout: ParameterLayout, salt: Int) -> [NamedTensor] {
        layout.tensors.enumerated().map { index, tensor in
            let kind = tensor.name.split(separator: ".").last ?? ""
            let fan = Double(tensor.shape[0] + tensor.shape[tensor.shape.count - 1])
            let bound: Double
            switch kind {
            case "G": bound = 0.3
            case "b": bound = 0.2
            case "E": bound = 0.1
            default: bound = (6 / fan).squareRoot()
            }
            let values = uniform(stream: UInt64(64 * salt + index), count: tensor.count, bound: bound)
            return NamedTensor(name: tensor.name, shape: tensor.shape, values: kind == "G" ? values.map { 1 + $0 } : values)
        }
    }
}

final class GoldenBytes {
    let buffer: UnsafeRawBufferPointer

    init(_ bytes: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        copy.copyBytes(from: bytes)
        buffer = UnsafeRawBufferPointer(copy)
    }

    deinit { buffer.deallocate() }
}

final class GoldenVectors: VectorRows, @unchecked Sendable {
    let width: Int
    private let storage: UnsafeMutablePointer<Float>

    init(rows: Int, width: Int) {
        self.width = width
        storage = .allocate(capacity: rows * width)
        storage.update(from: GoldenCorpus.uniform(stream: 1000, count: rows * width, bound: 1), count: rows * width)
    }

    deinit { storage.deallocate() }

    func pointer(row: Int) -> UnsafePointer<Float> { UnsafePointer(storage) + row * width }
}
