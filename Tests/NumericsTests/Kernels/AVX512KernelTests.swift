// The AVX-512 kernels against the definition and against the Swift kernels that do the same work on other CPUs.
import CKernels
import TestSupport
import Testing

@testable import Numerics

@Suite(.enabled(if: t2v_has_avx512() == 1, "this CPU has no AVX-512")) struct AVX512KernelTests {
    /// Every variant of a product, at sizes with and without a rest of a panel, of a block of rows, and of a pair.
    @Test(arguments: [(1, 1, 1), (14, 32, 16), (15, 33, 17), (29, 70, 40), (3, 200, 5)], [Int32(0), 1, 2, 3, 4, 7])
    func productsEqualTheDefinition(size: (Int, Int, Int), flags: Int32) {
        let (m, n, k) = size
        var random = SplitMix64(state: UInt64(m * n * k))
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let (a, b, start) = (values(m * k), values(k * n), values(m * n))
        let (isTransposedA, isTransposedB) = (flags & 1 != 0, flags & 2 != 0)
        func expected(_ rounded: (Float) -> Float) -> [Double] {
            (0..<m * n).map { place in
                let (row, column) = (place / n, place % n)
                let sum = (0..<k).reduce(0.0) { sum, p in
                    let x = rounded(a[isTransposedA ? p * m + row : row * k + p])
                    let y = rounded(b[isTransposedB ? column * k + p : p * n + column])
                    return sum + Double(x) * Double(y)
                }
                return sum + (flags & 4 != 0 ? Double(start[place]) : 0)
            }
        }
        func product(_ flags: Int32) -> [Float] {
            var c = start
            t2v_gemm(flags, m, n, k, a, isTransposedA ? m : k, b, isTransposedB ? k : n, &c, n)
            return c
        }
        func largestDifference(_ c: [Float], _ wanted: [Double]) -> Double { zip(c, wanted).map { abs(Double($0) - $1) }.max() ?? 0 }
        #expect(largestDifference(product(flags), expected { $0 }) < 1e-5)
        if t2v_has_avx512_bf16() == 1 { #expect(largestDifference(product(flags | 8), expected(Self.half)) < 1e-5) }
    }

    /// To the nearest bf16, ties to even.
    private static func half(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    }

    /// A row's bits depend on that row and B alone.
    @Test func rowsDoNotDependOnTheirNumber() {
        var random = SplitMix64(state: 5)
        let (m, n, k) = (31, 45, 37)
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let (a, b) = (values(m * k), values(k * n))
        var (all, one) = ([Float](repeating: 0, count: m * n), [Float](repeating: 0, count: n))
        t2v_gemm(0, m, n, k, a, k, b, n, &all, n)
        for row in 0..<m {
            t2v_gemm(0, 1, n, k, Array(a[row * k..<(row + 1) * k]), k, b, n, &one, n)
            #expect(one == Array(all[row * n..<(row + 1) * n]))
        }
    }

    /// Windows that overlap, rows that share an input, rows apart; whole tiles and rests. The same bits as in Swift, not almost the same.
    @Test(arguments: [
        (96, 3, 288, 96, 70), (17, 2, 51, 17, 77), (33, 5, 203, 203, 50), (5, 1, 96, 96, 40), (7, 16, 9, 3, 33), (20, 3, 256, 256, 101),
        (64, 3, 192, 64, 49),
    ])
    func winnersGiveTheBitsOfSwift(outputs: Int, pieces: Int, inputs: Int, stride: Int, rows: Int) {
        var random = SplitMix64(state: UInt64(outputs * inputs))
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let isShared = stride == inputs
        let rowStarts = (0..<rows).map { Int32(isShared ? Int.random(in: 0..<rows, using: &random) : $0) }
        let space = rows * stride + inputs
        let (dMax, weights, input) = (values(rows * outputs), values(pieces * outputs * inputs), values(space))
        let starts = (0..<rows * outputs).map { Int32((Int.random(in: 0..<pieces, using: &random) * outputs + $0 % outputs) * inputs) }
        var (dInput, dWeights) = (values(space), values(weights.count))
        var (swiftInput, swiftWeights) = (dInput, dWeights)
        dMax.withUnsafeBufferPointer { dMax in
            starts.withUnsafeBufferPointer { starts in
                rowStarts.withUnsafeBufferPointer { rowStarts in
                    guard let dMax = dMax.baseAddress, let starts = starts.baseAddress, let rowStarts = rowStarts.baseAddress
                    else { return }
                    let products = WinnerProducts(
                        outputs: outputs, pieces: pieces, inputs: inputs, weightStride: inputs, rows: rows, dMax: dMax,
                        winnerStarts: starts, rowStarts: rowStarts, rowStride: stride, usesAVX512: false)
                    products.inputGradient(weights: weights, dInput: &swiftInput)
                    products.weightGradient(dWeights: &swiftWeights, input: input)
                    var winners = t2v_winners(
                        outputs: outputs, pieces: pieces, inputs: inputs, rows: rows, gradients: dMax, weight_stride: inputs,
                        starts: starts, row_starts: rowStarts, row_stride: stride)
                    t2v_winners_input_gradient(&winners, weights, &dInput)
                    t2v_winners_weight_gradient(&winners, input, &dWeights)
                }
            }
        }
        #expect(dInput.map(\.bitPattern) == swiftInput.map(\.bitPattern))
        #expect(dWeights.map(\.bitPattern) == swiftWeights.map(\.bitPattern))
    }
}
