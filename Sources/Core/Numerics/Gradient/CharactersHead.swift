// The characters objective. In: rows of selected tokens, the bytes they aim at. Out: loss, the rows' gradients, the head's gradients.
import Model

/// Predicts bytes of the original word: 256 outputs for each (spaCy 3.8 `multi_task.py`, `build_cloze_characters_multi_task_model`).
/// One-hot rows are never built: a target is the place where 1 is subtracted.
final class CharactersHead: ObjectiveLayer {
    private let hidden: HiddenLayer
    private let objective: ModelSpec.CharactersObjective
    /// (O): room for the output's bias gradient when it is not needed.
    private var unused: MutableFloats?
    /// (L): the gradient of the live outputs' biases.
    private var dLiveBias: MutableFloats?

    init(spec: ModelSpec, objective: ModelSpec.CharactersObjective, layout: ParameterLayout) {
        hidden = HiddenLayer(spec: spec, layout: layout, hasLiveOutputs: LiveOutputs.exist(spec, objective))
        self.objective = objective
    }

    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver) {
        hidden.carve(batch, &sizes, &carver)
        unused = carver.floats(256 * objective.bytes)
        dLiveBias = carver.floats(256 * objective.bytes)
    }

    func loss(_ pass: Pass, input: Floats) -> Double {
        findLive(pass)
        guard let unused, let prediction = hidden.predict(pass, input: input) else { return 0 }
        return turn(pass, prediction, rows: 0..<pass.batch.selectedCount, dBias: unused)
    }

    func run(_ pass: Pass, input: Floats, dInput: MutableFloats) -> [Double] {
        findLive(pass)
        return hidden.run(pass, input: input, dInput: dInput) { prediction, rows, gradient in
            turn(pass, prediction, rows: rows, dBias: gradient + hidden.outputBias)
        }
    }

    private func findLive(_ pass: Pass) {
        guard let live = hidden.live else { return }
        pass.measure(.headRows, bytes: 0) { live.find(pass, bytes: objective.bytes) }
    }

    /// Adds the output's bias gradient to `dBias`.
    /// - Returns: the sum of the rows' losses.
    private func turn(_ pass: Pass, _ prediction: MutableFloats, rows: Range<Int>, dBias: MutableFloats) -> Double {
        guard let live = hidden.live else { return turnAll(pass, prediction, rows: rows, dBias: dBias) }
        var sum = 0.0
        pass.measure(.loss, bytes: rows.count * live.rows.count * 4 * 5) {
            sum = turnLive(pass, live, prediction, rows: rows, dBias: dBias)
        }
        return sum
    }

    /// loss = sum (p - y)^2, gradient = p - y, of live outputs; of the others both are 0.
    private func turnLive(
        _ pass: Pass, _ live: LiveOutputs, _ prediction: MutableFloats, rows: Range<Int>, dBias: MutableFloats
    ) -> Double {
        guard let dLiveBias else { return 0 }
        let (bytes, count, learned) = (objective.bytes, live.rows.count, live.learned)
        dLiveBias.update(repeating: 0, count: count)
        var sum = 0.0
        for row in rows {
            let p = prediction + row * count
            (p + learned).update(repeating: 0, count: count - learned)
            for byte in 0..<bytes {
                let place = live.places[256 * byte + Int(pass.batch.targetBytes[row * bytes + byte])]
                p[place] -= 1
                // What is predicted is 0. Which other outputs there are depends on the other lanes: they have no part in a lane's rounding.
                if place >= learned {
                    dLiveBias[place] -= 1
                    sum += 1
                }
            }
            sum += Double(squares(p, count: learned, bias: live.learnedBiases, dBias: dLiveBias))
        }
        for (place, output) in live.rows.enumerated() { dBias[output] += dLiveBias[place] }
        return sum
    }

    /// loss = sum (p - y)^2, gradient = p - y, of all outputs; p is the prediction, or its softmax over the 256 values of each byte.
    private func turnAll(_ pass: Pass, _ prediction: MutableFloats, rows: Range<Int>, dBias: MutableFloats) -> Double {
        let (batch, bytes) = (pass.batch, objective.bytes)
        let bias = pass.parameters + hidden.outputBias
        let isSoftmax = objective.loss == .softmax
        var sum = 0.0
        pass.measure(.loss, bytes: rows.count * bytes * 256 * 4 * 5) {
            for row in rows {
                for byte in 0..<bytes {
                    let p = prediction + (row * bytes + byte) * 256
                    let target = Int(batch.targetBytes[row * bytes + byte])
                    if isSoftmax {
                        softmax(p, bias: bias + 256 * byte)
                        p[target] -= 1
                        sum += Double(squares(p, count: 256, dBias: dBias + 256 * byte))
                    } else {
                        p[target] -= 1
                        sum += Double(squares(p, count: 256, bias: bias + 256 * byte, dBias: dBias + 256 * byte))
                    }
                }
            }
        }
        return sum
    }

    /// p += bias, dBias += p.
    /// - Returns: the sum of squares of the `count` values.
    @inline(__always)
    private func squares(_ p: MutableFloats, count: Int, bias: Floats? = nil, dBias: MutableFloats) -> Float {
        var total = Float8.zero
        forChunks(count) { start, length in
            var value = load(p, start, length)
            if let bias {
                value += load(bias, start, length)
                store(value, p, start, length)
            }
            total.addProduct(value, value)
            store(load(dBias, start, length) + value, dBias, start, length)
        }
        return laneSum(total)
    }

    /// p = softmax(p + bias) of 256 values.
    @inline(__always)
    private func softmax(_ p: MutableFloats, bias: Floats) {
        var largest = Float8(repeating: -.infinity)
        forChunks(256) { start, length in
            let value = load(p, start, length) + load(bias, start, length)
            store(value, p, start, length)
            largest = largest.replacing(with: value, where: value .> largest)
        }
        let most = Float8(repeating: largest.max())
        var total = Float8.zero
        forChunks(256) { start, length in
            let value = exponential(load(p, start, length) - most)
            store(value, p, start, length)
            total += value
        }
        let factor = Float8(repeating: 1 / laneSum(total))
        forChunks(256) { start, length in store(load(p, start, length) * factor, p, start, length) }
    }

    func neededProducts(_ batch: MicroBatchContent) -> Int { hidden.neededProducts(batch) }
}
