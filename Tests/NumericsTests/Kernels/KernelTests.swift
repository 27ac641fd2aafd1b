// Each kernel alone against a naive reference and finite differences, at widths with and without a partial vector.
import Base
import TestSupport
import Testing

@testable import Model
@testable import Numerics

@Suite struct KernelTests {
    /// A row of values and gradients in double precision, from the definition.
    struct NaiveRow {
        var output: [Double]
        var winner: [Int]

        init(z: [Float], bias: [Float], gain: [Float], shift: [Float], residual: [Float], factors: [Double], pieces: Int) {
            let outputs = gain.count
            winner = [Int](repeating: 0, count: outputs)
            var best = [Double](repeating: 0, count: outputs)
            for o in 0..<outputs {
                for p in 0..<pieces {
                    let value = Double(z[p * outputs + o]) + Double(bias[p * outputs + o])
                    if p == 0 || value > best[o] { (best[o], winner[o]) = (value, p) }
                }
            }
            let mean = best.reduce(0, +) / Double(outputs)
            let variance = best.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(outputs) + 1e-8
            output = (0..<outputs).map {
                let normalized = (best[$0] - mean) / variance.squareRoot()
                return Double(residual[$0]) + (normalized * Double(gain[$0]) + Double(shift[$0])) * factors[$0]
            }
        }
    }

    @Test(arguments: [5, 8, 96, 264, 300], [1, 2, 3, 4, 6]) func maxoutLayerNorm(width: Int, pieces: Int) throws {
        var random = SplitMix64(state: UInt64(width * 10 + pieces))
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        var (z, bias, gain, shift) = (values(pieces * width), values(pieces * width), values(width), values(width))
        let (residual, dOut) = (values(width), values(width))
        // A tie: the first piece wins.
        if pieces > 1 { (z[width], bias[width]) = (z[0], bias[0]) }
        let words = planeWords(width: width)
        var kept = (0..<words).map { _ in UInt32.random(in: 0...UInt32.max, using: &random) }
        let factors = (0..<width).map { kept[8 * ($0 / 256) + $0 % 8] >> UInt32(($0 / 8) % 32) & 1 == 1 ? 1.25 : 0.0 }
        var (normalized, out, dMax, dGain, dShift) = (values(width), values(width), values(width), values(width), values(width))
        let before = (dGain, dShift)
        var winners = [UInt32](repeating: .max, count: (pieces - 1) * words)
        var routed = [Float](repeating: .nan, count: pieces * width)
        var added = routed
        let naive = NaiveRow(
            z: z, bias: bias, gain: gain, shift: shift, residual: residual, factors: factors, pieces: pieces)
        withPointers(&bias, &gain, &shift) { bias, gain, shift in
            let kernel = MaxoutLayerNorm(
                outputs: width, pieces: pieces, epsilon: 1e-8, bias: bias, gain: gain, shift: shift, keepScale: 1.25)
            #expect(kernel.winnerWords == winners.count)
            winners.withUnsafeMutableBufferPointer { winners in
                let unused = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
                defer { unused.deallocate() }
                let winners = winners.baseAddress ?? unused
                var inverse: Float = 0
                kernel.forward(
                    z: z, residual: residual, kept: kept, winners: winners, normalized: &normalized, inverse: &inverse, out: &out)
                kernel.backward(
                    dOut: dOut, kept: kept, normalized: normalized, inverse: &inverse, dGain: &dGain, dShift: &dShift, dMax: &dMax)
                kernel.route(dMax: dMax, winners: winners, to: &routed)
                added = routed.map { $0 + 0.5 }
                kernel.route(dMax: dMax, winners: winners, addedTo: &added)
            }
        }
        for o in 0..<width {
            #expect(abs(Double(out[o]) - naive.output[o]) < 1e-4)
            for p in 0..<pieces where p != naive.winner[o] { #expect(routed[p * width + o] == 0) }
            #expect(routed[naive.winner[o] * width + o] == dMax[o])
            for p in 0..<pieces { #expect(added[p * width + o] == routed[p * width + o] + 0.5 + routed[p * width + o]) }
        }
        // Finite differences of the naive row: of sum(dOut * output) by z, gain and shift.
        func objective(_ z: [Float], _ gain: [Float], _ shift: [Float]) -> Double {
            let row = NaiveRow(z: z, bias: bias, gain: gain, shift: shift, residual: residual, factors: factors, pieces: pieces)
            return zip(row.output, dOut).reduce(0) { $0 + $1.0 * Double($1.1) }
        }
        func slope(_ values: [Float], _ index: Int, _ run: ([Float]) -> Double) -> Double {
            var (above, below) = (values, values)
            above[index] += 1e-3
            below[index] -= 1e-3
            return (run(above) - run(below)) / (Double(above[index]) - Double(below[index]))
        }
        for _ in 0..<12 {
            let o = Int.random(in: pieces > 1 ? 1..<width : 0..<width, using: &random)
            let place = naive.winner[o] * width + o
            let margin = (0..<pieces).filter { $0 != naive.winner[o] }.map {
                z[place] + bias[place] - z[$0 * width + o] - bias[$0 * width + o]
            }
            if (margin.min() ?? 1) > 3e-3 {
                #expect(abs(slope(z, place) { objective($0, gain, shift) } - Double(routed[place])) < 2e-3, "z")
            }
            #expect(abs(slope(gain, o) { objective(z, $0, shift) } - Double(dGain[o] - before.0[o])) < 2e-3, "G")
            #expect(abs(slope(shift, o) { objective(z, gain, $0) } - Double(dShift[o] - before.1[o])) < 2e-3, "b")
        }
        _ = kept.removeLast()
    }

    private func withPointers(
        _ a: inout [Float], _ b: inout [Float], _ c: inout [Float],
        _ body: (UnsafePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>) -> Void
    ) {
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                c.withUnsafeBufferPointer { c in
                    if let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress { body(a, b, c) }
                }
            }
        }
    }

    @Test(arguments: LossFunction.allCases, [3, 8, 300]) func losses(function: LossFunction, width: Int) {
        var random = SplitMix64(state: UInt64(width))
        func values() -> [Float] { (0..<width).map { _ in Float.random(in: -1...1, using: &random) } }
        let (prediction, bias, target) = (values(), values(), values())
        func naive(_ prediction: [Float]) -> Double {
            let y = zip(prediction, bias).map { Double($0) + Double($1) + (function == .cosine ? 1e-8 : 0) }
            let t = target.map { Double($0) + (function == .cosine ? 1e-8 : 0) }
            if function == .l2 { return zip(y, t).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } }
            let norms = (y.reduce(0) { $0 + $1 * $1 } * t.reduce(0) { $0 + $1 * $1 }).squareRoot()
            return abs(zip(y, t).reduce(0) { $0 + $1.0 * $1.1 } / norms - 1)
        }
        var gradient = prediction
        let loss = VectorsLoss(function: function, width: width).apply(row: &gradient, bias: bias, target: target)
        #expect(abs(Double(loss) - naive(prediction)) < 1e-5 * max(1, naive(prediction)))
        for index in stride(from: 0, to: width, by: max(1, width / 7)) {
            var (above, below) = (prediction, prediction)
            above[index] += 1e-3
            below[index] -= 1e-3
            let slope = (naive(above) - naive(below)) / (Double(above[index]) - Double(below[index]))
            #expect(abs(slope - Double(gradient[index]) * (function == .l2 ? 2 : 1)) < 1e-3)
        }
    }

    @Test(arguments: [5, 16, 96]) func hashEmbed(width: Int) {
        var random = SplitMix64(state: UInt64(width))
        let table = (0..<7 * width).map { _ in Float.random(in: -1...1, using: &random) }
        let factors = (0..<width).map { _ in Bool.random(using: &random) ? Float(1.25) : 0 }
        // The second id has one row twice.
        let rows: [UInt32] = [0, 3, 6, 1, 2, 2, 5, 0]
        var output = [Float](repeating: .nan, count: 2 * width)
        TableRows.forward(table: table, width: width, rows: rows, count: 2, factors: factors, output: &output)
        var dTable = [Float](repeating: 0, count: table.count)
        // Two lanes of one id; the first row gets one from each.
        var room = [Float](repeating: .nan, count: width)
        TableRows.backward(
            dOutput: output, width: width, rows: rows, lanes: LaneRows(starts: [0, 1, 2], merges: [0, 1]), lists: RowLists(rows: 7),
            room: &room, dTable: &dTable)
        var expected = [Float](repeating: 0, count: table.count)
        for id in 0..<2 {
            for unit in 0..<width {
                let sum = (0..<4).reduce(Float(0)) { $0 + table[Int(rows[4 * id + $1]) * width + unit] }
                #expect(abs(output[id * width + unit] - sum * factors[unit]) < 1e-6)
                for key in 0..<4 { expected[Int(rows[4 * id + key]) * width + unit] += output[id * width + unit] }
            }
        }
        #expect(zip(dTable, expected).allSatisfy { abs($0 - $1) < 1e-5 })
    }

    @Test func productsOfEveryKind() {
        var random = SplitMix64(state: 3)
        let (m, n, k) = (7, 5, 9)
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let (a, b) = (values(m * k), values(k * n))
        let aT = (0..<k * m).map { a[$0 % m * k + $0 / m] }
        let bT = (0..<n * k).map { b[$0 % k * n + $0 / k] }
        let expected = (0..<m * n).map { index in
            (0..<k).reduce(Float(0)) { $0 + a[index / n * k + $1] * b[$1 * n + index % n] }
        }
        func close(_ c: [Float], _ factor: Float = 1) -> Bool { zip(c, expected).allSatisfy { abs($0 - factor * $1) < 1e-5 } }
        var c = [Float](repeating: .nan, count: m * n)
        MatrixMultiply(.blas).times(m: m, n: n, k: k, a, lda: k, b, ldb: n, &c, ldc: n)
        #expect(close(c))
        MatrixMultiply(.blas).timesTransposed(m: m, n: n, k: k, a, lda: k, bT, ldb: k, &c, ldc: n, accumulate: true)
        #expect(close(c, 2))
        MatrixMultiply(.blas).transposedTimes(m: m, n: n, k: k, aT, lda: m, b, ldb: n, &c, ldc: n)
        #expect(close(c))
        MatrixMultiply(.blas).times(m: m, n: n, k: 0, a, lda: 1, b, ldb: n, &c, ldc: n)
        #expect(c.allSatisfy { $0 == 0 })
    }

    /// OpenBLAS takes Prescott's kernels for CPUs that are newer than itself.
    @Test func kernelsOfOldCPUsAreNotForNewOnes() {
        #expect(MatrixMultiply.betterCore(than: "Prescott", hasAVX512: true) == "SkylakeX")
        #expect(MatrixMultiply.betterCore(than: "Sandybridge", hasAVX512: false) == "Haswell")
        for core in ["Haswell", "Zen", "SkylakeX", "Cooperlake", "Sapphirerapids", "a later one"] {
            #expect(MatrixMultiply.betterCore(than: core, hasAVX512: true) == nil)
        }
    }

    @Test func slowPrecisionIsNamed() {
        #expect(Arithmetic.warning(ratio: 0.5)?.contains("take 2.0 times as long; use float32") == true)
        #expect(Arithmetic.warning(ratio: 1.8) == nil && Arithmetic.native.warning == nil && Arithmetic.blas.warning == nil)
    }
}
