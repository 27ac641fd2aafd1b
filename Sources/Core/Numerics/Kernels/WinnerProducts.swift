// Backward products of a Maxout layer, through the winning pieces only. In: gradients of the maxima, winners. Out: dX and dW.
//
// Of the P pieces of an output, only one has a gradient. A dense product of the routed gradient multiplies P - 1 times as many zeros; the
// kernels of CKernels/winners_float.h, winners_by_row.h and winners_half.c skip them.
import Base
import CKernels
import Model

/// The order of additions in products through winners.
struct WinnerOrder {
    /// Of t2v_winners_gradients.
    let flags: Int32

    /// Sorting rows by their winners pays from so many on.
    private static let fewest = 64

    /// - Parameter expectedRows: of a lane. Not their true number: with it, lanes of a run would differ and could not be computed together.
    init(_ arithmetic: Arithmetic, expectedRows: Int) {
        switch arithmetic {
        // Row by row, in the order of version 0.1.
        case .blas: flags = Int32(T2V_BY_ROW)
        case .native: flags = expectedRows < Self.fewest ? Int32(T2V_BY_ROW) : 0
        case .bf16: flags = Int32(T2V_BF16)
        }
    }
}

/// How many rows a lane has on average.
struct ExpectedRows {
    /// Words of a lane in an update.
    let words: Int
    /// That a word is selected.
    let probability: Double

    init(words: Int, spec: ModelSpec) {
        self.words = words
        probability = spec.maskProbability > 0 ? Double(spec.maskProbability) : 1
    }

    /// Rows of a level that is `distance` convolutions below the last one.
    func rows(distance: Int) -> Int {
        let missed = (0...2 * distance).reduce(1.0) { missed, _ in missed * (1 - probability) }
        return Int(Double(words) * (1 - missed))
    }

    /// About half of the words of a few hundred are distinct.
    var uniqueWords: Int { words / 2 }
}

/// Products with W (P * O, K), row-major, for rows whose input is any K consecutive floats.
struct WinnerProducts {
    /// O, P and K.
    let outputs: Int
    let pieces: Int
    let inputs: Int
    /// Floats from one row of W to the next; K or more.
    let weightStride: Int
    let rows: Int
    /// (rows, O): gradient of the maxima.
    let dMax: Floats
    /// (rows, O): the winning piece.
    let won: UnsafePointer<UInt8>
    /// Row r's input begins at rowStarts[r] * rowStride, or at r * rowStride if nil. Inputs of different rows may overlap.
    let rowStarts: UnsafePointer<Int32>?
    let rowStride: Int
    let order: WinnerOrder
    /// May compute one of the gradients.
    var idle: (any IdleThreads)?

    /// Gradients as below for the rows of each lane; dWeights is their sum over the lanes.
    func gradients(
        _ lanes: LaneRows, weights: Floats, input: Floats, dWeights: MutableFloats, dInput: MutableFloats, _ sums: LaneMatrixSum
    ) {
        let isDone = lanes.withKernelLanes { lanes in
            var winners = winners(lanes)
            guard t2v_winners_join(order.flags, &winners) == 1 else { return false }
            gradients(&winners, weights: weights, input: input, dWeights: dWeights, dInput: dInput)
            return true
        }
        if isDone { return }
        sums.add(
            rows: pieces * outputs, columns: inputs, stride: weightStride, merges: lanes.merges, into: dWeights
        ) { lane, target in
            let start = rowStarts == nil ? lanes[lane].lowerBound * rowStride : 0
            self[lanes[lane]].gradients(weights: weights, input: input + start, dWeights: target, dInput: dInput + start)
        }
    }

    /// Some of the rows. Without `rowStarts` the inputs begin at the first of them.
    private subscript(rows: Range<Int>) -> WinnerProducts {
        let first = rows.lowerBound
        return WinnerProducts(
            outputs: outputs, pieces: pieces, inputs: inputs, weightStride: weightStride, rows: rows.count, dMax: dMax + first * outputs,
            won: won + first * outputs, rowStarts: rowStarts.map { $0 + first }, rowStride: rowStride, order: order, idle: idle)
    }

    /// dWeights(winner of o)[k] = sum over rows of dMax * input(row)[k]; all P * O rows of dWeights are written.
    /// dInput(row)[k] += sum over o of dMax * W(winner of o)[k].
    func gradients(weights: Floats, input: Floats, dWeights: MutableFloats, dInput: MutableFloats) {
        guard rows > 0 else {
            for row in 0..<pieces * outputs { (dWeights + row * weightStride).update(repeating: 0, count: inputs) }
            return
        }
        var winners = winners(nil)
        gradients(&winners, weights: weights, input: input, dWeights: dWeights, dInput: dInput)
    }

    private func gradients(
        _ winners: UnsafeMutablePointer<t2v_winners>, weights: Floats, input: Floats, dWeights: MutableFloats, dInput: MutableFloats
    ) {
        guard idle.parts(atMost: 2) > 1 else {
            return t2v_winners_gradients(order.flags, winners, weights, input, dWeights, dInput)
        }
        // The one that takes longer begins.
        idle.forEach(2) { part in
            t2v_winners_gradients(order.flags, winners, weights, input, part == 0 ? nil : dWeights, part == 0 ? dInput : nil)
        }
    }

    private func winners(_ lanes: UnsafePointer<t2v_lanes>?) -> t2v_winners {
        t2v_winners(
            outputs: outputs, pieces: pieces, inputs: inputs, rows: rows, gradients: dMax, weight_stride: weightStride,
            won: won, row_starts: rowStarts, row_stride: rowStride, lanes: lanes)
    }
}
