// The convolutions: residual(window of 3 -> Maxout or Mish -> LayerNorm). In: the mixer's words. Out: rows of the selected tokens;
// backward, gradients.
//
// Computes only what a selected token's loss can reach (see MicroBatch). Level 0 has two forms. Where a word is the same in every position
// (spaCy 2), the first convolution goes through the unique words (WindowEncoder+Words). Where the mixer's masks belong to tokens, or
// padding is inserted after the mixer (spaCy 3), rows of level 0 are made from the words, and the first convolution is like the others.
import Model

/// spaCy's MaxoutWindowEncoder and MishWindowEncoder, window 1.
final class WindowEncoder: EncoderLayer {
    /// One convolution.
    struct Layer {
        let offsets: NormedOffsets
        let activation: ModelSpec.Convolution.Activation
        /// Of Maxout; 1 for Mish.
        let pieces: Int
    }

    let layers: [Layer]
    let width: Int
    let epsilon: Float
    let keepScale: Float
    /// The first convolution goes through unique words.
    let convolvesWords: Bool
    /// Convolutions read the rows below in place, not gathered side by side.
    let readsInPlace: Bool
    /// Level 0's masks belong to its rows.
    private let masksTokens: Bool
    /// Some documents may have rows that stand for the zeros outside.
    let hasOutside: Bool
    var depth: Int { layers.count }

    /// By level 1...D (index 0 is the first convolution).
    private(set) var traces: [LayerTrace] = []
    /// (R_i, W), of Mish: what went into it.
    private(set) var inputs: [MutableFloats?] = []
    /// (R_i, W), by level 0...D; level 0 is empty where the first convolution goes through words.
    private(set) var hidden: [MutableFloats] = []
    /// (V, 3 P W): embeddings times the three window blocks of the first convolution, and the gradient.
    private(set) var windowed: MutableFloats?
    /// (R_i, W), two that take turns: a level writes one and the level below the other.
    private var dHidden: [MutableFloats] = []

    init(spec: ModelSpec, layout: ParameterLayout) {
        (width, epsilon, keepScale) = (spec.width, spec.layerNormEpsilon, Dropout(rate: spec.dropout).scale)
        convolvesWords = spec.convolvesWords
        readsInPlace = MatrixMultiply.convolves(spec.arithmetic)
        (masksTokens, hasOutside) = (spec.mixer.dropout == .token, spec.outsideRows > 0)
        layers = spec.encoder.convolutions.enumerated().map { index, convolution in
            Layer(
                offsets: NormedOffsets(layout, "encode.\(index)"), activation: convolution.activation, pieces: convolution.maps)
        }
    }

    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver) {
        traces.removeAll(keepingCapacity: true)
        inputs.removeAll(keepingCapacity: true)
        hidden.removeAll(keepingCapacity: true)
        hidden.append(carver.floats(convolvesWords ? 0 : batch.rowCount(level: 0) * width))
        for (index, layer) in layers.enumerated() {
            let rows = batch.rowCount(level: index + 1)
            traces.append(LayerTrace(rows: rows, outputs: width, pieces: layer.pieces, carver: &carver))
            inputs.append(layer.activation == .mish ? carver.floats(rows * width) : nil)
            hidden.append(carver.floats(rows * width))
            let gathers = index > 0 || !convolvesWords
            sizes.need(
                row: layer.pieces * width, activations: gathers ? rows * layer.pieces * width : rows * width,
                columns: gathers && !readsInPlace ? rows * 3 * width : 0, won: rows * width)
        }
        windowed = convolvesWords ? carver.floats(batch.uniqueCount * 3 * layers[0].pieces * width) : nil
        let most = batch.rowCount(level: convolvesWords ? 1 : 0) * width
        dHidden = [carver.floats(most), carver.floats(most)]
    }

    func dHidden(level: Int) -> MutableFloats { dHidden[level % 2] }
    var dOutput: MutableFloats { dHidden(level: depth) }

    func forward(_ pass: Pass, embedded: MutableFloats) -> Floats {
        if convolvesWords { firstConvolution(pass, embedded: embedded) } else { placeWords(pass, embedded: embedded) }
        for level in stride(from: convolvesWords ? 2 : 1, through: depth, by: 1) { convolution(pass, level: level) }
        return Floats(hidden[depth])
    }

    func backward(_ pass: Pass, embedded: Floats, dEmbedded: MutableFloats) {
        for level in stride(from: depth, through: convolvesWords ? 2 : 1, by: -1) { convolutionBackward(pass, level: level) }
        if convolvesWords {
            firstConvolutionBackward(pass, embedded: embedded, dEmbedded: dEmbedded)
        } else {
            collectWords(pass, dEmbedded: dEmbedded)
        }
    }

    /// Level 0: each row is its word's embedding after the token's mask, or zeros.
    private func placeWords(_ pass: Pass, embedded: MutableFloats) {
        let (target, keptWords) = (hidden[0], planeWords(width: width))
        let scale = Float8(repeating: keepScale)
        pass.measure(.gather, bytes: 8 * pass.batch.words.count * width) {
            withPlanes(masksTokens ? pass.batch.levels[0].kept : []) { kept in
                for (row, word) in pass.batch.words.enumerated() {
                    let out = target + row * width
                    guard word >= 0 else {
                        out.update(repeating: 0, count: width)
                        continue
                    }
                    let source = embedded + Int(word) * width
                    guard let plane = kept.map({ $0 + row * keptWords }) else {
                        out.update(from: source, count: width)
                        continue
                    }
                    forChunks(width) { start, length in
                        let mask = chunkMask(plane, start)
                        store(masked(load(source, start, length) * scale, mask), out, start, length)
                    }
                }
            }
        }
    }

    /// The backward pass of `placeWords`: sums over the rows of each word.
    private func collectWords(_ pass: Pass, dEmbedded: MutableFloats) {
        let (source, keptWords) = (dHidden(level: 0), planeWords(width: width))
        let scale = Float8(repeating: keepScale)
        pass.measure(.gather, bytes: 8 * pass.batch.words.count * width) {
            dEmbedded.update(repeating: 0, count: pass.batch.uniqueCount * width)
            withPlanes(masksTokens ? pass.batch.levels[0].kept : []) { kept in
                for (row, word) in pass.batch.words.enumerated() where word >= 0 {
                    let (gradient, target) = (source + row * width, dEmbedded + Int(word) * width)
                    guard let plane = kept.map({ $0 + row * keptWords }) else {
                        add(gradient, to: target, count: width)
                        continue
                    }
                    forChunks(width) { start, length in
                        let mask = chunkMask(plane, start)
                        let value = masked(load(gradient, start, length) * scale, mask)
                        store(load(target, start, length) + value, target, start, length)
                    }
                }
            }
        }
    }

    func neededProducts(_ batch: MicroBatchContent) -> Int {
        layers.indices.reduce(0) { sum, index in
            let rows = index == 0 && convolvesWords ? batch.uniqueCount : batch.rowCount(level: index + 1)
            return sum + rows * 3 * width * layers[index].pieces * width
        }
    }
}
