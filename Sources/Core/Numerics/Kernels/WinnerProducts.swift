// Backward products of a Maxout layer, through the winning pieces only. In: gradients of the maxima, winners. Out: dX and dW.
//
// Of the P pieces of an output, only one has a gradient. A dense product of the routed gradient multiplies P - 1 times as many zeros; the
// kernels of CKernels/winners_float.h, winners_by_row.h and winners_half.c skip them.
import Base
import CKernels

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
    /// (rows, O): where the winner's row of W begins: (piece * O + o) * weightStride.
    let winnerStarts: UnsafePointer<Int32>
    /// Row r's input begins at rowStarts[r] * rowStride, or at r * rowStride if nil. Inputs of different rows may overlap.
    let rowStarts: UnsafePointer<Int32>?
    let rowStride: Int
    /// `blas` means row by row, in the order of version 0.1.
    let arithmetic: Arithmetic

    /// dWeights(winner of o)[k] = sum over rows of dMax * input(row)[k]; all P * O rows of dWeights are written.
    /// dInput(row)[k] += sum over o of dMax * W(winner of o)[k].
    func gradients(weights: Floats, input: Floats, dWeights: MutableFloats, dInput: MutableFloats) {
        guard rows > 0 else {
            for row in 0..<pieces * outputs { (dWeights + row * weightStride).update(repeating: 0, count: inputs) }
            return
        }
        var winners = t2v_winners(
            outputs: outputs, pieces: pieces, inputs: inputs, rows: rows, gradients: dMax,
            weight_stride: weightStride, starts: winnerStarts, row_starts: rowStarts, row_stride: rowStride)
        let flags =
            switch arithmetic {
            case .blas: Int32(T2V_BY_ROW)
            case .native: Int32(0)
            case .bf16: Int32(T2V_BF16)
            }
        t2v_winners_gradients(flags, &winners, weights, input, dWeights, dInput)
    }
}
