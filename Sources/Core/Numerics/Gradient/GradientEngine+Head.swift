// The training head and the loss, for selected tokens only. In: rows of the last level. Out: loss, the rows' gradients, the head's
// gradients.

extension GradientEngine {
    /// Maxout(H) + LayerNorm -> Affine(M) -> loss, forward and backward.
    /// - Returns: the sum of the losses.
    func head(_ step: Step) -> Double {
        let (batch, buffers, gradient, parameters) = (step.batch, step.buffers, step.gradient, step.parameters)
        let (rows, output) = (batch.selectedCount, settings.vectorWidth)
        let (hiddenWidth, wide) = (profile.headWidth, profile.headWidth * profile.headPieces)
        let layer = offsets.head
        let input = Floats(buffers.hidden[depth - 1])
        multiply(.head, m: rows, n: wide, k: width) {
            MatrixMultiply.timesTransposed(
                m: rows, n: wide, k: width, input, lda: width, parameters + layer.weights, ldb: width, buffers.activations, ldc: wide)
        }
        headRows(step)
        multiply(.head, m: rows, n: output, k: hiddenWidth) {
            MatrixMultiply.timesTransposed(
                m: rows, n: output, k: hiddenWidth, buffers.headOutput, lda: hiddenWidth, parameters + offsets.outputWeights,
                ldb: hiddenWidth, buffers.prediction, ldc: output)
        }
        let sum = loss(step)
        multiply(.head, m: output, n: hiddenWidth, k: rows) {
            MatrixMultiply.transposedTimes(
                m: output, n: hiddenWidth, k: rows, buffers.prediction, lda: output, buffers.headOutput, ldb: hiddenWidth,
                gradient + offsets.outputWeights, ldc: hiddenWidth)
        }
        multiply(.head, m: rows, n: hiddenWidth, k: output) {
            MatrixMultiply.times(
                m: rows, n: hiddenWidth, k: output, buffers.prediction, lda: output, parameters + offsets.outputWeights, ldb: hiddenWidth,
                buffers.dHeadOutput, ldc: hiddenWidth)
        }
        headRowsBackward(step)
        let dInput = step.dHidden(level: depth)
        let products = WinnerProducts(
            outputs: hiddenWidth, inputs: width, rows: rows, dMax: buffers.dHeadOutput, winnerStarts: buffers.winnerStarts,
            rowStarts: nil, rowStride: width)
        multiply(.headBackward, m: hiddenWidth, n: width, k: rows) {
            (gradient + layer.weights).update(repeating: 0, count: wide * width)
            products.weightGradient(dWeights: gradient + layer.weights, input: input)
        }
        multiply(.headBackward, m: rows, n: width, k: hiddenWidth) {
            dInput.update(repeating: 0, count: rows * width)
            products.inputGradient(weights: parameters + layer.weights, dInput: dInput)
        }
        return sum
    }

    private func headRows(_ step: Step) {
        let (batch, buffers) = (step.batch, step.buffers)
        let (outputs, wide) = (profile.headWidth, profile.headWidth * profile.headPieces)
        let kernel = kernel(offsets.head, outputs: outputs, pieces: profile.headPieces, parameters: step.parameters)
        let keptWords = planeWords(width: outputs)
        measure(.headRows, bytes: batch.selectedCount * 4 * (wide + 2 * outputs)) {
            withPlanes(batch.headKept) { kept in
                for row in 0..<batch.selectedCount {
                    buffers.head.inverse[row] = kernel.forward(
                        z: buffers.activations + row * wide, residual: nil, kept: kept.map { $0 + row * keptWords },
                        winners: buffers.head.winners + row * kernel.winnerWords, normalized: buffers.head.normalized + row * outputs,
                        out: buffers.headOutput + row * outputs)
                }
            }
        }
    }

    /// Turns predictions into their gradients and sums the output's bias gradient.
    private func loss(_ step: Step) -> Double {
        let (batch, buffers, size) = (step.batch, step.buffers, settings.vectorWidth)
        let loss = VectorsLoss(function: settings.loss, width: size)
        let dBias = step.gradient + offsets.outputBias
        var sum = 0.0
        measure(.loss, bytes: batch.selectedCount * size * 4 * 6) {
            for (row, target) in batch.targetRows.enumerated() {
                let prediction = buffers.prediction + row * size
                sum += Double(
                    loss.apply(row: prediction, bias: step.parameters + offsets.outputBias, target: vectors.pointer(row: Int(target))))
                add(prediction, to: dBias, count: size)
            }
        }
        return sum
    }

    private func headRowsBackward(_ step: Step) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let outputs = profile.headWidth
        let layer = offsets.head
        let kernel = kernel(layer, outputs: outputs, pieces: profile.headPieces, parameters: step.parameters)
        let keptWords = planeWords(width: outputs)
        let dBias = gradient + layer.bias
        measure(.headRows, bytes: batch.selectedCount * 4 * 6 * outputs) {
            withPlanes(batch.headKept) { kept in
                for row in 0..<batch.selectedCount {
                    let dMax = buffers.dHeadOutput + row * outputs
                    kernel.backward(
                        dOut: dMax, kept: kept.map { $0 + row * keptWords }, normalized: buffers.head.normalized + row * outputs,
                        inverse: buffers.head.inverse[row], dGain: gradient + layer.gain, dShift: gradient + layer.shift, dMax: dMax)
                    kernel.locate(
                        dMax: dMax, winners: buffers.head.winners + row * kernel.winnerWords, inputs: width,
                        starts: buffers.winnerStarts + row * outputs, dBias: dBias)
                }
            }
        }
    }
}
