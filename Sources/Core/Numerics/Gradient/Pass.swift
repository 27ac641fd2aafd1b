// What the layers share in one gradient pass. In: micro-batch, parameters, destination of the gradient. Out: memory for intermediates,
// clocks.
//
// A pass may have several lanes. Products make the sum of their weights' gradients, and hash embeddings that of their tables'; gradients of
// vectors, and of tables of bytes, are made for each lane by itself.
//
// Legend: W width, P pieces, D convolutions, V unique words, U_f distinct ids of part f, R_i rows of level i, T = R_D selected tokens, H
// head width, O outputs of the head.
import Model

/// One gradient pass.
struct Pass {
    let batch: MicroBatchContent
    let parameters: Floats
    /// Of each lane; none in a forward pass. The first one's weights and tables are the sums of all lanes'; the others have none.
    let gradients: [MutableFloats]
    private(set) var sums: LaneMatrixSum
    let expected: ExpectedRows
    let scratch: Scratch
    let products: MatrixMultiply
    /// Products with the parameters.
    let weights: WeightProducts
    /// May compute parts of products.
    let idle: (any IdleThreads)?
    let account: KernelAccount?

    /// The same pass with other memory for sums.
    func with(sums: LaneMatrixSum) -> Pass {
        var pass = self
        pass.sums = sums
        return pass
    }

    /// The order of products with so many rows.
    func order(expectedRows: Int) -> WinnerOrder { WinnerOrder(products.arithmetic, expectedRows: expectedRows) }

    /// Where products and hash embeddings write.
    var gradient: MutableFloats { gradients[0] }

    /// Calls `body` with each lane's rows and gradient.
    /// - Parameter starts: where each lane's rows begin, and the end.
    @inline(__always)
    func forLanes(_ starts: [Int], _ body: (Range<Int>, MutableFloats) -> Void) {
        for lane in gradients.indices { body(starts[lane]..<starts[lane + 1], gradients[lane]) }
    }

    /// - Parameter starts: where each lane's rows begin, and the end.
    func lanes(_ starts: [Int]) -> LaneRows { LaneRows(starts: starts, merges: batch.merges) }

    /// gradient[offset...] (m, n), rows of `stride` floats = A(k, m)^T B(k, n), summed over the rows of each lane, then over the lanes.
    /// - Parameter starts: where each lane's rows begin, and the end.
    func transposedTimes(m: Int, n: Int, starts: [Int], _ a: Floats, lda: Int, _ b: Floats, ldb: Int, offset: Int, stride: Int) {
        products.transposedTimes(m: m, n: n, lanes: lanes(starts), a, lda: lda, b, ldb: ldb, gradient + offset, ldc: stride, sums)
    }
}

/// Memory that the layers use in turn.
struct Scratch {
    /// One row of pre-activations, the longest P * O.
    let row: MutableFloats
    /// Pre-activations of all rows of a layer.
    let activations: MutableFloats
    /// (R_i, 3 W): rows of the level below, side by side.
    let columns: MutableFloats
    /// The winning pieces of all rows of a layer.
    let won: UnsafeMutablePointer<UInt8>

    /// The most floats that each of them needs.
    struct Sizes {
        private(set) var row = 0, activations = 0, columns = 0, won = 0

        mutating func need(row: Int = 0, activations: Int = 0, columns: Int = 0, won: Int = 0) {
            self.row = max(self.row, row)
            self.activations = max(self.activations, activations)
            self.columns = max(self.columns, columns)
            self.won = max(self.won, won)
        }
    }

    init(_ sizes: Sizes, carver: inout Arena.Carver) {
        row = carver.floats(sizes.row)
        activations = carver.floats(sizes.activations)
        columns = carver.floats(sizes.columns)
        won = carver.take(sizes.won, UInt8.self)
    }
}

/// What a Maxout or Mish with LayerNorm keeps for its backward pass.
struct LayerTrace {
    /// (rows, O): input of the gain, later unchanged.
    var normalized: MutableFloats
    /// (rows): 1 / deviation.
    var inverse: MutableFloats
    /// (rows, winnerWords).
    var winners: UnsafeMutablePointer<UInt32>

    init(rows: Int, outputs: Int, pieces: Int, carver: inout Arena.Carver) {
        normalized = carver.floats(rows * outputs)
        inverse = carver.floats(rows)
        winners = carver.bits(rows * (pieces - 1) * planeWords(width: outputs))
    }
}

/// Offsets of W, b, G and LayerNorm's b of a layer.
struct NormedOffsets {
    let weights, bias, gain, shift: Int

    init(_ layout: ParameterLayout, _ name: String) {
        weights = layout.offset("\(name).W")
        bias = layout.offset("\(name).b")
        gain = layout.offset("\(name).norm.G")
        shift = layout.offset("\(name).norm.b")
    }

    /// The row kernel of a Maxout + LayerNorm.
    func kernel(_ pass: Pass, outputs: Int, pieces: Int, epsilon: Float, keepScale: Float) -> MaxoutLayerNorm {
        MaxoutLayerNorm(
            outputs: outputs, pieces: pieces, epsilon: epsilon, bias: pass.parameters + bias, gain: pass.parameters + gain,
            shift: pass.parameters + shift, keepScale: keepScale)
    }

    /// Back through LayerNorm and Maxout: `dMax` (rows, O), the gradient of the layer's output, becomes that of the maxima; `won` says
    /// which piece won. Adds gradients of bias, gain and shift.
    /// - Parameters:
    ///   - starts: where each lane's rows begin, and the end.
    func backwardRows(
        _ pass: Pass, _ kernel: MaxoutLayerNorm, _ trace: LayerTrace, starts: [Int], kept: UnsafePointer<UInt32>?,
        dMax: MutableFloats
    ) {
        let (outputs, keptWords) = (kernel.outputs, planeWords(width: kernel.outputs))
        pass.forLanes(starts) { rows, gradient in
            let first = rows.lowerBound
            let dMax = dMax + first * outputs
            kernel.backward(
                rows: rows.count, dOut: dMax, kept: kept.map { $0 + first * keptWords }, normalized: trace.normalized + first * outputs,
                inverse: trace.inverse + first, dGain: gradient + gain, dShift: gradient + shift, dMax: dMax)
            kernel.biasBackward(
                rows: rows.count, dMax: dMax, winners: trace.winners + first * kernel.winnerWords, won: pass.scratch.won + first * outputs,
                dBias: gradient + bias)
        }
    }
}

/// From the mixer's rows to those of the objective. Called once per micro-batch.
protocol EncoderLayer: AnyObject {
    /// Takes memory for this micro-batch.
    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver)
    /// - Parameter embedded: (V, W).
    /// - Returns: (T, W).
    func forward(_ pass: Pass, embedded: MutableFloats) -> Floats
    /// Where the objective writes the gradient of its input, (T, W).
    var dOutput: MutableFloats { get }
    /// Adds gradients of the parameters; writes those of the unique words to `dEmbedded` (V, W).
    func backward(_ pass: Pass, embedded: Floats, dEmbedded: MutableFloats)
    /// Multiplications of the products that a forward pass needs.
    func neededProducts(_ batch: MicroBatchContent) -> Int
}

/// The head and the loss. Called once per micro-batch.
protocol ObjectiveLayer: AnyObject {
    func carve(_ batch: MicroBatchContent, _ sizes: inout Scratch.Sizes, _ carver: inout Arena.Carver)
    /// Forward and backward.
    /// - Parameters:
    ///   - input: (T, W).
    ///   - dInput: (T, W), written.
    /// - Returns: the sum of the losses, of each lane.
    func run(_ pass: Pass, input: Floats, dInput: MutableFloats) -> [Double]
    /// Forward only, of one lane; writes no gradient.
    /// - Parameter input: (T, W).
    /// - Returns: the sum of the losses.
    func loss(_ pass: Pass, input: Floats) -> Double
    func neededProducts(_ batch: MicroBatchContent) -> Int
}

/// A part of the mixer's input, or several. Called once per micro-batch.
protocol InputLayer: AnyObject {
    func carve(_ batch: MicroBatchContent, _ carver: inout Arena.Carver)
    /// Writes the outputs of its parts: those that are `wanted`.
    func forward(_ pass: Pass, _ parts: [PartBuffers])
    /// Adds gradients of its parameters; may overwrite the parts' `dOutput`.
    func backward(_ pass: Pass, _ parts: [PartBuffers])
}

/// One part of the mixer's input.
struct PartBuffers {
    var count: Int
    /// (U, width): the output after dropout, and its gradient.
    var output: MutableFloats
    var dOutput: MutableFloats
    /// (U, P W): the output times its columns of the mixer's weights, and the gradient.
    var product: MutableFloats
    var dProduct: MutableFloats
    /// What the forward pass computes: all ids into the buffers above, or new ones into an `EmbeddingStore`.
    var wanted: WantedIDs
}

/// Ids of a part, and where their outputs and products go, one after another.
struct WantedIDs {
    /// Nil: all of them, in their order.
    var ids: [Int32]?
    var count: Int
    var output: MutableFloats
    var product: MutableFloats
}

/// The planes of kept units, or nil without dropout.
func withPlanes(_ planes: [UInt32], _ body: (UnsafePointer<UInt32>?) -> Void) {
    planes.withUnsafeBufferPointer { body($0.isEmpty ? nil : $0.baseAddress) }
}

func withFactors(_ factors: [Float], _ body: (Floats?) -> Void) {
    factors.withUnsafeBufferPointer { body($0.isEmpty ? nil : $0.baseAddress) }
}

/// rows (count, width) *= factors, if there are any.
func mask(_ rows: MutableFloats, rows count: Int, width: Int, factors: [Float]) {
    withFactors(factors) { factors in
        guard let factors else { return }
        for row in 0..<count { multiply(rows + row * width, by: factors, count: width) }
    }
}
