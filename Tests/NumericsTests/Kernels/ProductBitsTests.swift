// The kernels of products against the definition, and their bits against a chain of fused multiply-adds: with AVX2, and with AVX-512 if the
// CPU has it.
import CKernels
import TestSupport
import Testing

@testable import Numerics

@Suite struct ProductBitsTests {
    /// What this CPU can use: the widest vectors that it has, and AVX2.
    private static let widths = t2v_has_avx512() == 1 ? [0, Int32(T2V_AVX2)] : [0]

    /// Every variant of a product, at sizes with and without a partial panel, block of rows and pair.
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
        let chain = (0..<m * n).map { place in
            let (row, column) = (place / n, place % n)
            return (0..<k).reduce(flags & 4 != 0 ? start[place] : 0) { sum, p in
                sum.addingProduct(a[isTransposedA ? p * m + row : row * k + p], b[isTransposedB ? column * k + p : p * n + column])
            }
        }
        func largestDifference(_ c: [Float], _ wanted: [Double]) -> Double { zip(c, wanted).map { abs(Double($0) - $1) }.max() ?? 0 }
        for width in Self.widths { #expect(product(flags | width).map(\.bitPattern) == chain.map(\.bitPattern)) }
        #expect(largestDifference(chain, expected { $0 }) < 1e-5)
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

    /// A packed B gives the same bits as one that is not packed.
    @Test(arguments: [Int32(0), Int32(T2V_B_TRANSPOSED)]) func packingChangesNothing(flags: Int32) {
        var random = SplitMix64(state: 6)
        let (m, n, k) = (19, 71, 37)
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let (a, b) = (values(m * k), values(k * n))
        for width in Self.widths {
            let packed = UnsafeMutableRawPointer.allocate(byteCount: t2v_packed_bytes(width, n, k), alignment: 64)
            defer { packed.deallocate() }
            var (plain, fromPacked) = ([Float](repeating: 0, count: m * n), [Float](repeating: 0, count: m * n))
            let stride = flags == 0 ? n : k
            t2v_gemm(flags | width, m, n, k, a, k, b, stride, &plain, n)
            t2v_pack(flags | width, n, k, b, stride, packed)
            t2v_gemm(Int32(T2V_B_PACKED) | width, m, n, k, a, k, packed.assumingMemoryBound(to: Float.self), 0, &fromPacked, n)
            #expect(plain == fromPacked)
        }
    }

    /// Windows that overlap, rows that share an input, separate rows; whole and partial tiles.
    @Test(arguments: [
        (96, 3, 288, 96, 70), (17, 2, 51, 17, 77), (33, 5, 203, 203, 50), (5, 1, 96, 96, 40), (7, 16, 9, 3, 33), (20, 3, 256, 256, 101),
        (64, 3, 192, 64, 49), (40, 3, 100, 50, 55), (16, 3, 104, 20, 99),
    ])
    func winnersAddInOrder(outputs: Int, pieces: Int, inputs: Int, stride: Int, rows: Int) {
        var random = SplitMix64(state: UInt64(outputs * inputs))
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let isShared = stride == inputs
        let rowStarts = (0..<rows).map { Int32(isShared ? Int.random(in: 0..<rows, using: &random) : $0) }
        let space = rows * stride + inputs
        let (dMax, weights, input) = (values(rows * outputs), values(pieces * outputs * inputs), values(space))
        let starts = (0..<rows * outputs).map { Int32((Int.random(in: 0..<pieces, using: &random) * outputs + $0 % outputs) * inputs) }
        let dInput = values(space)

        var (expectedInput, expectedWeights) = (dInput, [Float](repeating: 0, count: weights.count))
        for first in Swift.stride(from: 0, to: outputs, by: 16) {
            var column = 0
            while column < inputs {
                let length = inputs - column >= 96 ? 96 : min(8, inputs - column)
                for row in 0..<rows {
                    for k in column..<column + length {
                        for place in row * outputs + first..<row * outputs + min(first + 16, outputs) {
                            expectedInput[Int(rowStarts[row]) * stride + k].addProduct(dMax[place], weights[Int(starts[place]) + k])
                        }
                    }
                }
                column += length
            }
        }
        for row in 0..<rows {
            for place in row * outputs..<(row + 1) * outputs {
                for k in 0..<inputs {
                    expectedWeights[Int(starts[place]) + k].addProduct(dMax[place], input[Int(rowStarts[row]) * stride + k])
                }
            }
        }

        for width in Self.widths {
            // What was in dWeights is overwritten.
            var (foundInput, foundWeights) = (dInput, weights)
            dMax.withUnsafeBufferPointer { dMax in
                starts.withUnsafeBufferPointer { starts in
                    rowStarts.withUnsafeBufferPointer { rowStarts in
                        var winners = t2v_winners(
                            outputs: outputs, pieces: pieces, inputs: inputs, rows: rows, gradients: dMax.baseAddress,
                            weight_stride: inputs, starts: starts.baseAddress, row_starts: rowStarts.baseAddress, row_stride: stride)
                        t2v_winners_input_gradient(width, &winners, weights, &foundInput)
                        t2v_winners_weight_gradient(width, &winners, input, &foundWeights)
                    }
                }
            }
            #expect(foundInput.map(\.bitPattern) == expectedInput.map(\.bitPattern))
            #expect(foundWeights.map(\.bitPattern) == expectedWeights.map(\.bitPattern))
        }
    }
}
