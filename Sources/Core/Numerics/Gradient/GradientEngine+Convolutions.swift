// The convolutions: residual(window of 3 -> Maxout -> LayerNorm). In: rows of the level below. Out: rows of the level; backward, gradients.

extension GradientEngine {
    /// Level 1 through the unique words: each word's embedding times the three blocks of W once, then three gathered rows a position.
    func firstConvolution(_ step: Step) {
        let (batch, buffers) = (step.batch, step.buffers)
        let (unique, rows) = (batch.uniqueCount, batch.rowCount(level: 1))
        let (wide, all) = (pieces * width, 3 * pieces * width)
        multiply(.firstConvolution, m: unique, n: all, k: width) {
            MatrixMultiply.timesTransposed(
                m: unique, n: all, k: width, buffers.embedded, lda: width, step.parameters + offsets.convolutions[0].weights, ldb: width,
                buffers.windowed, ldc: all)
        }
        let kernel = kernel(offsets.convolutions[0], outputs: width, pieces: pieces, parameters: step.parameters)
        let trace = buffers.convolutions[0]
        let keptWords = planeWords(width: width)
        measure(.firstConvolutionRows, bytes: rows * 4 * (3 * wide + 3 * width)) {
            withPlanes(batch.levels[1].kept) { kept in
                for row in 0..<rows {
                    let current = Int(batch.windows[1][row])
                    let a = Floats(buffers.windowed) + Int(batch.windows[0][row]) * all
                    let b = Floats(buffers.windowed) + current * all + wide
                    let c = Floats(buffers.windowed) + Int(batch.windows[2][row]) * all + 2 * wide
                    forChunks(wide) { start, length in
                        store((load(a, start, length) + load(b, start, length)) + load(c, start, length), buffers.row, start, length)
                    }
                    trace.inverse[row] = kernel.forward(
                        z: buffers.row, residual: buffers.embedded + current * width, kept: kept.map { $0 + row * keptWords },
                        winners: trace.winners + row * kernel.winnerWords, normalized: trace.normalized + row * width,
                        out: buffers.hidden[0] + row * width)
                }
            }
        }
    }

    /// Levels 2 and up: rows side by side, one product, one fused pass.
    func convolution(_ step: Step, level: Int) {
        let (batch, buffers) = (step.batch, step.buffers)
        let rows = batch.rowCount(level: level)
        let (wide, window) = (pieces * width, 3 * width)
        let (below, columns) = (Floats(buffers.hidden[level - 2]), buffers.columns)
        measure(.gather, bytes: 8 * rows * window) {
            for (row, start) in batch.levels[level].starts.enumerated() {
                (columns + row * window).update(from: below + Int(start) * width, count: window)
            }
        }
        multiply(.convolution, m: rows, n: wide, k: window) {
            MatrixMultiply.timesTransposed(
                m: rows, n: wide, k: window, columns, lda: window, step.parameters + offsets.convolutions[level - 1].weights, ldb: window,
                buffers.activations, ldc: wide)
        }
        let kernel = kernel(offsets.convolutions[level - 1], outputs: width, pieces: pieces, parameters: step.parameters)
        let trace = buffers.convolutions[level - 1]
        let keptWords = planeWords(width: width)
        measure(.convolutionRows, bytes: rows * 4 * (wide + 4 * width)) {
            withPlanes(batch.levels[level].kept) { kept in
                for (row, start) in batch.levels[level].starts.enumerated() {
                    trace.inverse[row] = kernel.forward(
                        z: buffers.activations + row * wide, residual: below + (Int(start) + 1) * width,
                        kept: kept.map { $0 + row * keptWords }, winners: trace.winners + row * kernel.winnerWords,
                        normalized: trace.normalized + row * width, out: buffers.hidden[level - 1] + row * width)
                }
            }
        }
    }

    func convolutionBackward(_ step: Step, level: Int) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let rows = batch.rowCount(level: level)
        let (wide, window) = (pieces * width, 3 * width)
        let (dHidden, dBelow) = (step.dHidden(level: level), step.dHidden(level: level - 1))
        let layer = offsets.convolutions[level - 1]
        // The residual path first: the pass below overwrites dHidden.
        measure(.gather, bytes: 4 * width * (batch.rowCount(level: level - 1) + 2 * rows)) {
            dBelow.update(repeating: 0, count: batch.rowCount(level: level - 1) * width)
            for (row, start) in batch.levels[level].starts.enumerated() {
                (dBelow + (Int(start) + 1) * width).update(from: dHidden + row * width, count: width)
            }
        }
        let kernel = kernel(layer, outputs: width, pieces: pieces, parameters: step.parameters)
        let trace = buffers.convolutions[level - 1]
        let keptWords = planeWords(width: width)
        measure(.convolutionRows, bytes: rows * 4 * 6 * width) {
            withPlanes(batch.levels[level].kept) { kept in
                for row in 0..<rows {
                    let dMax = dHidden + row * width
                    kernel.backward(
                        dOut: dMax, kept: kept.map { $0 + row * keptWords }, normalized: trace.normalized + row * width,
                        inverse: trace.inverse[row], dGain: gradient + layer.gain, dShift: gradient + layer.shift, dMax: dMax)
                    kernel.locate(
                        dMax: dMax, winners: trace.winners + row * kernel.winnerWords, inputs: window,
                        starts: buffers.winnerStarts + row * width, dBias: gradient + layer.bias)
                }
            }
        }
        batch.levels[level].starts.withUnsafeBufferPointer { starts in
            let products = WinnerProducts(
                outputs: width, inputs: window, rows: rows, dMax: dHidden, winnerStarts: buffers.winnerStarts,
                rowStarts: starts.baseAddress, rowStride: width)
            multiply(.convolutionBackward, m: width, n: window, k: rows) {
                (gradient + layer.weights).update(repeating: 0, count: wide * window)
                products.weightGradient(dWeights: gradient + layer.weights, input: buffers.hidden[level - 2])
            }
            multiply(.convolutionBackward, m: rows, n: window, k: width) {
                products.inputGradient(weights: step.parameters + layer.weights, dInput: dBelow)
            }
        }
    }

    func firstConvolutionBackward(_ step: Step) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let rows = batch.rowCount(level: 1)
        let layer = offsets.convolutions[0]
        let dHidden = step.dHidden(level: 1)
        let dMax = buffers.activations
        let kernel = kernel(layer, outputs: width, pieces: pieces, parameters: step.parameters)
        let trace = buffers.convolutions[0]
        let keptWords = planeWords(width: width)
        measure(.firstConvolutionRows, bytes: rows * 4 * 4 * width) {
            withPlanes(batch.levels[1].kept) { kept in
                for row in 0..<rows {
                    kernel.backward(
                        dOut: dHidden + row * width, kept: kept.map { $0 + row * keptWords }, normalized: trace.normalized + row * width,
                        inverse: trace.inverse[row], dGain: gradient + layer.gain, dShift: gradient + layer.shift, dMax: dMax + row * width)
                }
            }
        }
        if batch.sumsByWord { backwardByWord(step, kernel: kernel) } else { backwardByRow(step, kernel: kernel) }
    }

    /// Products of every row with its three words, through the winners.
    private func backwardByRow(_ step: Step, kernel: MaxoutLayerNorm) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let rows = batch.rowCount(level: 1)
        let (layer, block) = (offsets.convolutions[0], pieces * width * width)
        let (dHidden, dMax) = (step.dHidden(level: 1), Floats(buffers.activations))
        measure(.firstConvolutionRows, bytes: rows * 4 * 5 * width) {
            buffers.dEmbedded.update(repeating: 0, count: batch.uniqueCount * width)
            for row in 0..<rows {
                kernel.locate(
                    dMax: dMax + row * width, winners: buffers.convolutions[0].winners + row * kernel.winnerWords, inputs: width,
                    starts: buffers.winnerStarts + row * width, dBias: gradient + layer.bias)
                add(dHidden + row * width, to: buffers.dEmbedded + Int(batch.windows[1][row]) * width, count: width)
            }
        }
        (gradient + layer.weights).update(repeating: 0, count: 3 * block)
        for slot in 0..<3 {
            batch.windows[slot].withUnsafeBufferPointer { words in
                let products = WinnerProducts(
                    outputs: width, inputs: width, rows: rows, dMax: dMax, winnerStarts: buffers.winnerStarts, rowStarts: words.baseAddress,
                    rowStride: width)
                multiply(.firstConvolutionBackward, m: width, n: width, k: rows) {
                    products.weightGradient(dWeights: gradient + layer.weights + slot * block, input: buffers.embedded)
                }
                multiply(.firstConvolutionBackward, m: rows, n: width, k: width) {
                    products.inputGradient(weights: step.parameters + layer.weights + slot * block, dInput: buffers.dEmbedded)
                }
            }
        }
    }

    /// Sums by unique word, then dense products of the words.
    private func backwardByWord(_ step: Step, kernel: MaxoutLayerNorm) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let (unique, rows) = (batch.uniqueCount, batch.rowCount(level: 1))
        let (wide, all) = (pieces * width, 3 * pieces * width)
        let layer = offsets.convolutions[0]
        measure(.firstConvolutionRows, bytes: rows * 4 * 3 * (width + 2 * wide)) {
            sumByWord(
                step, kernel: kernel, trace: buffers.convolutions[0], dMax: buffers.activations, dHidden: step.dHidden(level: 1),
                dBias: gradient + layer.bias)
        }
        multiply(.firstConvolutionBackward, m: all, n: width, k: unique) {
            MatrixMultiply.transposedTimes(
                m: all, n: width, k: unique, buffers.windowed, lda: all, buffers.embedded, ldb: width, gradient + layer.weights, ldc: width)
        }
        multiply(.firstConvolutionBackward, m: unique, n: width, k: all) {
            MatrixMultiply.times(
                m: unique, n: width, k: all, buffers.windowed, lda: all, step.parameters + layer.weights, ldb: width, buffers.dEmbedded,
                ldc: width, accumulate: true)
        }
    }

    /// Gradients of the unique words' window products, which overwrite the products, and of the residual path; word by word, so that
    /// a frequent word's sums stay in the nearest cache.
    private func sumByWord(
        _ step: Step, kernel: MaxoutLayerNorm, trace: LayerTrace, dMax: MutableFloats, dHidden: MutableFloats, dBias: MutableFloats
    ) {
        let (batch, buffers) = (step.batch, step.buffers)
        let (wide, all) = (pieces * width, 3 * pieces * width)
        batch.occurrences.withUnsafeBufferPointer { occurrences in
            for word in 0..<batch.uniqueCount {
                let target = buffers.windowed + word * all
                let residual = buffers.dEmbedded + word * width
                target.update(repeating: 0, count: all)
                residual.update(repeating: 0, count: width)
                for index in Int(batch.occurrenceStarts[word])..<Int(batch.occurrenceStarts[word + 1]) {
                    let (row, slot) = (Int(occurrences[index] >> 2), Int(occurrences[index] & 3))
                    let block = target + slot * wide
                    kernel.route(dMax: dMax + row * width, winners: trace.winners + row * kernel.winnerWords) {
                        piece, start, length, values in
                        let place = piece &* width &+ start
                        store(load(block, place, length) + values, block, place, length)
                    }
                    if slot == 1 { add(dHidden + row * width, to: residual, count: width) }
                }
                // Every row is some word's current one, so these blocks sum up to the bias's gradient.
                add(target + wide, to: dBias, count: wide)
            }
        }
    }
}
