// The head's hidden layer, for selected tokens only. In: rows of the last level. Out: Maxout + LayerNorm (+ dropout); backward, gradients.
import Model

/// Shared by the objectives: Maxout(H, P), LayerNorm, with some objectives dropout, then the objective's linear layer.
final class HiddenLayer {
    let outputs: Int
    private let pieces: Int
    private let width: Int
    private let epsilon: Float
    private let keepScale: Float
    private let offsets: NormedOffsets
    private let outputWeights: Int
    let outputBias: Int
    private let outputCount: Int
    /// The predictions are theirs; nil: all outputs'.
    let live: LiveOutputs?

    private var trace: LayerTrace?
    /// (T, H) and its gradient.
    private(set) var output: MutableFloats?
    private var dOutput: MutableFloats?
    /// (T, O) or (T, L): prediction without bias, then its gradient.
    private(set) var prediction: MutableFloats?
    /// (L, H): the gradient of the live outputs' weights.
    private var dLive: MutableFloats?
    /// Of each lane.
    private var losses: [Double] = []

    /// - Parameter hasLiveOutputs: products leave out the others.
    init(spec: ModelSpec, layout: ParameterLayout, hasLiveOutputs: Bool = false) {
        (outputs, pieces, width) = (spec.head.hidden, spec.head.pieces, spec.width)
        (epsilon, keepScale) = (spec.layerNormEpsilon, Dropout(rate: spec.dropout).scale)
        offsets = NormedOffsets(layout, "head.hidden")
        (outputWeights, outputBias) = (layout.offset("head.output.W"), layout.offset("head.output.b"))
        outputCount = spec.outputCount
        live =
            hasLiveOutputs
            ? LiveOutputs(outputs: outputCount, inputs: outputs, weightsOffset: outputWeights, biasOffset: outputBias) : nil
    }

    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver) {
        let rows = batch.selectedCount
        trace = LayerTrace(rows: rows, outputs: outputs, pieces: pieces, carver: &carver)
        output = carver.floats(rows * outputs)
        dOutput = carver.floats(rows * outputs)
        prediction = carver.floats(rows * outputCount)
        dLive = live.map { _ in carver.floats(outputCount * outputs) }
        sizes.need(row: pieces * outputs, activations: rows * pieces * outputs, won: rows * outputs)
    }

    /// Writes the predictions.
    /// - Returns: (T, O), without the bias; with live outputs (T, L), of which only those of learned ones are written.
    func predict(_ pass: Pass, input: Floats) -> MutableFloats? {
        guard let output, let prediction else { return nil }
        let rows = pass.batch.selectedCount
        let wide = pieces * outputs
        pass.multiply(.head, m: rows, n: wide, k: width) {
            pass.weights.timesTransposed(
                m: rows, n: wide, k: width, input, lda: width, offset: offsets.weights, ldb: width, pass.scratch.activations, ldc: wide)
        }
        forwardRows(pass)
        let columns = live?.learned ?? outputCount
        pass.multiply(.head, m: rows, n: columns, k: outputs) {
            pass.weights.timesTransposed(
                m: rows, n: columns, k: outputs, output, lda: outputs, offset: outputWeights, rows: live?.learnedWeights, ldb: outputs,
                prediction, ldc: live?.rows.count ?? outputCount)
        }
        return prediction
    }

    /// Writes the predictions, lets `loss` turn those of each lane into their gradients, and runs the backward pass.
    /// - Returns: what `loss` returned.
    func run(
        _ pass: Pass, input: Floats, dInput: MutableFloats,
        loss: (_ prediction: MutableFloats, _ rows: Range<Int>, _ gradient: MutableFloats) -> Double
    ) -> [Double] {
        guard let prediction = predict(pass, input: input), let output, let dOutput else { return [] }
        let (rows, starts) = (pass.batch.selectedCount, pass.batch.selectedStarts)
        losses.removeAll(keepingCapacity: true)
        pass.forLanes(starts) { losses.append(loss(prediction, $0, $1)) }
        backwardOutput(pass, output: output, dPrediction: prediction, dOutput: dOutput)
        backwardRows(pass)
        let products = WinnerProducts(
            outputs: outputs, pieces: pieces, inputs: width, weightStride: width, rows: rows, dMax: dOutput,
            won: pass.scratch.won, rowStarts: nil, rowStride: width,
            order: pass.order(expectedRows: pass.expected.rows(distance: 0)), idle: pass.idle)
        pass.multiply(.headBackward, products: 2, m: outputs, n: width, k: rows) {
            dInput.update(repeating: 0, count: rows * width)
            products.gradients(
                pass.lanes(starts), weights: pass.parameters + offsets.weights, input: input, dWeights: pass.gradient + offsets.weights,
                dInput: dInput, pass.sums)
        }
        return losses
    }

    private func backwardOutput(_ pass: Pass, output: Floats, dPrediction: Floats, dOutput: MutableFloats) {
        let (rows, starts) = (pass.batch.selectedCount, pass.batch.selectedStarts)
        let (columns, learned) = (live?.rows.count ?? outputCount, live?.learned ?? outputCount)
        let dWeights = pass.gradient + outputWeights
        pass.multiply(.head, m: columns, n: outputs, k: rows) {
            pass.products.transposedTimes(
                m: columns, n: outputs, lanes: pass.lanes(starts), dPrediction, lda: columns, output, ldb: outputs, dLive ?? dWeights,
                ldc: outputs, pass.sums)
        }
        if let live, let dLive {
            pass.measure(.headRows, bytes: 8 * outputCount * outputs) { live.spread(dLive, to: dWeights) }
        }
        pass.multiply(.head, m: rows, n: outputs, k: learned) {
            pass.weights.times(
                m: rows, n: outputs, k: learned, dPrediction, lda: columns, offset: outputWeights, rows: live?.learnedWeights,
                ldb: outputs, dOutput, ldc: outputs)
        }
    }

    private func forwardRows(_ pass: Pass) {
        guard let trace, let output else { return }
        let wide = pieces * outputs
        let kernel = offsets.kernel(pass, outputs: outputs, pieces: pieces, epsilon: epsilon, keepScale: keepScale)
        pass.measure(.headRows, bytes: pass.batch.selectedCount * 4 * (wide + 2 * outputs)) {
            withPlanes(pass.batch.headKept) { kept in
                kernel.forward(
                    rows: pass.batch.selectedCount, z: pass.scratch.activations, residual: nil, kept: kept, winners: trace.winners,
                    normalized: trace.normalized, inverse: trace.inverse, out: output)
            }
        }
    }

    private func backwardRows(_ pass: Pass) {
        guard let trace, let dOutput else { return }
        let kernel = offsets.kernel(pass, outputs: outputs, pieces: pieces, epsilon: epsilon, keepScale: keepScale)
        pass.measure(.headRows, bytes: pass.batch.selectedCount * 4 * 6 * outputs) {
            withPlanes(pass.batch.headKept) { kept in
                offsets.backwardRows(
                    pass, kernel, trace, starts: pass.batch.selectedStarts, kept: kept, dMax: dOutput)
            }
        }
    }

    func neededProducts(_ batch: MicroBatchContent) -> Int { batch.selectedCount * outputs * (pieces * width + outputCount) }
}
