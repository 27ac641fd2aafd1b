// The plain definition of the model, dense and in double precision. In: documents as the network sees them. Out: loss and gradients.
//
// Written from the definition (spaCy 2.3 `_legacy_tok2vec.py`, `cli/pretrain.py`), sharing nothing with the kernels but the Philox block
// and the keys of the draws: every row of every level, no unique words, no row lists, spaCy's order of axes.

import TestSupport

@testable import Base
@testable import Numerics
@testable import Text

struct NaiveDocument {
    var key: UInt64
    /// What the network sees, token by token.
    var words: [WordFeatures]
    /// Row of the vectors table for selected tokens, nil for the others.
    var targets: [Int?]
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
    let settings: TrainingSettings
    let seeds: EmbeddingSeeds
    let vectors: [[Float]]
    let tensors: [String: NaiveTensor]
    let update: UInt64

    init(settings: TrainingSettings, seeds: EmbeddingSeeds, parameters: [NamedTensor], vectors: [[Float]], update: UInt64) {
        self.settings = settings
        self.seeds = seeds
        self.vectors = vectors
        self.update = update
        tensors = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, NaiveTensor($0)) })
    }

    func tensor(_ name: String) -> NaiveTensor {
        guard let tensor = tensors[name] else { preconditionFailure(name) }
        return tensor
    }

    /// Factors of `width` units: 0 or 1 / (1 - rate).
    func dropout(_ purpose: Philox.Purpose, layer: Int = 0, item: UInt64, index: UInt32, width: Int) -> Row {
        guard settings.dropout > 0 else { return Row(repeating: 1, count: width) }
        let philox = Philox(seed: settings.seed, purpose: purpose, layer: layer, update: update)
        let threshold = UInt32((settings.dropout * 65536).rounded())
        return (0..<width).map { unit in
            let (chunk, lane) = (unit / 8, unit % 8)
            let counter = UInt32(4 * (chunk / 4) + lane / 2)
            let block = philox.block(UInt32(truncatingIfNeeded: item), UInt32(item >> 32), index, counter)
            let words = [block.0, block.1, block.2, block.3]
            let word = words[2 * (chunk / 2 % 2) + lane % 2]
            let bits = chunk % 2 == 0 ? word & 0xFFFF : word >> 16
            return bits < threshold ? 0 : 1 / (1 - Double(settings.dropout))
        }
    }

    /// A layer applied to one row: output, and the way back.
    typealias Applied = (output: Row, backward: (Row) -> Row)

    func maxoutNorm(_ name: String, _ input: Row, mask: Row) -> Applied {
        let (weights, bias) = (tensor("\(name).W"), tensor("\(name).b"))
        let (gain, shift) = (tensor("\(name).norm.G"), tensor("\(name).norm.b"))
        let (outputs, pieces, inputs) = (weights.shape[0], weights.shape[1], weights.shape[2])
        var best = Row(repeating: 0, count: outputs)
        var winner = [Int](repeating: 0, count: outputs)
        for o in 0..<outputs {
            for p in 0..<pieces {
                var sum = bias.values[o * pieces + p]
                for i in 0..<inputs { sum += weights.values[(o * pieces + p) * inputs + i] * input[i] }
                if p == 0 || sum > best[o] { (best[o], winner[o]) = (sum, p) }
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
                    let d = (scaled[o] - sum - normalized[o] * slope) / variance.squareRoot()
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

    func embed(_ word: WordFeatures) -> Applied {
        let width = settings.width
        var parts: [(name: String, id: UInt64, seed: UInt32, layer: Int)] = [
            ("norm", word.norm, seeds.norm, 0), ("prefix", word.prefix, seeds.prefix, 1), ("suffix", word.suffix, seeds.suffix, 2),
            ("shape", word.shape, seeds.shape, 3),
        ]
        if settings.useVectors { parts.insert(("vectors", 0, 0, 4), at: 0) }
        var input = Row()
        var back: [(ArraySlice<Double>) -> Void] = []
        for part in parts {
            let mask = dropout(.embeddingMask, layer: part.layer, item: 0, index: 0, width: width)
            var output = Row(repeating: 0, count: width)
            if part.name == "vectors" {
                let weights = tensor("embed.vectors.W")
                let vector = word.row >= 0 ? vectors[Int(word.row)].map(Double.init) : Row(repeating: 0, count: settings.vectorWidth)
                for o in 0..<width {
                    for i in vector.indices { output[o] += weights.values[o * vector.count + i] * vector[i] }
                }
                back.append { d in
                    for (o, value) in d.enumerated() {
                        for i in vector.indices { weights.gradient[o * vector.count + i] += value * mask[o] * vector[i] }
                    }
                }
            } else {
                let table = tensor("embed.\(part.name).E")
                let keys = murmurHash3(part.id, seed: part.seed)
                let rows = [keys.0, keys.1, keys.2, keys.3].map { Int($0) % table.shape[0] }
                for row in rows { for o in 0..<width { output[o] += table.values[row * width + o] } }
                back.append { d in
                    for row in rows { for (o, value) in d.enumerated() { table.gradient[row * width + o] += value * mask[o] } }
                }
            }
            input += zip(output, mask).map { $0 * $1 }
        }
        let mixed = maxoutNorm("mixer", input, mask: dropout(.mixerMask, item: word.orth, index: 0, width: width))
        return (
            mixed.output,
            { d in
                let dInput = mixed.backward(d)
                for (index, body) in back.enumerated() { body(dInput[index * width..<(index + 1) * width]) }
                return []
            }
        )
    }

    /// Loss of one prediction, and its gradient as spaCy defines it.
    func loss(_ prediction: Row, _ target: Row) -> (Double, Row) {
        switch settings.loss {
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

    private func run(_ document: NaiveDocument, backward: Bool) -> Double {
        let (width, depth) = (settings.width, settings.depth)
        let padding = WordFeatures(orth: 0, norm: 0, prefix: 0, suffix: 0, shape: 0, row: 0)
        let sides = [WordFeatures](repeating: padding, count: depth)
        let embedded = (sides + document.words + sides).map(embed)
        var levels = [embedded.map(\.output)]
        var layers: [[Applied]] = [embedded]
        let zero = Row(repeating: 0, count: width)
        for level in 1...depth {
            let below = levels[level - 1]
            let applied = below.indices.map { position in
                let window =
                    (position > 0 ? below[position - 1] : zero) + below[position]
                    + (position + 1 < below.count ? below[position + 1] : zero)
                let mask = dropout(.convolutionMask, layer: level, item: document.key, index: UInt32(position), width: width)
                return maxoutNorm("encode.\(level - 1)", window, mask: mask)
            }
            levels.append(below.indices.map { position in zip(below[position], applied[position].output).map { $0 + $1 } })
            layers.append(applied)
        }
        var total = 0.0
        var gradients = [Row](repeating: zero, count: levels[0].count)
        for (token, target) in document.targets.enumerated() {
            guard let target else { continue }
            let mask = dropout(.headMask, item: document.key, index: UInt32(token), width: Profile.spacy2.headWidth)
            let hidden = maxoutNorm("head.hidden", levels[depth][token + depth], mask: mask)
            let (weights, bias) = (tensor("head.output.W"), tensor("head.output.b"))
            let inputs = hidden.output.count
            let prediction = (0..<weights.shape[0]).map { o in
                (0..<inputs).reduce(bias.values[o]) { $0 + weights.values[o * inputs + $1] * hidden.output[$1] }
            }
            let (loss, dPrediction) = loss(prediction, vectors[target].map(Double.init))
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
            gradients[token + depth] = hidden.backward(dHidden)
        }
        guard backward else { return total }
        for level in (1...depth).reversed() {
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
