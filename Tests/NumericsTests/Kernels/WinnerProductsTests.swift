// Products through winners against plain sums of the operands as they are rounded.
import Base
import TestSupport
import Testing

@testable import Numerics

@Suite struct WinnerProductsTests {
    /// Windows that overlap, rows that share an input, separate rows; odd outputs, partial tiles and vectors, one piece and many, more rows
    /// than are sorted or multiplied at a time.
    @Test(
        arguments: Arithmetic.allCases.filter(\.isPossibleHere),
        [
            (96, 3, 288, 96, 70), (17, 2, 51, 17, 77), (33, 5, 203, 203, 51), (5, 1, 96, 96, 40), (7, 16, 9, 3, 33),
            (20, 3, 100, 40, 1101), (1, 3, 33, 33, 1), (20, 4, 100, 100, 300), (19, 3, 203, 5, 300),
            (17, 2, 51, 17, 130), (5, 1, 96, 96, 140),
        ])
    func equalPlainSums(arithmetic: Arithmetic, shape: (Int, Int, Int, Int, Int)) {
        let (outputs, pieces, inputs, stride, rows) = shape
        var random = SplitMix64(state: UInt64(outputs * inputs))
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        func operand(_ value: Float) -> Double { arithmetic == .bf16 ? half(value) : Double(value) }
        let weightStride = inputs + 3
        let rowStarts = (0..<rows).map { Int32(stride == inputs ? Int.random(in: 0..<rows, using: &random) : $0) }
        let space = rows * stride + inputs
        let (dMax, weights, input) = (values(rows * outputs), values(pieces * outputs * weightStride), values(space))
        let won = (0..<rows * outputs).map { _ in UInt8.random(in: 0..<UInt8(pieces), using: &random) }
        // One adds to what was there, the other overwrites it; the gaps between the rows of weights are untouched.
        var (dInput, dWeights) = (values(space), values(weights.count))
        var (expectedInput, expectedWeights) = (dInput.map(Double.init), dWeights.map(Double.init))
        for row in 0..<pieces * outputs { for k in 0..<inputs { expectedWeights[row * weightStride + k] = 0 } }
        for place in won.indices {
            let (gradient, first) = (operand(dMax[place]), Int(rowStarts[place / outputs]) * stride)
            let start = (Int(won[place]) * outputs + place % outputs) * weightStride
            for k in 0..<inputs {
                expectedInput[first + k] += gradient * operand(weights[start + k])
                expectedWeights[start + k] += gradient * operand(input[first + k])
            }
        }
        dMax.withUnsafeBufferPointer { dMax in
            won.withUnsafeBufferPointer { won in
                rowStarts.withUnsafeBufferPointer { rowStarts in
                    guard let dMax = dMax.baseAddress, let won = won.baseAddress else { return }
                    let products = WinnerProducts(
                        outputs: outputs, pieces: pieces, inputs: inputs, weightStride: weightStride, rows: rows, dMax: dMax,
                        won: won, rowStarts: rowStarts.baseAddress, rowStride: stride,
                        order: WinnerOrder(arithmetic, expectedRows: rows))
                    products.gradients(weights: weights, input: input, dWeights: &dWeights, dInput: &dInput)
                }
            }
        }
        #expect(relativeError(dInput, expectedInput) < 1e-6)
        #expect(relativeError(dWeights, expectedWeights) < 1e-6)
    }

    /// To the nearest bf16, ties to even.
    private func half(_ value: Float) -> Double {
        let bits = value.bitPattern
        return Double(Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000))
    }
}
