// One convolution by rows. In: rows of the level below. Out: rows of the level; backward, gradients.

extension WindowEncoder {
    /// Products, then one fused pass.
    func convolution(_ pass: Pass, level: Int) {
        let batch = pass.batch
        let layer = layers[level - 1]
        let rows = batch.rowCount(level: level)
        let wide = layer.pieces * width
        if readsInPlace { convolve(pass, level: level) } else { gatherAndMultiply(pass, level: level) }
        pass.measure(.convolutionRows, bytes: rows * 4 * (wide + 4 * width)) {
            withPlanes(batch.levels[level].kept) { kept in
                switch layer.activation {
                case .maxout: maxoutRows(pass, level: level, kept: kept)
                case .mish: mishRows(pass, level: level, kept: kept)
                }
            }
        }
        for row in batch.levels[level].outside { (hidden[level] + Int(row) * width).update(repeating: 0, count: width) }
    }

    /// Pre-activations from the rows below, in place.
    private func convolve(_ pass: Pass, level: Int) {
        let (wide, batch) = (layers[level - 1].pieces * width, pass.batch)
        batch.levels[level].starts.withUnsafeBufferPointer { starts in
            guard let first = starts.baseAddress else { return }
            var products = 0
            pass.multiply(.convolution, m: products, n: wide, k: width) {
                products = pass.weights.convolve(
                    m: starts.count, n: wide, k: width, Floats(hidden[level - 1]), starts: first, offset: layers[level - 1].offsets.weights,
                    pass.scratch.activations, ldc: wide)
            }
        }
    }

    /// Pre-activations from rows side by side.
    private func gatherAndMultiply(_ pass: Pass, level: Int) {
        let (wide, window, rows) = (layers[level - 1].pieces * width, 3 * width, pass.batch.rowCount(level: level))
        let (below, columns) = (Floats(hidden[level - 1]), pass.scratch.columns)
        pass.measure(.gather, bytes: 8 * rows * window) {
            for (row, start) in pass.batch.levels[level].starts.enumerated() {
                (columns + row * window).update(from: below + Int(start) * width, count: window)
            }
        }
        pass.multiply(.convolution, m: rows, n: wide, k: window) {
            pass.weights.timesTransposed(
                m: rows, n: wide, k: window, columns, lda: window, offset: layers[level - 1].offsets.weights, ldb: window,
                pass.scratch.activations, ldc: wide)
        }
    }

    private func maxoutRows(_ pass: Pass, level: Int, kept: UnsafePointer<UInt32>?) {
        let (layer, trace) = (layers[level - 1], traces[level - 1])
        let (below, out) = (Floats(hidden[level - 1]), hidden[level])
        let kernel = layer.offsets.kernel(pass, outputs: width, pieces: layer.pieces, epsilon: epsilon, keepScale: keepScale)
        // The residual is the middle row of the window.
        pass.batch.levels[level].starts.withUnsafeBufferPointer { starts in
            kernel.forward(
                rows: starts.count, z: pass.scratch.activations, residual: below + width, residualRows: starts.baseAddress, kept: kept,
                winners: trace.winners, normalized: trace.normalized, inverse: trace.inverse, out: out)
        }
    }

    private func mishRows(_ pass: Pass, level: Int, kept: UnsafePointer<UInt32>?) {
        guard let input = inputs[level - 1] else { return }
        let (layer, trace) = (layers[level - 1], traces[level - 1])
        let (below, out, keptWords) = (Floats(hidden[level - 1]), hidden[level], planeWords(width: width))
        let kernel = MishLayerNorm(
            norm: layer.offsets.kernel(pass, outputs: width, pieces: 1, epsilon: epsilon, keepScale: keepScale))
        for (row, start) in pass.batch.levels[level].starts.enumerated() {
            kernel.forward(
                z: pass.scratch.activations + row * width, residual: below + (Int(start) + 1) * width,
                kept: kept.map { $0 + row * keptWords }, input: input + row * width, normalized: trace.normalized + row * width,
                inverse: trace.inverse + row, out: out + row * width)
        }
    }

    func convolutionBackward(_ pass: Pass, level: Int) {
        let batch = pass.batch
        let layer = layers[level - 1]
        let rows = batch.rowCount(level: level)
        let window = 3 * width
        let (dHidden, dBelow) = (dHidden(level: level), dHidden(level: level - 1))
        for row in batch.levels[level].outside { (dHidden + Int(row) * width).update(repeating: 0, count: width) }
        // The residual path first: the pass below overwrites dHidden.
        pass.measure(.gather, bytes: 4 * width * (batch.rowCount(level: level - 1) + rows)) {
            let rowsBelow = batch.rowCount(level: level - 1)
            if !hasOutside {
                // Only rows without a residual path begin with zeros.
                var next = 0
                func zero(upTo row: Int) { if row > next { (dBelow + next * width).update(repeating: 0, count: (row - next) * width) } }
                for (row, start) in batch.levels[level].starts.enumerated() {
                    let middle = Int(start) + 1
                    zero(upTo: middle)
                    (dBelow + middle * width).update(from: dHidden + row * width, count: width)
                    next = max(next, middle + 1)
                }
                zero(upTo: rowsBelow)
            } else {
                dBelow.update(repeating: 0, count: rowsBelow * width)
                // Rows of zeros point at another row.
                for (row, start) in batch.levels[level].starts.enumerated() {
                    add(dHidden + row * width, to: dBelow + (Int(start) + 1) * width, count: width)
                }
            }
        }
        pass.measure(.convolutionRows, bytes: rows * 4 * 6 * width) {
            withPlanes(batch.levels[level].kept) { kept in
                switch layer.activation {
                case .maxout: maxoutRowsBackward(pass, level: level, kept: kept)
                case .mish: mishRowsBackward(pass, level: level, kept: kept)
                }
            }
        }
        batch.levels[level].starts.withUnsafeBufferPointer { starts in
            let products = WinnerProducts(
                outputs: width, pieces: layer.pieces, inputs: window, weightStride: window, rows: rows, dMax: dHidden,
                won: pass.scratch.won, rowStarts: starts.baseAddress, rowStride: width,
                order: pass.order(expectedRows: pass.expected.rows(distance: depth - level)), idle: pass.idle)
            pass.multiply(.convolutionBackward, products: 2, m: width, n: window, k: rows) {
                products.gradients(
                    pass.lanes(batch.levels[level].laneStarts), weights: pass.parameters + layer.offsets.weights,
                    input: hidden[level - 1], dWeights: pass.gradient + layer.offsets.weights, dInput: dBelow, pass.sums)
            }
        }
    }

    private func maxoutRowsBackward(_ pass: Pass, level: Int, kept: UnsafePointer<UInt32>?) {
        let layer = layers[level - 1]
        let kernel = layer.offsets.kernel(pass, outputs: width, pieces: layer.pieces, epsilon: epsilon, keepScale: keepScale)
        layer.offsets.backwardRows(
            pass, kernel, traces[level - 1], starts: pass.batch.levels[level].laneStarts, kept: kept, dMax: dHidden(level: level))
    }

    /// Mish has one map for each output: it always wins.
    private func mishRowsBackward(_ pass: Pass, level: Int, kept: UnsafePointer<UInt32>?) {
        guard let input = inputs[level - 1] else { return }
        let (layer, trace, dHidden) = (layers[level - 1], traces[level - 1], dHidden(level: level))
        let (offsets, keptWords) = (layer.offsets, planeWords(width: width))
        let norm = offsets.kernel(pass, outputs: width, pieces: 1, epsilon: epsilon, keepScale: keepScale)
        let kernel = MishLayerNorm(norm: norm)
        pass.forLanes(pass.batch.levels[level].laneStarts) { rows, gradient in
            for row in rows {
                let d = dHidden + row * width
                kernel.backward(
                    dOut: d, kept: kept.map { $0 + row * keptWords }, input: input + row * width,
                    normalized: trace.normalized + row * width, inverse: trace.inverse + row, dGain: gradient + offsets.gain,
                    dShift: gradient + offsets.shift, dInput: d)
                norm.biasBackward(
                    dMax: d, winners: trace.winners, won: pass.scratch.won + row * width, dBias: gradient + offsets.bias)
            }
        }
    }
}
