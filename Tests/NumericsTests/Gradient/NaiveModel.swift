// The plain definition of the model, dense and in double precision. In: documents as the network sees them. Out: loss and gradients.
//
// Written from the definition (spaCy 2.3 `_legacy_tok2vec.py`, `cli/pretrain.py`; 3.8 `ml/models`), sharing nothing with the kernels except
// the Philox block and the keys of the draws: every row of every level, no unique words, no row lists, spaCy's order of axes.
import Foundation
import TestSupport

@testable import Base
@testable import Model
@testable import Numerics
@testable import Shards

struct NaiveDocument {
    var key: UInt64
    /// What the network sees, token by token.
    var words: [WordFeatures]
    /// Whether a space follows.
    var spaces: [Bool]
    /// Of selected tokens, nil for the others.
    var targets: [NaiveTarget?]
}

enum NaiveTarget: Equatable {
    /// The mean of these rows of the vectors table; zeros for none.
    case vector([Int])
    case bytes([UInt8])
}

typealias Row = [Double]

/// A parameter and its gradient.
final class NaiveTensor {
    let shape: [Int]
    var values: Row
    var gradient: Row

    init(_ tensor: NamedTensor) {
        shape = tensor.shape
        values = tensor.values.map(Double.init)
        gradient = Row(repeating: 0, count: values.count)
    }
}

final class NaiveModel {
    let spec: ModelSpec
    let seed: UInt64
    let vectors: [[Float]]
    let tensors: [String: NaiveTensor]
    let update: UInt64

    init(spec: ModelSpec, seed: UInt64, parameters: [NamedTensor], vectors: [[Float]], update: UInt64) {
        self.spec = spec
        self.seed = seed
        self.vectors = vectors
        self.update = update
        tensors = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, NaiveTensor($0)) })
    }

    func tensor(_ name: String) -> NaiveTensor {
        guard let tensor = tensors[name] else { preconditionFailure(name) }
        return tensor
    }

    /// Factors of `width` units: 0 or 1 / (1 - rate).
    func dropout(
        _ purpose: Philox.Purpose, layer: Int = 0, item: UInt64, index: UInt32, width: Int, isOn: Bool = true
    ) -> Row {
        guard spec.dropout > 0, isOn else { return Row(repeating: 1, count: width) }
        let philox = Philox(seed: seed, purpose: purpose, layer: layer, update: update)
        let threshold = UInt32((spec.dropout * 65536).rounded())
        return (0..<width).map { unit in
            let (chunk, lane) = (unit / 8, unit % 8)
            let counter = UInt32(4 * (chunk / 4) + lane / 2)
            let block = philox.block(UInt32(truncatingIfNeeded: item), UInt32(item >> 32), index, counter)
            let words = [block.0, block.1, block.2, block.3]
            let word = words[2 * (chunk / 2 % 2) + lane % 2]
            let bits = chunk % 2 == 0 ? word & 0xFFFF : word >> 16
            return bits < threshold ? 0 : 1 / (1 - Double(spec.dropout))
        }
    }

    /// A layer applied to one row: output, and the backward pass.
    typealias Applied = (output: Row, backward: (Row) -> Row)

    func maxoutNorm(_ name: String, _ input: Row, mask: Row) -> Applied {
        let (weights, bias) = (tensor("\(name).W"), tensor("\(name).b"))
        let (gain, shift) = (tensor("\(name).norm.G"), tensor("\(name).norm.b"))
        // A Mish has one map for each output.
        let isMish = weights.shape.count == 2
        let (outputs, pieces, inputs) = (weights.shape[0], isMish ? 1 : weights.shape[1], weights.shape[weights.shape.count - 1])
        var best = Row(repeating: 0, count: outputs)
        var winner = [Int](repeating: 0, count: outputs)
        for o in 0..<outputs {
            for p in 0..<pieces {
                var sum = bias.values[o * pieces + p]
                for i in 0..<inputs { sum += weights.values[(o * pieces + p) * inputs + i] * input[i] }
                if p == 0 || sum > best[o] { (best[o], winner[o]) = (sum, p) }
            }
        }
        var slopes = Row(repeating: 1, count: outputs)
        if isMish {
            for o in 0..<outputs {
                let x = best[o]
                let (soft, sigmoid) = (log(1 + exp(x)), 1 / (1 + exp(-x)))
                best[o] = x * tanh(soft)
                slopes[o] = tanh(soft) + x * (1 - tanh(soft) * tanh(soft)) * sigmoid
            }
        }
        let mean = best.reduce(0, +) / Double(outputs)
        let variance = best.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(outputs) + 1e-8
        let normalized = best.map { ($0 - mean) / variance.squareRoot() }
        let output = (0..<outputs).map { (normalized[$0] * gain.values[$0] + shift.values[$0]) * mask[$0] }
        return (
            output,
            { dOutput in
                var scaled = Row(repeating: 0, count: outputs)
                for o in 0..<outputs {
                    let d = dOutput[o] * mask[o]
                    gain.gradient[o] += d * normalized[o]
                    shift.gradient[o] += d
                    scaled[o] = d * gain.values[o]
                }
                let sum = scaled.reduce(0, +) / Double(outputs)
                let slope = zip(scaled, normalized).reduce(0) { $0 + $1.0 * $1.1 } / Double(outputs)
                var dInput = Row(repeating: 0, count: inputs)
                for o in 0..<outputs {
                    let d = slopes[o] * (scaled[o] - sum - normalized[o] * slope) / variance.squareRoot()
                    let row = o * pieces + winner[o]
                    bias.gradient[row] += d
                    for i in 0..<inputs {
                        weights.gradient[row * inputs + i] += d * input[i]
                        dInput[i] += d * weights.values[row * inputs + i]
                    }
                }
                return dInput
            }
        )
    }

    /// What a table looks up: a column of the word, or an attribute of the token.
    private func id(_ attribute: String, of word: WordFeatures, space: Bool, token: Int?) -> UInt64 {
        switch attribute {
        case "SPACY": space ? 1 : 0
        case "SENT_START": token == 0 ? 1 : 0
        default: word.ids[spec.schema.columns.firstIndex(of: attribute) ?? 0]
        }
    }

    /// The embedding of a word at token `token` of document `key`; nil: padding.
    func embed(_ word: WordFeatures, space: Bool = false, key: UInt64 = 0, token: Int? = nil) -> Applied {
        var input = Row()
        var back: [(start: Int, width: Int, body: (ArraySlice<Double>) -> Void)] = []
        func add(_ output: Row, _ mask: Row, _ body: @escaping (ArraySlice<Double>) -> Void) {
            back.append((input.count, output.count, body))
            input += zip(output, mask).map { $0 * $1 }
        }
        var names: [String: Int] = [:]
        // Masks are drawn by the number of the part.
        func number(_ tensor: String) -> Int { spec.parts.firstIndex { $0.tensor == tensor } ?? 0 }
        for part in spec.inputs {
            switch part {
            case .table(let hash):
                names[hash.attribute, default: 0] += 1
                let times = names[hash.attribute] ?? 1
                let name = "embed.\(hash.attribute.lowercased())\(times > 1 ? String(times) : "").E"
                let E = tensor(name)
                let keys = murmurHash3(id(hash.attribute, of: word, space: space, token: token), seed: hash.seed)
                let rows = [keys.0, keys.1, keys.2, keys.3].map { Int($0) % hash.rows }
                let mask = dropout(.embeddingMask, layer: number(name), item: 0, index: 0, width: hash.width, isOn: hash.dropout)
                var output = Row(repeating: 0, count: hash.width)
                for row in rows { for o in 0..<hash.width { output[o] += E.values[row * hash.width + o] } }
                add(output, mask) { d in
                    for row in rows { for (o, value) in d.enumerated() { E.gradient[row * hash.width + o] += value * mask[o] } }
                }
            case .characters(let characters):
                let E = tensor("embed.chars.E")
                let starts = (0..<characters.bytes).map { ($0 * 256 + Int(word.bytes[$0])) * characters.width }
                let output = starts.flatMap { E.values[$0..<$0 + characters.width] }
                add(output, Row(repeating: 1, count: output.count)) { d in
                    for (place, value) in d.enumerated() {
                        E.gradient[starts[place / characters.width] + place % characters.width] += value
                    }
                }
            case .vectors(let vectorsPart):
                let W = tensor("embed.vectors.W")
                let rows = word.rows.isEmpty && vectorsPart.missing == .last ? [vectors.count - 1] : word.rows.map(Int.init)
                let vector = mean(rows)
                let mask = dropout(
                    .embeddingMask, layer: number("embed.vectors.W"), item: 0, index: 0, width: vectorsPart.output,
                    isOn: vectorsPart.dropout)
                var output = Row(repeating: 0, count: vectorsPart.output)
                for o in output.indices { for i in vector.indices { output[o] += W.values[o * vector.count + i] * vector[i] } }
                add(output, mask) { d in
                    for (o, value) in d.enumerated() {
                        for i in vector.indices { W.gradient[o * vector.count + i] += value * mask[o] * vector[i] }
                    }
                }
            }
        }
        let mask: Row
        switch spec.mixer.dropout {
        case .word: mask = dropout(.mixerMask, item: word.orth, index: 0, width: spec.width)
        case .token: mask = dropout(.mixerMask, item: key, index: UInt32(token ?? 0), width: spec.width)
        case .none: mask = Row(repeating: 1, count: spec.width)
        }
        let mixed = maxoutNorm("mixer", input, mask: mask)
        return (
            mixed.output,
            { d in
                let dInput = mixed.backward(d)
                for part in back { part.body(dInput[part.start..<part.start + part.width]) }
                return []
            }
        )
    }

    func mean(_ rows: [Int]) -> Row {
        var sum = Row(repeating: 0, count: vectors[0].count)
        for row in rows { for i in sum.indices { sum[i] += Double(vectors[row][i]) / Double(rows.count) } }
        return sum
    }

    /// Loss of one prediction, and its gradient as spaCy defines it.
    func loss(_ prediction: Row, _ target: NaiveTarget) -> (Double, Row) {
        switch (spec.objective, target) {
        case (.characters(let characters), .bytes(let bytes)):
            var p = prediction
            if characters.loss == .softmax {
                for byte in bytes.indices {
                    let block = 256 * byte..<256 * (byte + 1)
                    let total = p[block].reduce(0) { $0 + exp($1) }
                    for place in block { p[place] = exp(p[place]) / total }
                }
            }
            for (byte, value) in bytes.enumerated() { p[256 * byte + Int(value)] -= 1 }
            return (p.reduce(0) { $0 + $1 * $1 }, p)
        case (.vectors(let objective), .vector(let rows)): return loss(prediction, mean(rows), objective.loss)
        default: preconditionFailure("a target of another objective")
        }
    }

    private func loss(_ prediction: Row, _ target: Row, _ function: LossFunction) -> (Double, Row) {
        switch function {
        case .l2:
            let difference = zip(prediction, target).map { $0 - $1 }
            return (difference.reduce(0) { $0 + $1 * $1 }, difference)
        case .cosine:
            let (y, t) = (prediction.map { $0 + 1e-8 }, target.map { $0 + 1e-8 })
            let norms = (y.reduce(0) { $0 + $1 * $1 }.squareRoot(), t.reduce(0) { $0 + $1 * $1 }.squareRoot())
            let cosine = zip(y, t).reduce(0) { $0 + $1.0 * $1.1 } / (norms.0 * norms.1)
            return (
                abs(cosine - 1),
                zip(y, t).map { cosine * $0 / (norms.0 * norms.0) - $1 / (norms.0 * norms.1) }
            )
        }
    }

    /// Adds the gradients of `documents` to the tensors.
    /// - Returns: the loss of the selected tokens.
    func run(_ documents: [NaiveDocument], backward: Bool = true) -> Double {
        documents.reduce(0) { $0 + run($1, backward: backward) }
    }

    /// Level 0: tokens, and padding on both sides.
    private func embed(_ document: NaiveDocument, padding: Int) -> [Applied] {
        let zero = Row(repeating: 0, count: spec.width)
        let side: [Applied]
        if spec.encoder.padding.kind == .embeddedZeros {
            let word = WordFeatures(
                ids: spec.schema.columns.map { _ in 0 }, rows: spec.vectorsInput == nil ? [] : [0],
                bytes: [UInt8](repeating: 255, count: spec.schema.byteCount))
            side = (0..<padding).map { _ in embed(word) }
        } else {
            side = (0..<padding).map { _ in (zero, { _ in [] }) }
        }
        let tokens = document.words.indices.map {
            embed(document.words[$0], space: document.spaces[$0], key: document.key, token: $0)
        }
        return side + tokens + side
    }

    private func run(_ document: NaiveDocument, backward: Bool) -> Double {
        let (width, depth) = (spec.width, spec.encoder.convolutions.count)
        // Only Mish has fewer rows than convolutions; beyond them there are zeros at every level.
        let padding = spec.encoder.padding.kind == .none ? 0 : min(spec.encoder.padding.rows, depth)
        let embedded = embed(document, padding: padding)
        var levels = [embedded.map(\.output)]
        var layers: [[Applied]] = [embedded]
        let zero = Row(repeating: 0, count: width)
        for level in stride(from: 1, through: depth, by: 1) {
            let below = levels[level - 1]
            let applied = below.indices.map { position in
                let window =
                    (position > 0 ? below[position - 1] : zero) + below[position]
                    + (position + 1 < below.count ? below[position + 1] : zero)
                // If there are rows outside, positions are counted from the first of them.
                let index = UInt32(position + (padding < depth ? 1 : 0))
                let mask = dropout(
                    .convolutionMask, layer: level, item: document.key, index: index, width: width,
                    isOn: spec.encoder.convolutions[level - 1].dropout)
                return maxoutNorm("encode.\(level - 1)", window, mask: mask)
            }
            levels.append(below.indices.map { position in zip(below[position], applied[position].output).map { $0 + $1 } })
            layers.append(applied)
        }
        var total = 0.0
        var gradients = [Row](repeating: zero, count: levels[0].count)
        for (token, target) in document.targets.enumerated() {
            guard let target else { continue }
            let mask = dropout(
                .headMask, item: document.key, index: UInt32(token), width: spec.head.hidden, isOn: spec.head.dropout)
            let hidden = maxoutNorm("head.hidden", levels[depth][token + padding], mask: mask)
            let (weights, bias) = (tensor("head.output.W"), tensor("head.output.b"))
            let inputs = hidden.output.count
            let prediction = (0..<weights.shape[0]).map { o in
                (0..<inputs).reduce(bias.values[o]) { $0 + weights.values[o * inputs + $1] * hidden.output[$1] }
            }
            let (loss, dPrediction) = loss(prediction, target)
            total += loss
            guard backward else { continue }
            var dHidden = Row(repeating: 0, count: inputs)
            for (o, d) in dPrediction.enumerated() {
                bias.gradient[o] += d
                for i in 0..<inputs {
                    weights.gradient[o * inputs + i] += d * hidden.output[i]
                    dHidden[i] += d * weights.values[o * inputs + i]
                }
            }
            gradients[token + padding] = hidden.backward(dHidden)
        }
        guard backward else { return total }
        for level in stride(from: depth, through: 1, by: -1) {
            var below = gradients
            for position in gradients.indices {
                let window = layers[level][position].backward(gradients[position])
                for i in 0..<width {
                    if position > 0 { below[position - 1][i] += window[i] }
                    below[position][i] += window[width + i]
                    if position + 1 < below.count { below[position + 1][i] += window[2 * width + i] }
                }
            }
            gradients = below
        }
        for (position, gradient) in gradients.enumerated() { _ = layers[0][position].backward(gradient) }
        return total
    }
}
