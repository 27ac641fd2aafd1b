// Maxout, LayerNorm, dropout and residual of one row. In: pre-activations and parameters. Out: activations; backward, gradients.
//
// Legend: O outputs, P pieces; z (P, O) is piece-major. "Planes" are bits as `planeWords` lays them out.

/// A Maxout followed by LayerNorm and dropout (thinc 7 `maxout.py`, `layernorm.py`), one row at a time. A row is a call: inlined into
/// every layer, the code was slower in the head, and took a quarter of this target's build.
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

    /// First word of part `part` (256 units) of the winner plane of `piece`, which is not the first piece.
    @inline(__always)
    private func planeOffset(_ piece: Int, _ part: Int) -> Int { (piece &- 1) &* planeWords(width: outputs) &+ 8 &* part }

    /// out = residual + dropout(LayerNorm(max over pieces(z + bias))).
    /// - Parameters:
    ///   - z: (P, O) without bias.
    ///   - residual: (O) or nil.
    ///   - kept: plane of kept units, or nil without dropout.
    ///   - winners: `winnerWords` words, written. The first piece wins a tie.
    ///   - normalized: (O), written: (max - mean) / deviation.
    /// - Returns: 1 / deviation.
    @inline(never)
    func forward(
        z: Floats, residual: Floats?, kept: UnsafePointer<UInt32>?, winners: UnsafeMutablePointer<UInt32>, normalized: MutableFloats,
        out: MutableFloats
    ) -> Float {
        let sum: Float
        switch pieces {
        case 2: sum = maxout(z, winners, normalized, pieces: 2)
        case 3: sum = maxout(z, winners, normalized, pieces: 3)
        default: sum = maxout(z, winners, normalized, pieces: pieces)
        }
        return normalize(sum: sum, residual: residual, kept: kept, normalized: normalized, out: out)
    }

    /// out = residual + dropout(LayerNorm(normalized)), where `normalized` holds values whose sum is `sum`, and is normalized.
    /// - Returns: 1 / deviation.
    @inline(never)
    func normalize(sum: Float, residual: Floats?, kept: UnsafePointer<UInt32>?, normalized: MutableFloats, out: MutableFloats) -> Float {
        let count = Float(outputs)
        let mean = Float8(repeating: sum / count)
        var squares = Float8.zero
        forChunks(outputs) { start, length in
            let distance = first(length, of: load(normalized, start, length) - mean)
            squares.addProduct(distance, distance)
        }
        let inverse = 1 / (laneSum(squares) / count + epsilon).squareRoot()
        if let kept {
            finish(mean, inverse, residual, normalized, out) { value, start in
                masked(value * keepScale, chunkMask(kept, start))
            }
        } else {
            finish(mean, inverse, residual, normalized, out) { value, _ in value }
        }
        return inverse
    }

    /// Writes the maxima to `best` and returns their sum.
    @inline(__always)
    private func maxout(_ z: Floats, _ winners: UnsafeMutablePointer<UInt32>, _ best: MutableFloats, pieces: Int) -> Float {
        var sum = Float8.zero
        for part in 0..<planeWords(width: outputs) / 8 {
            var (second, third) = (UInt8Lanes.zero, UInt8Lanes.zero)
            if pieces > 3 { for piece in 3..<pieces { storeBits(.zero, winners + planeOffset(piece, part)) } }
            let base = part &* 256
            forChunks(min(256, outputs &- base)) { offset, length in
                let start = base &+ offset
                let bit = UInt8Lanes(repeating: 1 &<< UInt32(truncatingIfNeeded: offset >> 3))
                var value = load(z, start, length) + load(bias, start, length)
                if pieces > 1 {
                    let other = load(z, outputs &+ start, length) + load(bias, outputs &+ start, length)
                    let wins = other .> value
                    value = value.replacing(with: other, where: wins)
                    second |= UInt8Lanes.zero.replacing(with: bit, where: wins)
                }
                if pieces > 2 {
                    let other = load(z, 2 &* outputs &+ start, length) + load(bias, 2 &* outputs &+ start, length)
                    let wins = other .> value
                    value = value.replacing(with: other, where: wins)
                    third |= UInt8Lanes.zero.replacing(with: bit, where: wins)
                }
                if pieces > 3 {
                    for piece in 3..<pieces {
                        let other = load(z, piece &* outputs &+ start, length) + load(bias, piece &* outputs &+ start, length)
                        let wins = other .> value
                        value = value.replacing(with: other, where: wins)
                        let plane = winners + planeOffset(piece, part)
                        storeBits(loadBits(plane) | UInt8Lanes.zero.replacing(with: bit, where: wins), plane)
                    }
                }
                store(value, best, start, length)
                sum += value
            }
            if pieces > 1 { storeBits(second, winners + planeOffset(1, part)) }
            if pieces > 2 { storeBits(third, winners + planeOffset(2, part)) }
        }
        return laneSum(sum)
    }

    @inline(__always)
    private func finish(
        _ mean: Float8, _ inverse: Float, _ residual: Floats?, _ normalized: MutableFloats, _ out: MutableFloats,
        _ drop: (Float8, Int) -> Float8
    ) {
        let scale = Float8(repeating: inverse)
        if let residual {
            forChunks(outputs) { start, length in
                let value = (load(normalized, start, length) - mean) * scale
                store(value, normalized, start, length)
                let output = drop(load(shift, start, length).addingProduct(value, load(gain, start, length)), start)
                store(load(residual, start, length) + output, out, start, length)
            }
        } else {
            forChunks(outputs) { start, length in
                let value = (load(normalized, start, length) - mean) * scale
                store(value, normalized, start, length)
                store(drop(load(shift, start, length).addingProduct(value, load(gain, start, length)), start), out, start, length)
            }
        }
    }

    /// Backward through dropout and LayerNorm: dMax from dOut.
    /// - Parameters:
    ///   - dOut: (O); the caller handles its residual path.
    ///   - dGain, dShift: (O), added to.
    ///   - dMax: (O), written: gradient of the maxima, to be routed to the winning pieces. May be `dOut` itself.
    @inline(never)
    func backward(
        dOut: Floats, kept: UnsafePointer<UInt32>?, normalized: Floats, inverse: Float, dGain: MutableFloats, dShift: MutableFloats,
        dMax: MutableFloats
    ) {
        let sums: (Float8, Float8)
        if let kept {
            sums = scaleShift(dOut, normalized, dGain, dShift, dMax) { value, start in
                masked(value * keepScale, chunkMask(kept, start))
            }
        } else {
            sums = scaleShift(dOut, normalized, dGain, dShift, dMax) { value, _ in value }
        }
        let count = Float(outputs)
        let mean = Float8(repeating: laneSum(sums.0) / count)
        let slope = Float8(repeating: laneSum(sums.1) / count)
        let scale = Float8(repeating: inverse)
        forChunks(outputs) { start, length in
            let centered = load(dMax, start, length) - mean
            store((centered - load(normalized, start, length) * slope) * scale, dMax, start, length)
        }
    }

    /// Gradients of G and b; writes dOut * G to `scaled`; returns its lane sums and those of its product with `normalized`.
    @inline(__always)
    private func scaleShift(
        _ dOut: Floats, _ normalized: Floats, _ dGain: MutableFloats, _ dShift: MutableFloats, _ scaled: MutableFloats,
        _ drop: (Float8, Int) -> Float8
    ) -> (Float8, Float8) {
        var (sum, product) = (Float8.zero, Float8.zero)
        forChunks(outputs) { start, length in
            let gradient = drop(load(dOut, start, length), start)
            let value = load(normalized, start, length)
            store(load(dGain, start, length).addingProduct(gradient, value), dGain, start, length)
            store(load(dShift, start, length) + gradient, dShift, start, length)
            let back = gradient * load(gain, start, length)
            store(back, scaled, start, length)
            sum += back
            product.addProduct(back, value)
        }
        return (sum, product)
    }

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

    /// For `WinnerProducts`: where each winner's row of W (P * O, inputs) begins; and adds the routed gradient to the bias's.
    /// - Parameters:
    ///   - starts: (O), written: (winning piece * O + o) * inputs.
    ///   - dBias: (P, O), added to.
    @inline(never)
    func locate(dMax: Floats, winners: UnsafePointer<UInt32>, inputs: Int, starts: UnsafeMutablePointer<Int32>, dBias: MutableFloats) {
        let step = UInt32(truncatingIfNeeded: inputs)
        let lanes = UInt8Lanes(0, 1, 2, 3, 4, 5, 6, 7) &* UInt8Lanes(repeating: step)
        var place = UInt8Lanes.zero
        routeMasks(winners) { piece, start, length, mask in
            let index = piece &* outputs &+ start
            store(load(dBias, index, length) + masked(load(dMax, start, length), mask), dBias, index, length)
            place |= mask & (lanes &+ UInt8Lanes(repeating: UInt32(truncatingIfNeeded: index) &* step))
            // The first piece comes last.
            guard piece == 0 else { return }
            let target = UnsafeMutableRawPointer(starts + start).assumingMemoryBound(to: UInt32.self)
            if length == 8 {
                storeBits(place, target)
            } else {
                store(unsafeBitCast(place, to: Float8.self), UnsafeMutableRawPointer(target).assumingMemoryBound(to: Float.self), 0, length)
            }
            place = .zero
        }
    }
}
