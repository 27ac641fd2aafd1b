// The first convolution through unique words. In: the words' embeddings. Out: rows of level 1; backward, gradients.

extension WindowEncoder {
    /// Multiplies each word's embedding by the three blocks of W once, then gathers three rows for each position.
    func firstConvolution(_ pass: Pass, embedded: MutableFloats) {
        guard let windowed else { return }
        let (batch, layer, row) = (pass.batch, layers[0], pass.scratch.row)
        let (unique, rows) = (batch.uniqueCount, batch.rowCount(level: 1))
        let (wide, all) = (layer.pieces * width, 3 * layer.pieces * width)
        pass.multiply(.firstConvolution, m: unique, n: all, k: width) {
            pass.weights.timesTransposed(
                m: unique, n: all, k: width, embedded, lda: width, offset: layer.offsets.weights, ldb: width, windowed, ldc: all)
        }
        let kernel = layer.offsets.kernel(pass, outputs: width, pieces: layer.pieces, epsilon: epsilon, keepScale: keepScale)
        let (trace, out) = (traces[0], hidden[1])
        let keptWords = planeWords(width: width)
        pass.measure(.firstConvolutionRows, bytes: rows * 4 * (3 * wide + 3 * width)) {
            withPlanes(batch.levels[1].kept) { kept in
                for index in 0..<rows {
                    let current = Int(batch.windows[1][index])
                    let a = Floats(windowed) + Int(batch.windows[0][index]) * all
                    let b = Floats(windowed) + current * all + wide
                    let c = Floats(windowed) + Int(batch.windows[2][index]) * all + 2 * wide
                    forChunks(wide) { start, length in
                        store((load(a, start, length) + load(b, start, length)) + load(c, start, length), row, start, length)
                    }
                    kernel.forward(
                        z: row, residual: embedded + current * width, kept: kept.map { $0 + index * keptWords },
                        winners: trace.winners + index * kernel.winnerWords, normalized: trace.normalized + index * width,
                        inverse: trace.inverse + index, out: out + index * width)
                }
            }
        }
    }

    func firstConvolutionBackward(_ pass: Pass, embedded: Floats, dEmbedded: MutableFloats) {
        let (batch, gradient, offsets, trace) = (pass.batch, pass.gradient, layers[0].offsets, traces[0])
        let rows = batch.rowCount(level: 1)
        let dHidden = dHidden(level: 1)
        let dMax = pass.scratch.activations
        let kernel = offsets.kernel(pass, outputs: width, pieces: layers[0].pieces, epsilon: epsilon, keepScale: keepScale)
        pass.measure(.firstConvolutionRows, bytes: rows * 4 * 4 * width) {
            withPlanes(batch.levels[1].kept) { kept in
                kernel.backward(
                    rows: rows, dOut: dHidden, kept: kept, normalized: trace.normalized, inverse: trace.inverse,
                    dGain: gradient + offsets.gain, dShift: gradient + offsets.shift, dMax: dMax)
            }
        }
        if batch.sumsByWord {
            backwardByWord(pass, kernel, embedded: embedded, dEmbedded: dEmbedded)
        } else {
            backwardByRow(pass, kernel, embedded: embedded, dEmbedded: dEmbedded)
        }
    }

    /// Products of every row with its three words, through the winners.
    private func backwardByRow(_ pass: Pass, _ kernel: MaxoutLayerNorm, embedded: Floats, dEmbedded: MutableFloats) {
        let (batch, gradient, offsets) = (pass.batch, pass.gradient, layers[0].offsets)
        let rows = batch.rowCount(level: 1)
        let block = layers[0].pieces * width * width
        let (dHidden, dMax) = (dHidden(level: 1), Floats(pass.scratch.activations))
        pass.measure(.firstConvolutionRows, bytes: rows * 4 * 5 * width) {
            dEmbedded.update(repeating: 0, count: batch.uniqueCount * width)
            kernel.biasBackward(
                rows: rows, dMax: dMax, winners: traces[0].winners, won: pass.scratch.won, dBias: gradient + offsets.bias)
            for row in 0..<rows {
                add(dHidden + row * width, to: dEmbedded + Int(batch.windows[1][row]) * width, count: width)
            }
        }
        for slot in 0..<3 {
            batch.windows[slot].withUnsafeBufferPointer { words in
                let products = WinnerProducts(
                    outputs: width, pieces: layers[0].pieces, inputs: width, weightStride: width, rows: rows, dMax: dMax,
                    won: pass.scratch.won, rowStarts: words.baseAddress, rowStride: width,
                    order: pass.order(expectedRows: pass.expected.rows(distance: depth - 1)), idle: pass.idle)
                pass.multiply(.firstConvolutionBackward, products: 2, m: width, n: width, k: rows) {
                    products.gradients(
                        weights: pass.parameters + offsets.weights + slot * block, input: embedded,
                        dWeights: gradient + offsets.weights + slot * block, dInput: dEmbedded)
                }
            }
        }
    }

    /// Sums by unique word, then dense products of the words.
    private func backwardByWord(_ pass: Pass, _ kernel: MaxoutLayerNorm, embedded: Floats, dEmbedded: MutableFloats) {
        guard let windowed else { return }
        let (batch, offsets, pieces) = (pass.batch, layers[0].offsets, layers[0].pieces)
        let (unique, rows) = (batch.uniqueCount, batch.rowCount(level: 1))
        let (wide, all) = (pieces * width, 3 * pieces * width)
        pass.measure(.firstConvolutionRows, bytes: rows * 4 * 3 * (width + 2 * wide)) {
            sumByWord(pass, kernel, dWindowed: windowed, dEmbedded: dEmbedded)
        }
        pass.multiply(.firstConvolutionBackward, m: all, n: width, k: unique) {
            pass.products.transposedTimes(
                m: all, n: width, k: unique, windowed, lda: all, embedded, ldb: width, pass.gradient + offsets.weights, ldc: width)
        }
        pass.multiply(.firstConvolutionBackward, m: unique, n: width, k: all) {
            pass.weights.times(
                m: unique, n: width, k: all, windowed, lda: all, offset: offsets.weights, ldb: width, dEmbedded, ldc: width,
                accumulate: true)
        }
    }

    /// Gradients of the unique words' window products, which overwrite the products, and of the residual path; word by word, so that
    /// a frequent word's sums stay in the nearest cache.
    private func sumByWord(_ pass: Pass, _ kernel: MaxoutLayerNorm, dWindowed: MutableFloats, dEmbedded: MutableFloats) {
        let (batch, trace) = (pass.batch, traces[0])
        let (dMax, dHidden, dBias) = (pass.scratch.activations, dHidden(level: 1), pass.gradient + layers[0].offsets.bias)
        let (wide, all) = (layers[0].pieces * width, 3 * layers[0].pieces * width)
        batch.occurrences.withUnsafeBufferPointer { occurrences in
            for word in 0..<batch.uniqueCount {
                let target = dWindowed + word * all
                let residual = dEmbedded + word * width
                target.update(repeating: 0, count: all)
                residual.update(repeating: 0, count: width)
                for index in Int(batch.occurrenceStarts[word])..<Int(batch.occurrenceStarts[word + 1]) {
                    let (row, slot) = (Int(occurrences[index] >> 2), Int(occurrences[index] & 3))
                    kernel.route(
                        dMax: dMax + row * width, winners: trace.winners + row * kernel.winnerWords, addedTo: target + slot * wide)
                    if slot == 1 { add(dHidden + row * width, to: residual, count: width) }
                }
                // Every row is some word's current one, so these blocks sum up to the bias's gradient.
                add(target + wide, to: dBias, count: wide)
            }
        }
    }
}
