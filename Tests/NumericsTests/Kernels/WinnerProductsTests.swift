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
        let starts = (0..<rows * outputs).map {
            Int32((Int.random(in: 0..<pieces, using: &random) * outputs + $0 % outputs) * weightStride)
        }
        // One adds to what was there, the other overwrites it; the gaps between the rows of weights are untouched.
        var (dInput, dWeights) = (values(space), values(weights.count))
        var (expectedInput, expectedWeights) = (dInput.map(Double.init), dWeights.map(Double.init))
        for row in 0..<pieces * outputs { for k in 0..<inputs { expectedWeights[row * weightStride + k] = 0 } }
        for place in starts.indices {
            let (gradient, start, first) = (operand(dMax[place]), Int(starts[place]), Int(rowStarts[place / outputs]) * stride)
            for k in 0..<inputs {
                expectedInput[first + k] += gradient * operand(weights[start + k])
                expectedWeights[start + k] += gradient * operand(input[first + k])
            }
        }
        dMax.withUnsafeBufferPointer { dMax in
            starts.withUnsafeBufferPointer { starts in
                rowStarts.withUnsafeBufferPointer { rowStarts in
                    guard let dMax = dMax.baseAddress, let starts = starts.baseAddress else { return }
                    let products = WinnerProducts(
                        outputs: outputs, pieces: pieces, inputs: inputs, weightStride: weightStride, rows: rows, dMax: dMax,
                        winnerStarts: starts, rowStarts: rowStarts.baseAddress, rowStride: stride,
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
