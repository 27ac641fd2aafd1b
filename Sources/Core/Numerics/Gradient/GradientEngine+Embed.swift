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
            for row in 0..<count { Numerics.multiply(rows + row * width, by: factors, count: width) }
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
                for word in 0..<batch.uniqueCount {
                    let a = products[0] + Int(batch.features[0].ofWord[word]) * wide
                    let b = products[1] + Int(batch.features[1].ofWord[word]) * wide
                    let c = products[2] + Int(batch.features[2].ofWord[word]) * wide
                    let d = products[3] + Int(batch.features[3].ofWord[word]) * wide
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

    func embedBackward(_ step: Step) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let wide = profile.mixerPieces * width
        mixWordsBackward(step)
        for (index, feature) in buffers.features.enumerated() {
            let weights = offsets.mixer.weights + column(of: index)
            if isMostlyDistinct(index, batch) {
                backwardByWord(step, feature: index, weights: weights)
                continue
            }
            multiply(.mixerBackward, m: wide, n: width, k: feature.count) {
                MatrixMultiply.transposedTimes(
                    m: wide, n: width, k: feature.count, feature.dProduct, lda: wide, feature.output, ldb: width, gradient + weights,
                    ldc: mixerColumns)
            }
            multiply(.mixerBackward, m: feature.count, n: width, k: wide) {
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

    /// Whether an attribute differs from word to word so much that products through each word's winners cost less than dense ones of its
    /// ids.
    private func isMostlyDistinct(_ index: Int, _ batch: MicroBatchContent) -> Bool {
        index < 4 && Self.mostlyDistinct.of * batch.features[index].count > Self.mostlyDistinct.share * batch.uniqueCount
    }

    /// Measured: from 11 distinct ids for 20 unique words on.
    private static let mostlyDistinct = (share: 11, of: 20)

    /// An attribute's columns of the mixer, through the winners of every unique word.
    private func backwardByWord(_ step: Step, feature index: Int, weights: Int) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let feature = buffers.features[index]
        batch.features[index].ofWord.withUnsafeBufferPointer { ids in
            let products = WinnerProducts(
                outputs: width, inputs: width, rows: batch.uniqueCount, dMax: buffers.dEmbedded, winnerStarts: buffers.winnerStarts,
                rowStarts: ids.baseAddress, rowStride: width)
            multiply(.mixerBackward, m: width, n: width, k: batch.uniqueCount) {
                for row in 0..<profile.mixerPieces * width { (gradient + weights + row * mixerColumns).update(repeating: 0, count: width) }
                products.weightGradient(dWeights: gradient + weights, input: feature.output)
            }
            multiply(.mixerBackward, m: batch.uniqueCount, n: width, k: width) {
                feature.dOutput.update(repeating: 0, count: feature.count * width)
                products.inputGradient(weights: step.parameters + weights, dInput: feature.dOutput)
            }
        }
    }

    /// Back through the mixer's LayerNorm; adds each word's routed gradient to the products of the attributes that it shares with others.
    private func mixWordsBackward(_ step: Step) {
        let (batch, buffers, gradient) = (step.batch, step.buffers, step.gradient)
        let wide = profile.mixerPieces * width
        let kernel = kernel(offsets.mixer, outputs: width, pieces: profile.mixerPieces, parameters: step.parameters)
        let keptWords = planeWords(width: width)
        let shared = (0..<4).filter { !isMostlyDistinct($0, batch) }
        measure(.mixerRows, bytes: batch.uniqueCount * 4 * (2 * shared.count * wide + 5 * width)) {
            for (index, feature) in buffers.features.enumerated() where !isMostlyDistinct(index, batch) {
                feature.dProduct.update(repeating: 0, count: feature.count * wide)
            }
            withPlanes(batch.levels[0].kept) { kept in
                for word in 0..<batch.uniqueCount {
                    let dMax = buffers.dEmbedded + word * width
                    kernel.backward(
                        dOut: dMax, kept: kept.map { $0 + word * keptWords }, normalized: buffers.mixer.normalized + word * width,
                        inverse: buffers.mixer.inverse[word], dGain: gradient + offsets.mixer.gain,
                        dShift: gradient + offsets.mixer.shift, dMax: dMax)
                    let winners = buffers.mixer.winners + word * kernel.winnerWords
                    kernel.locate(
                        dMax: dMax, winners: winners, inputs: mixerColumns, starts: buffers.winnerStarts + word * width,
                        dBias: gradient + offsets.mixer.bias)
                    kernel.route(dMax: dMax, winners: winners) { piece, start, length, values in
                        store(values, buffers.row, piece &* width &+ start, length)
                    }
                    for table in shared {
                        add(buffers.row, to: buffers.features[table].dProduct + Int(batch.features[table].ofWord[word]) * wide, count: wide)
                    }
                    if settings.useVectors, batch.wordVectors[word] >= 0 {
                        add(buffers.row, to: buffers.features[4].dProduct + Int(batch.wordVectors[word]) * wide, count: wide)
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
