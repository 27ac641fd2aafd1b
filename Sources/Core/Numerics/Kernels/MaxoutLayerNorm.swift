// Maxout, LayerNorm, dropout and residual of rows. In: pre-activations and parameters. Out: activations; backward, gradients.
//
// Legend: O outputs, P pieces; z (P, O) is piece-major. "Planes" are bits as `planeWords` lays them out.
import CKernels

/// A Maxout followed by LayerNorm and dropout (thinc 7 `maxout.py`, `layernorm.py`).
struct MaxoutLayerNorm {
    /// O and P.
    let outputs: Int
    let pieces: Int
    let epsilon: Float
    /// Maxout's bias, (P, O).
    let bias: Floats
    /// LayerNorm's G and b, (O).
    let gain: Floats
    let shift: Floats
    /// 1 / (1 - dropout rate).
    let keepScale: Float

    /// Words of the winner planes of one row: for each piece but the first, the units in which it beat every piece before it.
    var winnerWords: Int { (pieces - 1) * planeWords(width: outputs) }

    private var layer: t2v_maxout {
        t2v_maxout(
            outputs: outputs, pieces: pieces, epsilon: epsilon, keep_scale: keepScale, bias: bias, gain: gain, shift: shift)
    }

    /// out = residual + dropout(LayerNorm(max over pieces(z + bias))), of some rows.
    /// - Parameters:
    ///   - z: (rows, P, O) without bias.
    ///   - residual: (rows, O) or nil.
    ///   - residualRows: which row of `residual` belongs to each; nil: the one with its number.
    ///   - kept: planes of kept units, or nil without dropout.
    ///   - winners: `winnerWords` words for each row, written. The first piece wins a tie.
    ///   - normalized: (rows, O), written: (max - mean) / deviation.
    ///   - inverse: (rows), written: 1 / deviation.
    func forward(
        rows: Int = 1, z: Floats, residual: Floats?, residualRows: UnsafePointer<Int32>? = nil, kept: UnsafePointer<UInt32>?,
        winners: UnsafeMutablePointer<UInt32>, normalized: MutableFloats, inverse: MutableFloats, out: MutableFloats
    ) {
        var layer = layer
        t2v_maxout_forward(0, &layer, rows, z, residual, residualRows, kept, winners, normalized, inverse, out)
    }

    /// out = residual + dropout(LayerNorm(normalized)): `normalized` (O), one row, is replaced by its norm.
    /// - Parameter inverse: written: 1 / deviation.
    func normalize(residual: Floats?, kept: UnsafePointer<UInt32>?, normalized: MutableFloats, inverse: MutableFloats, out: MutableFloats) {
        var layer = layer
        (layer.pieces, layer.bias) = (1, nil)
        t2v_maxout_forward(0, &layer, 1, normalized, residual, nil, kept, nil, normalized, inverse, out)
    }

    /// Backward through dropout and LayerNorm: dMax from dOut, of some rows.
    /// - Parameters:
    ///   - dOut: (rows, O); the caller handles its residual path.
    ///   - dGain, dShift: (O), added to.
    ///   - dMax: (rows, O), written: gradient of the maxima, to be routed to the winning pieces. May be `dOut` itself.
    func backward(
        rows: Int = 1, dOut: Floats, kept: UnsafePointer<UInt32>?, normalized: Floats, inverse: Floats, dGain: MutableFloats,
        dShift: MutableFloats, dMax: MutableFloats
    ) {
        var layer = layer
        t2v_norm_backward(0, &layer, rows, dOut, kept, normalized, inverse, dGain, dShift, dMax)
    }

    /// Adds the routed gradient to the bias's.
    /// - Parameters:
    ///   - won: (rows, O), written, for `WinnerProducts`: the winning piece.
    ///   - dBias: (P, O), added to.
    func biasBackward(
        rows: Int = 1, dMax: Floats, winners: UnsafePointer<UInt32>, won: UnsafeMutablePointer<UInt8>, dBias: MutableFloats
    ) {
        var layer = layer
        t2v_bias_backward(0, &layer, rows, dMax, winners, won, dBias)
    }

    /// First word of part `part` (256 units) of the winner plane of `piece`, which is not the first piece.
    @inline(__always)
    private func planeOffset(_ piece: Int, _ part: Int) -> Int { (piece &- 1) &* planeWords(width: outputs) &+ 8 &* part }

    /// Routes the gradient of the maxima to the winning pieces, 0 to the others.
    /// - Parameter target: (P, O), written.
    @inline(never)
    func route(dMax: Floats, winners: UnsafePointer<UInt32>, to target: MutableFloats) {
        routeMasks(winners) { piece, start, length, mask in
            store(masked(load(dMax, start, length), mask), target, piece &* outputs &+ start, length)
        }
    }

    /// Adds the gradient of the maxima to the winning pieces.
    /// - Parameter target: (P, O), added to.
    @inline(never)
    func route(dMax: Floats, winners: UnsafePointer<UInt32>, addedTo target: MutableFloats) {
        routeMasks(winners) { piece, start, length, mask in
            let place = piece &* outputs &+ start
            store(load(target, place, length) + masked(load(dMax, start, length), mask), target, place, length)
        }
    }

    /// Calls `body(piece, start, length, mask)` for every chunk, last piece first; the mask is all ones where the piece won.
    @inline(__always)
    private func routeMasks(_ winners: UnsafePointer<UInt32>, _ body: (Int, Int, Int, UInt8Lanes) -> Void) {
        switch pieces {
        case 2: routeMasks(winners, pieces: 2, body)
        case 3: routeMasks(winners, pieces: 3, body)
        default: routeMasks(winners, pieces: pieces, body)
        }
    }

    @inline(__always)
    private func routeMasks(_ winners: UnsafePointer<UInt32>, pieces: Int, _ body: (Int, Int, Int, UInt8Lanes) -> Void) {
        for part in 0..<planeWords(width: outputs) / 8 {
            let base = part &* 256
            let third = pieces > 2 ? loadBits(winners + planeOffset(2, part)) : .zero
            let second = pieces > 1 ? loadBits(winners + planeOffset(1, part)) : .zero
            forChunks(min(256, outputs &- base)) { offset, length in
                let (start, bit) = (base &+ offset, offset >> 3)
                // The last piece that beat all before it is the winner.
                var open = UInt8Lanes(repeating: .max)
                if pieces > 3 {
                    for piece in (3..<pieces).reversed() {
                        let wins = spread(loadBits(winners + planeOffset(piece, part)), bit: bit)
                        body(piece, start, length, wins & open)
                        open &= ~wins
                    }
                }
                if pieces > 2 {
                    let wins = spread(third, bit: bit)
                    body(2, start, length, wins & open)
                    open &= ~wins
                }
                if pieces > 1 {
                    let wins = spread(second, bit: bit)
                    body(1, start, length, wins & open)
                    open &= ~wins
                }
                body(0, start, length, open)
            }
        }
    }
}
