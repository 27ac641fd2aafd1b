// The mixer, once per unique word. In: the parts of its input. Out: one vector per unique word; backward, gradients.
import Model

/// Maxout and LayerNorm over the inputs side by side, then dropout if its masks belong to words. The product is split by part: what several
/// words share, a suffix say, is multiplied once.
final class Mixer {
    private let parts: [InputPart]
    private let layers: [any InputLayer]
    /// One for each part or layer: threads may compute several at a time.
    private let sums: [LaneMatrixSum]
    private let offsets: NormedOffsets
    private let width: Int
    private let pieces: Int
    private let columns: Int
    private let epsilon: Float
    private let keepScale: Float
    /// Whether masks belong to words; masks of tokens are applied by the encoder.
    private let masksWords: Bool

    private var buffers: [PartBuffers] = []
    /// One for each part.
    private let stores: [EmbeddingStore]
    /// By part, then by unique word: its product among the wanted and earlier ones; -1: a word without a vector.
    private var places: UnsafeMutablePointer<Int32>?
    /// By part: whether its backward products go through the winners of the words; nil: those of some lanes do.
    private var isByWord: [Bool?] = []
    private var trace: LayerTrace?
    /// (V, W): the output, and its gradient.
    private(set) var embedded: MutableFloats?
    private(set) var dEmbedded: MutableFloats?

    init(spec: ModelSpec, layout: ParameterLayout, vectors: (any VectorRows)?) {
        let parts = spec.parts
        self.parts = parts
        sums = parts.map { _ in LaneMatrixSum() }
        (width, pieces, columns) = (spec.width, spec.mixer.pieces, spec.mixerColumns)
        (epsilon, keepScale) = (spec.layerNormEpsilon, Dropout(rate: spec.dropout).scale)
        masksWords = spec.mixer.dropout == .word
        offsets = NormedOffsets(layout, "mixer")
        var layers: [any InputLayer] = []
        let bytes = parts.indices.filter { if case .byte = parts[$0].source { true } else { false } }
        for (index, part) in parts.enumerated() {
            switch part.source {
            case .column, .token: layers.append(HashEmbed(part, index: index, layout: layout))
            case .byte:
                if index == bytes.first { layers.append(CharacterEmbed(bytes.map { parts[$0] }, first: index, layout: layout)) }
            case .vectors:
                if let vectors { layers.append(StaticVectors(part, index: index, layout: layout, vectors: vectors)) }
            }
        }
        self.layers = layers
        let wide = spec.mixer.pieces * spec.width
        stores = parts.map { EmbeddingStore(width: $0.width, wide: wide) }
    }

    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver) {
        let (wide, unique) = (pieces * width, batch.uniqueCount)
        buffers.removeAll(keepingCapacity: true)
        for (part, feature) in zip(parts, batch.parts) {
            let count = feature.count
            let (output, product) = (carver.floats(count * part.width), carver.floats(count * wide))
            buffers.append(
                PartBuffers(
                    count: count, output: output, dOutput: carver.floats(count * part.width), product: product,
                    dProduct: carver.floats(count * wide), wanted: WantedIDs(ids: nil, count: count, output: output, product: product)))
        }
        places = carver.take(parts.count * unique, Int32.self)
        for layer in layers { layer.carve(batch, &carver) }
        trace = LayerTrace(rows: unique, outputs: width, pieces: pieces, carver: &carver)
        embedded = carver.floats(unique * width)
        dEmbedded = carver.floats(unique * width)
        sizes.need(row: wide, won: unique * width)
    }

    /// The parts' buffers of the last pass, for tests.
    var partBuffers: [PartBuffers] { buffers }

    func forward(_ pass: Pass) {
        for index in parts.indices { share(pass, index) }
        for layer in layers { layer.forward(pass, buffers) }
        let wide = pieces * width
        for (part, buffer) in zip(parts, buffers) {
            let wanted = buffer.wanted
            pass.multiply(.mixerProduct, m: wanted.count, n: wide, k: part.width) {
                pass.weights.timesTransposed(
                    m: wanted.count, n: wide, k: part.width, wanted.output, lda: part.width, offset: offsets.weights + part.column,
                    ldb: columns, wanted.product, ldc: wide)
            }
        }
        for (store, buffer) in zip(stores, buffers) where buffer.wanted.ids != nil { store.copyOutputs(to: buffer.output) }
        mixWords(pass)
    }

    /// Leaves out the ids of a part that an earlier micro-batch of the same parameters had. OpenBLAS's rows depend on each other.
    private func share(_ pass: Pass, _ index: Int) {
        guard let places else { return }
        let (feature, store, unique) = (pass.batch.parts[index], stores[index], pass.batch.uniqueCount)
        let words = index * unique..<(index + 1) * unique
        guard let version = pass.weights.packed?.version, pass.products.arithmetic != .blas,
            let first = store.find(feature, version: version)
        else {
            for word in words { places[word] = pass.batch.ofWord[word] }
            return
        }
        for word in words {
            let id = Int(pass.batch.ofWord[word])
            places[word] = id < 0 ? -1 : store.places[id]
        }
        buffers[index].wanted = WantedIDs(
            ids: store.fresh, count: store.fresh.count, output: store.outputs + first * parts[index].width,
            product: store.products + first * pieces * width)
    }

    /// Where the product of place 0 of a part is.
    private func products(_ index: Int) -> MutableFloats {
        buffers[index].wanted.ids == nil ? buffers[index].product : stores[index].products
    }

    /// A part's products, and which of them belongs to each word.
    private struct Cursor {
        let products: MutableFloats
        let ofWord: UnsafePointer<Int32>
    }

    /// Cursors of the parts in `wanted`.
    /// - Parameter ofWord: by part, then by unique word.
    private func withCursors(
        _ pass: Pass, _ products: (Int) -> MutableFloats, ofWord: UnsafePointer<Int32>, _ wanted: (Int) -> Bool,
        _ body: (UnsafeBufferPointer<Cursor>) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: Cursor.self, capacity: parts.count) { cursors in
            var count = 0
            for index in parts.indices where wanted(index) {
                cursors[count] = Cursor(products: products(index), ofWord: ofWord + index * pass.batch.uniqueCount)
                count += 1
            }
            body(UnsafeBufferPointer(rebasing: cursors[..<count]))
        }
    }

    /// Sums each unique word's products, then Maxout, LayerNorm, dropout.
    private func mixWords(_ pass: Pass) {
        guard let trace, let embedded, let places else { return }
        let (wide, unique) = (pieces * width, pass.batch.uniqueCount)
        let kernel = offsets.kernel(pass, outputs: width, pieces: pieces, epsilon: epsilon, keepScale: keepScale)
        let keptWords = planeWords(width: width)
        let row = pass.scratch.row
        pass.measure(.mixerRows, bytes: unique * 4 * (parts.count * wide + 3 * width)) {
            withPlanes(masksWords ? pass.batch.levels[0].kept : []) { kept in
                withCursors(pass, products, ofWord: places, { parts[$0].isForEveryWord }) { cursors in
                    withCursors(pass, products, ofWord: places, { !parts[$0].isForEveryWord }) { vectors in
                        for word in 0..<unique {
                            sum(cursors, word, wide, row)
                            for cursor in vectors where cursor.ofWord[word] >= 0 {
                                add(cursor.products + Int(cursor.ofWord[word]) * wide, to: row, count: wide)
                            }
                            kernel.forward(
                                z: row, residual: nil, kept: kept.map { $0 + word * keptWords },
                                winners: trace.winners + word * kernel.winnerWords, normalized: trace.normalized + word * width,
                                inverse: trace.inverse + word, out: embedded + word * width)
                        }
                    }
                }
            }
        }
    }

    /// row = ((a + b) + (c + d)) + (e + f) ... of the word's products; zeros if there are no parts.
    @inline(__always)
    private func sum(_ cursors: UnsafeBufferPointer<Cursor>, _ word: Int, _ wide: Int, _ row: MutableFloats) {
        @inline(__always) func product(_ index: Int) -> MutableFloats {
            cursors[index].products + Int(cursors[index].ofWord[word]) * wide
        }
        var next = 0
        if cursors.count >= 4 {
            let (a, b, c, d) = (product(0), product(1), product(2), product(3))
            forChunks(wide) { start, length in
                let sum = (load(a, start, length) + load(b, start, length)) + (load(c, start, length) + load(d, start, length))
                store(sum, row, start, length)
            }
            next = 4
        } else if cursors.count >= 2 {
            let (a, b) = (product(0), product(1))
            forChunks(wide) { start, length in store(load(a, start, length) + load(b, start, length), row, start, length) }
            next = 2
        } else {
            row.update(repeating: 0, count: wide)
        }
        while next + 2 <= cursors.count {
            let (a, b) = (product(next), product(next + 1))
            forChunks(wide) { start, length in
                store(load(row, start, length) + (load(a, start, length) + load(b, start, length)), row, start, length)
            }
            next += 2
        }
        if next < cursors.count { add(product(next), to: row, count: wide) }
    }

    /// - Parameter dEmbedded is read, and overwritten.
    func backward(_ pass: Pass) {
        mixWordsBackward(pass)
        pass.idle.forEach(parts.count) { [self] index in
            let pass = pass.with(sums: sums[index])
            let weights = offsets.weights + parts[index].column
            switch isByWord[index] {
            case true: backwardByWord(pass, index, weights: weights)
            case false: backwardByID(pass, index, weights: weights)
            case nil: backwardMixed(pass, index, weights: weights)
            }
        }
        // Vectors before tables: they take longer.
        pass.idle.forEach(layers.count) { [self] index in
            layers[layers.count - 1 - index].backward(pass.with(sums: sums[index]), buffers)
        }
    }

    /// Whether a part differs so much from word to word that products through each word's winners cost less than dense products of its ids.
    private func isMostlyDistinct(_ index: Int, _ batch: MicroBatchContent, lane: Int) -> Bool {
        let ids = batch.parts[index].laneStarts[lane + 1] - batch.parts[index].laneStarts[lane]
        let words = batch.uniqueStarts[lane + 1] - batch.uniqueStarts[lane]
        return parts[index].isForEveryWord && Self.mostlyDistinct.of * ids > Self.mostlyDistinct.share * words
    }

    /// Measured: from 11 distinct ids for 20 unique words on.
    private static let mostlyDistinct = (share: 11, of: 20)

    /// A part's columns of the mixer, by its ids.
    private func backwardByID(_ pass: Pass, _ index: Int, weights: Int) {
        let (part, buffer, wide) = (parts[index], buffers[index], pieces * width)
        pass.multiply(.mixerBackward, m: wide, n: part.width, k: buffer.count) {
            pass.transposedTimes(
                m: wide, n: part.width, starts: pass.batch.parts[index].laneStarts, buffer.dProduct, lda: wide, buffer.output,
                ldb: part.width, offset: weights, stride: columns)
        }
        pass.multiply(.mixerBackward, m: buffer.count, n: part.width, k: wide) {
            pass.weights.times(
                m: buffer.count, n: part.width, k: wide, buffer.dProduct, lda: wide, offset: weights, ldb: columns, buffer.dOutput,
                ldc: part.width)
        }
    }

    /// A part's columns of the mixer, through the winners of every unique word.
    private func backwardByWord(_ pass: Pass, _ index: Int, weights: Int) {
        let (part, buffer) = (parts[index], buffers[index])
        pass.multiply(.mixerBackward, products: 2, m: width, n: part.width, k: pass.batch.uniqueCount) {
            buffer.dOutput.update(repeating: 0, count: buffer.count * part.width)
            withProducts(pass, index, words: 0..<pass.batch.uniqueCount) { products in
                products.gradients(
                    pass.lanes(pass.batch.uniqueStarts), weights: pass.parameters + weights, input: buffer.output,
                    dWeights: pass.gradient + weights, dInput: buffer.dOutput, pass.sums)
            }
        }
    }

    /// Some lanes one way, others the other way.
    private func backwardMixed(_ pass: Pass, _ index: Int, weights: Int) {
        let (part, buffer, wide, batch) = (parts[index], buffers[index], pieces * width, pass.batch)
        pass.multiply(.mixerBackward, products: 2, m: width, n: part.width, k: batch.uniqueCount) {
            buffer.dOutput.update(repeating: 0, count: buffer.count * part.width)
            pass.sums.add(
                rows: wide, columns: part.width, stride: columns, merges: batch.merges, into: pass.gradient + weights
            ) { lane, target in
                guard !isMostlyDistinct(index, batch, lane: lane) else {
                    return withProducts(pass, index, words: batch.uniqueStarts[lane]..<batch.uniqueStarts[lane + 1]) { products in
                        products.gradients(
                            weights: pass.parameters + weights, input: buffer.output, dWeights: target, dInput: buffer.dOutput)
                    }
                }
                let (first, count) = (batch.parts[index].laneStarts[lane], batch.parts[index].laneStarts[lane + 1])
                pass.products.transposedTimes(
                    m: wide, n: part.width, k: count - first, buffer.dProduct + first * wide, lda: wide, buffer.output + first * part.width,
                    ldb: part.width, target, ldc: columns)
                pass.weights.times(
                    m: count - first, n: part.width, k: wide, buffer.dProduct + first * wide, lda: wide, offset: weights, ldb: columns,
                    buffer.dOutput + first * part.width, ldc: part.width)
            }
        }
    }

    /// Products of a part's columns with unique words.
    private func withProducts(_ pass: Pass, _ index: Int, words: Range<Int>, _ body: (WinnerProducts) -> Void) {
        guard let dEmbedded else { return }
        let first = words.lowerBound
        pass.batch.ofWord.withUnsafeBufferPointer { ofWord in
            body(
                WinnerProducts(
                    outputs: width, pieces: pieces, inputs: parts[index].width, weightStride: columns, rows: words.count,
                    dMax: dEmbedded + first * width, won: pass.scratch.won + first * width,
                    rowStarts: ofWord.baseAddress.map { $0 + index * pass.batch.uniqueCount + first }, rowStride: parts[index].width,
                    order: pass.order(expectedRows: pass.expected.uniqueWords), idle: pass.idle))
        }
    }

    /// Back through LayerNorm; adds each word's routed gradient to the products of the parts that it shares with others.
    private func mixWordsBackward(_ pass: Pass) {
        guard let trace, let dEmbedded else { return }
        let (batch, wide) = (pass.batch, pieces * width)
        let kernel = offsets.kernel(pass, outputs: width, pieces: pieces, epsilon: epsilon, keepScale: keepScale)
        let keptWords = planeWords(width: width)
        let row = pass.scratch.row
        chooseProducts(batch)
        let shared = isByWord.count { $0 != true }
        pass.measure(.mixerRows, bytes: batch.uniqueCount * 4 * (2 * shared * wide + 5 * width)) {
            for (index, buffer) in buffers.enumerated() where isByWord[index] != true {
                buffer.dProduct.update(repeating: 0, count: buffer.count * wide)
            }
            withPlanes(masksWords ? batch.levels[0].kept : []) { kept in
                batch.ofWord.withUnsafeBufferPointer { ofWord in
                    guard let ofWord = ofWord.baseAddress else { return }
                    withCursors(pass, { buffers[$0].dProduct }, ofWord: ofWord, { isByWord[$0] != true }) { cursors in
                        pass.forLanes(batch.uniqueStarts) { words, gradient in
                            for word in words {
                                let dMax = dEmbedded + word * width
                                kernel.backward(
                                    dOut: dMax, kept: kept.map { $0 + word * keptWords }, normalized: trace.normalized + word * width,
                                    inverse: trace.inverse + word, dGain: gradient + offsets.gain, dShift: gradient + offsets.shift,
                                    dMax: dMax)
                                let winners = trace.winners + word * kernel.winnerWords
                                kernel.biasBackward(
                                    dMax: dMax, winners: winners, won: pass.scratch.won + word * width, dBias: gradient + offsets.bias)
                                kernel.route(dMax: dMax, winners: winners, to: row)
                                for cursor in cursors where cursor.ofWord[word] >= 0 {
                                    add(row, to: cursor.products + Int(cursor.ofWord[word]) * wide, count: wide)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private func chooseProducts(_ batch: MicroBatchContent) {
        isByWord.removeAll(keepingCapacity: true)
        for index in parts.indices {
            let first = isMostlyDistinct(index, batch, lane: 0)
            let isUniform = (1..<batch.laneCount).allSatisfy { isMostlyDistinct(index, batch, lane: $0) == first }
            isByWord.append(isUniform ? first : nil)
        }
    }

    /// Multiplications of the products that a forward pass needs, without the vectors' own.
    func neededProducts(_ batch: MicroBatchContent) -> Int { batch.uniqueCount * width * pieces * columns }
}
