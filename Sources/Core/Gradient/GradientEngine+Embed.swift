// Embedding and mixer, once per attribute and unique word. In: tables, row numbers. Out: one vector per unique word; backward, gradients.

extension GradientEngine {
    /// First column of feature `index` in the mixer's input: [vectors |] norm | prefix | suffix | shape.
    private func column(of index: Int) -> Int { index == 4 ? 0 : (settings.useVectors ? index + 1 : index) * width }
    private var mixerColumns: Int { width * (settings.useVectors ? 5 : 4) }

    func embed(_ step: Step) {
        let (batch, buffers, parameters) = (step.batch, step.buffers, step.parameters)
        measure(.hashEmbed, bytes: batch.features.reduce(0) { $0 + $1.count * width * 4 * 5 }) {
            for index in 0..<4 {
                let feature = batch.features[index]
                feature.rows.withUnsafeBufferPointer { rows in
                    withFactors(feature.factors) { factors in
                        guard let rows = rows.baseAddress else { return }
                        HashEmbed.forward(
                            table: parameters + offsets.tables[index], width: width, rows: rows, count: feature.count, factors: factors,
                            output: buffers.features[index].output)
                    }
                }
            }
        }
        if settings.useVectors { projectVectors(step) }
        let wide = profile.mixerPieces * width
        for (index, feature) in buffers.features.enumerated() {
            multiply(.mixerProduct, m: feature.count, n: wide, k: width) {
                MatrixMultiply.timesTransposed(
                    m: feature.count, n: wide, k: width, feature.output, lda: width,
                    parameters + offsets.mixer.weights + column(of: index), ldb: mixerColumns, feature.product, ldc: wide)
            }
        }
        mixWords(step)
    }

    /// Vectors of the words that have one, times W^T, times the update's mask.
    private func projectVectors(_ step: Step) {
        let (batch, feature) = (step.batch, step.buffers.features[4])
        guard let weights = offsets.vectors else { return }
        let size = settings.vectorWidth
        measure(.gather, bytes: 8 * feature.count * size) {
            for (index, row) in batch.vectorRows.enumerated() {
                (step.buffers.vectors + index * size).update(from: vectors.pointer(row: Int(row)), count: size)
            }
        }
        multiply(.vectorsProduct, m: feature.count, n: width, k: size) {
            MatrixMultiply.timesTransposed(
                m: feature.count, n: width, k: size, step.buffers.vectors, lda: size, step.parameters + weights, ldb: size, feature.output,
                ldc: width)
        }
        mask(feature.output, rows: feature.count, factors: batch.vectorFactors)
    }

    /// rows (count, width) *= factors, if there are any.
    private func mask(_ rows: MutableFloats, rows count: Int, factors: [Float]) {
        withFactors(factors) { factors in
            guard let factors else { return }
            for row in 0..<count { Core.multiply(rows + row * width, by: factors, count: width) }
        }
    }

    private func withFactors(_ factors: [Float], _ body: (Floats?) -> Void) {
        factors.withUnsafeBufferPointer { body($0.isEmpty ? nil : $0.baseAddress) }
    }

    /// Sums each unique word's products, then Maxout, LayerNorm, dropout.
    private func mixWords(_ step: Step) {
        let (batch, buffers) = (step.batch, step.buffers)
        let wide = profile.mixerPieces * width
        let kernel = kernel(offsets.mixer, outputs: width, pieces: profile.mixerPieces, parameters: step.parameters)
        let products = buffers.features.map { Floats($0.product) }
        let keptWords = planeWords(width: width)
        measure(.mixerRows, bytes: batch.uniqueCount * 4 * (4 * wide + 3 * width)) {
            withPlanes(batch.levels[0].kept) { kept in
                batch.wordFeatures.withUnsafeBufferPointer { indices in
                    for word in 0..<batch.uniqueCount {
                        let a = products[0] + Int(indices[4 * word]) * wide
                        let b = products[1] + Int(indices[4 * word + 1]) * wide
                        let c = products[2] + Int(indices[4 * word + 2]) * wide
                        let d = products[3] + Int(indices[4 * word + 3]) * wide
                        forChunks(wide) { start, length in
                            let sum = (load(a, start, length) + load(b, start, length)) + (load(c, start, length) + load(d, start, length))
                            store(sum, buffers.row, start, length)
                        }
                        if settings.useVectors, batch.wordVectors[word] >= 0 {
                            add(products[4] + Int(batch.wordVectors[word]) * wide, to: buffers.row, count: wide)
                        }
                        buffers.mixer.inverse[word] = kernel.forward(
                            z: buffers.row, residual: nil, kept: kept.map { $0 + word * keptWords },
                            winners: buffers.mixer.winners + word * kernel.winnerWords,
                            normalized: buffers.mixer.normalized + word * width, out: buffers.embedded + word * width)
                    }
                }
            }
        }
    }

    func embedBackward(_ step: Step) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let wide = profile.mixerPieces * width
        mixWordsBackward(step)
        for (index, feature) in buffers.features.enumerated() {
            let weights = offsets.mixer.weights + column(of: index)
            multiply(.mixerProduct, m: wide, n: width, k: feature.count) {
                MatrixMultiply.transposedTimes(
                    m: wide, n: width, k: feature.count, feature.dProduct, lda: wide, feature.output, ldb: width, gradient + weights,
                    ldc: mixerColumns)
            }
            multiply(.mixerProduct, m: feature.count, n: width, k: wide) {
                MatrixMultiply.times(
                    m: feature.count, n: width, k: wide, feature.dProduct, lda: wide, step.parameters + weights, ldb: mixerColumns,
                    feature.dOutput, ldc: width)
            }
        }
        if let weights = offsets.vectors {
            let feature = buffers.features[4]
            let size = settings.vectorWidth
            mask(feature.dOutput, rows: feature.count, factors: batch.vectorFactors)
            multiply(.vectorsProduct, m: width, n: size, k: feature.count) {
                MatrixMultiply.transposedTimes(
                    m: width, n: size, k: feature.count, feature.dOutput, lda: width, buffers.vectors, ldb: size, gradient + weights,
                    ldc: size)
            }
        }
        measure(.hashEmbed, bytes: batch.features.reduce(0) { $0 + $1.count * width * 4 * 9 }) {
            for index in 0..<4 {
                let feature = batch.features[index]
                feature.rows.withUnsafeBufferPointer { rows in
                    withFactors(feature.factors) { factors in
                        guard let rows = rows.baseAddress else { return }
                        HashEmbed.backward(
                            dOutput: buffers.features[index].dOutput, width: width, rows: rows, count: feature.count, factors: factors,
                            dTable: gradient + offsets.tables[index])
                    }
                }
            }
        }
    }

    /// Back through the mixer's LayerNorm; adds each word's routed gradient to the products of its attributes.
    private func mixWordsBackward(_ step: Step) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let wide = profile.mixerPieces * width
        let kernel = kernel(offsets.mixer, outputs: width, pieces: profile.mixerPieces, parameters: step.parameters)
        let keptWords = planeWords(width: width)
        let targets = buffers.features.map(\.dProduct)
        let dBias = gradient + offsets.mixer.bias
        measure(.mixerRows, bytes: batch.uniqueCount * 4 * (8 * wide + 3 * width)) {
            for feature in buffers.features { feature.dProduct.update(repeating: 0, count: feature.count * wide) }
            withPlanes(batch.levels[0].kept) { kept in
                batch.wordFeatures.withUnsafeBufferPointer { indices in
                    for word in 0..<batch.uniqueCount {
                        let dMax = buffers.dEmbedded + word * width
                        kernel.backward(
                            dOut: dMax, kept: kept.map { $0 + word * keptWords }, normalized: buffers.mixer.normalized + word * width,
                            inverse: buffers.mixer.inverse[word], dGain: gradient + offsets.mixer.gain,
                            dShift: gradient + offsets.mixer.shift, dMax: dMax)
                        kernel.route(dMax: dMax, winners: buffers.mixer.winners + word * kernel.winnerWords) {
                            piece, start, length, values in
                            store(values, buffers.row, piece &* width &+ start, length)
                        }
                        add(buffers.row, to: dBias, count: wide)
                        for table in 0..<4 {
                            add(buffers.row, to: targets[table] + Int(indices[4 * word + table]) * wide, count: wide)
                        }
                        if settings.useVectors, batch.wordVectors[word] >= 0 {
                            add(buffers.row, to: targets[4] + Int(batch.wordVectors[word]) * wide, count: wide)
                        }
                    }
                }
            }
        }
    }

    /// The planes of kept units, or nil without dropout.
    func withPlanes(_ planes: [UInt32], _ body: (UnsafePointer<UInt32>?) -> Void) {
        planes.withUnsafeBufferPointer { body($0.isEmpty ? nil : $0.baseAddress) }
    }
}
