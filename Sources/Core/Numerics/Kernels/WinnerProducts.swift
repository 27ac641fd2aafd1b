// Backward products of a Maxout layer, through the winning pieces only. In: gradients of the maxima, winners. Out: dX and dW.
//
// Of the P pieces of an output one has a gradient. A dense product of the routed gradient multiplies P - 1 times as many zeros; these
// kernels skip them. Tiles of weights stay in the nearest cache while rows pass by, twelve vectors of accumulators stay in registers.
// CPUs with AVX-512 have kernels of their own (CKernels/winners.c), which give the same bits, and others in bf16 (winners_half.c).

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
    /// Gradients, weights and inputs are rounded to bf16, sums stay float32.
    var isHalf = false
    /// Whether CKernels does the work; tests compare both ways.
    var usesAVX512 = WinnerProducts.hasAVX512

    /// Outputs whose weights, of all pieces, fill a tile: 16 * 3 * 96 floats are 18 KB.
    private static let tile = 16
    /// Columns of a tile: twelve vectors.
    private static let columns = 96

    /// dInput(row)[k] += sum over o of dMax * W(winner of o)[k]; rows in order.
    func inputGradient(weights: Floats, dInput: MutableFloats) {
        if usesAVX512 {
            withWinners { isHalf ? t2v_winners_input_gradient_bf16($0, weights, dInput) : t2v_winners_input_gradient($0, weights, dInput) }
            return
        }
        forTiles { outputs, column, length in
            if length == Self.columns {
                addWide(dInput + column, weights + column, outputs.lowerBound, outputs.upperBound)
            } else {
                addNarrow(dInput + column, weights + column, outputs, length)
            }
        }
    }

    /// dWeights(winner of o)[k] = sum over rows of dMax * input(row)[k], rows in order; all P * O rows of dWeights are written.
    func weightGradient(dWeights: MutableFloats, input: Floats) {
        if usesAVX512, rows > 0 {
            withWinners {
                isHalf ? t2v_winners_weight_gradient_bf16($0, input, dWeights) : t2v_winners_weight_gradient($0, input, dWeights)
            }
            return
        }
        for row in 0..<pieces * outputs { (dWeights + row * weightStride).update(repeating: 0, count: inputs) }
        forTiles { outputs, column, length in
            if length == Self.columns {
                spreadWide(input + column, dWeights + column, outputs.lowerBound, outputs.upperBound)
            } else {
                spreadNarrow(input + column, dWeights + column, outputs, length)
            }
        }
    }

    static let hasAVX512 = t2v_has_avx512() == 1

    private func withWinners(_ body: (UnsafePointer<t2v_winners>) -> Void) {
        var winners = t2v_winners(
            outputs: outputs, pieces: pieces, inputs: inputs, rows: rows, gradients: dMax,
            weight_stride: weightStride, starts: winnerStarts, row_starts: rowStarts, row_stride: rowStride)
        body(&winners)
    }

    @inline(__always)
    private func forTiles(_ body: (_ outputs: Range<Int>, _ column: Int, _ length: Int) -> Void) {
        for first in stride(from: 0, to: outputs, by: Self.tile) {
            let range = first..<min(first + Self.tile, outputs)
            var column = 0
            while column < inputs {
                let length = inputs - column >= Self.columns ? Self.columns : min(8, inputs - column)
                body(range, column, length)
                column += length
            }
        }
    }

    @inline(__always)
    private func start(of row: Int) -> Int {
        guard let rowStarts else { return row &* rowStride }
        return Int(rowStarts[row]) &* rowStride
    }

    /// One tile of `inputGradient`. Never inlined: among other code the compiler keeps the accumulators in memory.
    @inline(never)
    private func addWide(_ dInput: MutableFloats, _ weights: Floats, _ first: Int, _ end: Int) {
        for row in 0..<rows {
            let target = dInput + start(of: row)
            let (gradients, starts) = (dMax + row &* outputs, winnerStarts + row &* outputs)
            var (a, b, c, d) = (load(target, 0, 8), load(target, 8, 8), load(target, 16, 8), load(target, 24, 8))
            var (e, f, g, h) = (load(target, 32, 8), load(target, 40, 8), load(target, 48, 8), load(target, 56, 8))
            var (i, j, k, l) = (load(target, 64, 8), load(target, 72, 8), load(target, 80, 8), load(target, 88, 8))
            var output = first
            while output < end {
                let factor = Float8(repeating: gradients[output])
                let source = weights + Int(starts[output])
                a.addProduct(factor, load(source, 0, 8))
                b.addProduct(factor, load(source, 8, 8))
                c.addProduct(factor, load(source, 16, 8))
                d.addProduct(factor, load(source, 24, 8))
                e.addProduct(factor, load(source, 32, 8))
                f.addProduct(factor, load(source, 40, 8))
                g.addProduct(factor, load(source, 48, 8))
                h.addProduct(factor, load(source, 56, 8))
                i.addProduct(factor, load(source, 64, 8))
                j.addProduct(factor, load(source, 72, 8))
                k.addProduct(factor, load(source, 80, 8))
                l.addProduct(factor, load(source, 88, 8))
                output &+= 1
            }
            store(a, target, 0, 8)
            store(b, target, 8, 8)
            store(c, target, 16, 8)
            store(d, target, 24, 8)
            store(e, target, 32, 8)
            store(f, target, 40, 8)
            store(g, target, 48, 8)
            store(h, target, 56, 8)
            store(i, target, 64, 8)
            store(j, target, 72, 8)
            store(k, target, 80, 8)
            store(l, target, 88, 8)
        }
    }

    @inline(never)
    private func addNarrow(_ dInput: MutableFloats, _ weights: Floats, _ range: Range<Int>, _ length: Int) {
        for row in 0..<rows {
            let target = dInput + start(of: row)
            let (gradients, starts) = (dMax + row &* outputs, winnerStarts + row &* outputs)
            var sum = load(target, 0, length)
            for output in range { sum.addProduct(Float8(repeating: gradients[output]), load(weights + Int(starts[output]), 0, length)) }
            store(sum, target, 0, length)
        }
    }

    /// One tile of `weightGradient`.
    @inline(never)
    private func spreadWide(_ input: Floats, _ dWeights: MutableFloats, _ first: Int, _ end: Int) {
        for row in 0..<rows {
            let source = input + start(of: row)
            let (gradients, starts) = (dMax + row &* outputs, winnerStarts + row &* outputs)
            let (a, b, c, d) = (load(source, 0, 8), load(source, 8, 8), load(source, 16, 8), load(source, 24, 8))
            let (e, f, g, h) = (load(source, 32, 8), load(source, 40, 8), load(source, 48, 8), load(source, 56, 8))
            let (i, j, k, l) = (load(source, 64, 8), load(source, 72, 8), load(source, 80, 8), load(source, 88, 8))
            var output = first
            while output < end {
                let factor = Float8(repeating: gradients[output])
                let target = dWeights + Int(starts[output])
                store(load(target, 0, 8).addingProduct(factor, a), target, 0, 8)
                store(load(target, 8, 8).addingProduct(factor, b), target, 8, 8)
                store(load(target, 16, 8).addingProduct(factor, c), target, 16, 8)
                store(load(target, 24, 8).addingProduct(factor, d), target, 24, 8)
                store(load(target, 32, 8).addingProduct(factor, e), target, 32, 8)
                store(load(target, 40, 8).addingProduct(factor, f), target, 40, 8)
                store(load(target, 48, 8).addingProduct(factor, g), target, 48, 8)
                store(load(target, 56, 8).addingProduct(factor, h), target, 56, 8)
                store(load(target, 64, 8).addingProduct(factor, i), target, 64, 8)
                store(load(target, 72, 8).addingProduct(factor, j), target, 72, 8)
                store(load(target, 80, 8).addingProduct(factor, k), target, 80, 8)
                store(load(target, 88, 8).addingProduct(factor, l), target, 88, 8)
                output &+= 1
            }
        }
    }

    @inline(never)
    private func spreadNarrow(_ input: Floats, _ dWeights: MutableFloats, _ range: Range<Int>, _ length: Int) {
        for row in 0..<rows {
            let value = load(input + start(of: row), 0, length)
            let (gradients, starts) = (dMax + row &* outputs, winnerStarts + row &* outputs)
            for output in range {
                let target = dWeights + Int(starts[output])
                store(load(target, 0, length).addingProduct(Float8(repeating: gradients[output]), value), target, 0, length)
            }
        }
    }
}
