// The vectors objective. In: rows of selected tokens, the vectors they aim at. Out: loss, the rows' gradients, the head's gradients.
import Model

/// Predicts the original word's vector (spaCy 2.3 `cli/pretrain.py`; 3.8 `multi_task.py`, `build_cloze_multi_task_model`).
final class VectorsHead: ObjectiveLayer {
    private let hidden: HiddenLayer
    private let loss: VectorsLoss
    private let vectors: any VectorRows
    /// (M): the mean of many rows, or zeros.
    private var target: MutableFloats?
    /// (M): room for the output's bias gradient when it is not needed.
    private var unused: MutableFloats?

    init(spec: ModelSpec, objective: ModelSpec.VectorsObjective, layout: ParameterLayout, vectors: any VectorRows) {
        hidden = HiddenLayer(spec: spec, layout: layout)
        loss = VectorsLoss(function: objective.loss, width: objective.width)
        self.vectors = vectors
    }

    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver) {
        hidden.carve(batch, &sizes, &carver)
        target = carver.floats(loss.width)
        unused = carver.floats(loss.width)
    }

    func loss(_ pass: Pass, input: Floats) -> Double {
        guard let unused, let prediction = hidden.predict(pass, input: input) else { return 0 }
        return turn(pass, prediction, rows: 0..<pass.batch.selectedCount, dBias: unused)
    }

    func run(_ pass: Pass, input: Floats, dInput: MutableFloats) -> [Double] {
        hidden.run(pass, input: input, dInput: dInput) { prediction, rows, gradient in
            turn(pass, prediction, rows: rows, dBias: gradient + hidden.outputBias)
        }
    }

    /// Turns predictions into their gradients and sums the output's bias gradient.
    private func turn(_ pass: Pass, _ prediction: MutableFloats, rows: Range<Int>, dBias: MutableFloats) -> Double {
        guard let target else { return 0 }
        let (batch, size) = (pass.batch, loss.width)
        let bias = pass.parameters + hidden.outputBias
        var sum = 0.0
        pass.measure(.loss, bytes: rows.count * size * 4 * 6) {
            for row in rows {
                let start = Int(batch.targetStarts[row])
                let end = row + 1 < batch.selectedCount ? Int(batch.targetStarts[row + 1]) : batch.targetRows.count
                let wanted: Floats
                if end == start + 1 {
                    wanted = vectors.pointer(row: Int(batch.targetRows[start]))
                } else {
                    vectors.mean(batch.targetRows[start..<end], into: target)
                    wanted = Floats(target)
                }
                let gradient = prediction + row * size
                sum += Double(loss.apply(row: gradient, bias: bias, target: wanted))
                add(gradient, to: dBias, count: size)
            }
        }
        return sum
    }

    func neededProducts(_ batch: MicroBatchContent) -> Int { hidden.neededProducts(batch) }

    /// Intermediates of the last pass, for tests.
    var layer: HiddenLayer { hidden }
}
