// The objective between predicted and true vectors. In: a prediction without bias, bias, target. Out: loss and gradient, row by row.
import Model

/// Losses of spaCy 2.x `pretrain` (2.3 `_ml.py` `get_cossim_loss`, `cli/pretrain.py` `get_vectors_loss`): sums over tokens, never divided.
struct VectorsLoss {
    let function: LossFunction
    /// M.
    let width: Int

    /// Adds the bias to `row` (M) and turns the prediction into its gradient in place.
    /// - Returns: the row's loss.
    @inline(__always)
    func apply(row: MutableFloats, bias: Floats, target: Floats) -> Float {
        switch function {
        case .l2: squares(row, bias, target)
        case .cosine: cosine(row, bias, target)
        }
    }

    /// loss = sum (y - t)^2, gradient = y - t (without the factor 2, as in spaCy).
    @inline(__always)
    private func squares(_ row: MutableFloats, _ bias: Floats, _ target: Floats) -> Float {
        var sum = Float8.zero
        forChunks(width) { start, length in
            let difference = load(row, start, length) + load(bias, start, length) - load(target, start, length)
            store(difference, row, start, length)
            sum.addProduct(difference, difference)
        }
        return laneSum(sum)
    }

    /// loss = |cos - 1|, gradient = cos * y / |y|^2 - t / (|y| |t|), with 1e-8 added to y and t.
    @inline(__always)
    private func cosine(_ row: MutableFloats, _ bias: Floats, _ target: Floats) -> Float {
        var (yy, tt, yt) = (Float8.zero, Float8.zero, Float8.zero)
        forChunks(width) { start, length in
            let y = first(length, of: load(row, start, length) + load(bias, start, length) + 1e-8)
            let t = first(length, of: load(target, start, length) + 1e-8)
            store(y, row, start, length)
            yy.addProduct(y, y)
            tt.addProduct(t, t)
            yt.addProduct(y, t)
        }
        let (squareY, squareT) = (laneSum(yy), laneSum(tt))
        let norms = squareY.squareRoot() * squareT.squareRoot()
        let cosine = laneSum(yt) / norms
        let (scaleY, scaleT) = (Float8(repeating: cosine / squareY), Float8(repeating: 1 / norms))
        forChunks(width) { start, length in
            let y = load(row, start, length)
            let t = load(target, start, length) + 1e-8
            store(y * scaleY - t * scaleT, row, start, length)
        }
        return abs(cosine - 1)
    }
}
