// The kernels of products against the definition, and their bits against a chain of fused multiply-adds: with AVX2, and with AVX-512 if the
// CPU has it.
import Base
import CKernels
import TestSupport
import Testing

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

    /// Neighbours share products, two by two. Rows of input, in runs: each run's first window, and how many there are.
    @Test(arguments: [[(0, 1)], [(1, 2), (6, 3)], [(0, 31), (40, 1), (44, 16), (63, 30)]], [(33, 17), (96, 32)])
    func convolutionsEqualTheDefinition(runs: [(first: Int, count: Int)], size: (n: Int, k: Int)) {
        var random = SplitMix64(state: UInt64(size.n))
        let (n, k) = size
        let starts = runs.flatMap { run in (0..<run.count).map { Int32(run.first + $0) } }
        let isSecond = runs.flatMap { run in (0..<run.count).map { $0 % 2 == 1 } }
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let (below, weights) = (values((Int(starts.last ?? 0) + 3) * k), values(n * 3 * k))
        let sums = starts.indices.flatMap { row in
            (0..<n).map { output in
                Self.convolved(below[(Int(starts[row]) * k)...], weights[(output * 3 * k)...], k: k, isSecond: isSecond[row])
            }
        }
        let wanted = starts.flatMap { start in
            (0..<n).map { output in
                (0..<3 * k).reduce(0.0) { $0 + Double(below[Int(start) * k + $1]) * Double(weights[output * 3 * k + $1]) }
            }
        }
        #expect(zip(sums, wanted).allSatisfy { abs(Double($0) - $1) < 2e-5 })
        for width in Self.widths {
            var (plain, fromPacked) = ([Float](repeating: .nan, count: sums.count), [Float](repeating: .nan, count: sums.count))
            let flags = width | Int32(T2V_WINDOWS)
            let packed = UnsafeMutableRawPointer.allocate(byteCount: t2v_packed_bytes(flags, n, 3 * k), alignment: 64)
            defer { packed.deallocate() }
            t2v_pack(flags, n, 3 * k, weights, 3 * k, packed)
            let panels = packed.assumingMemoryBound(to: Float.self)
            let products = t2v_convolve(width, starts.count, n, k, below, starts, weights, 3 * k, &plain, n)
            _ = t2v_convolve(width | Int32(T2V_B_PACKED), starts.count, n, k, below, starts, panels, 0, &fromPacked, n)
            #expect(products == runs.reduce(0) { $0 + $1.count / 2 * 4 + $1.count % 2 * 3 })
            #expect(plain.map(\.bitPattern) == sums.map(\.bitPattern) && fromPacked.map(\.bitPattern) == sums.map(\.bitPattern))
        }
    }

    /// One output of the window at the start of `d`: as the first row of a pair, or as the second.
    private static func convolved(_ d: ArraySlice<Float>, _ windows: ArraySlice<Float>, k: Int, isSecond: Bool) -> Float {
        let (d, w) = (Array(d.prefix(3 * k)), Array(windows.prefix(3 * k)))
        // Where the rows in the middle of the pair's four begin.
        let (d1, d2) = isSecond ? (0, k) : (k, 2 * k)
        var (m1, m2): (Float, Float) = (0, 0)
        for p in 0..<k {
            m1.addProduct(d[d1 + p] + d[d2 + p], 0.5 * (w[p] + w[2 * k + p] + w[k + p]))
            m2.addProduct(d[d2 + p] - d[d1 + p], 0.5 * (w[p] + w[2 * k + p] - w[k + p]))
        }
        return (0..<k).reduce(isSecond ? m1 - m2 : m1 + m2) { sum, p in
            isSecond ? sum.addingProduct(d[2 * k + p] - d[p], w[2 * k + p]) : sum.addingProduct(d[p] - d[2 * k + p], w[p])
        }
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

    /// Windows that overlap, rows that share an input, separate rows; whole and partial tiles, bands, blocks and slabs.
    @Test(
        arguments: [T2V_BY_ROW, 0],
        [
            (96, 3, 288, 96, 70), (17, 2, 51, 17, 77), (33, 5, 203, 203, 50), (5, 1, 96, 96, 40), (7, 16, 9, 3, 33), (20, 3, 256, 256, 101),
            (64, 3, 192, 64, 49), (40, 3, 100, 50, 55), (16, 3, 104, 20, 99), (96, 3, 288, 96, 170),
            (17, 2, 51, 17, 128), (5, 1, 96, 96, 140), (20, 4, 70, 40, 300), (5, 3, 33, 33, 1100),
        ])
    func winnersAddInOrder(flags: Int, shape: (Int, Int, Int, Int, Int)) {
        let (outputs, pieces, inputs, stride, rows) = shape
        var random = SplitMix64(state: UInt64(outputs * inputs))
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
        let isShared = stride == inputs
        let rowStarts = (0..<rows).map { Int32(isShared ? Int.random(in: 0..<rows, using: &random) : $0) }
        let space = rows * stride + inputs
        let (dMax, weights, input) = (values(rows * outputs), values(pieces * outputs * inputs), values(space))
        let won = (0..<rows * outputs).map { _ in UInt8.random(in: 0..<UInt8(pieces), using: &random) }
        let dInput = values(space)
        // Aligned, inputs may be read where they are.
        let aligned = UnsafeMutableBufferPointer<Float>(
            start: LargeMemory.allocate(byteCount: 4 * space).bindMemory(to: Float.self, capacity: space), count: space)
        defer { aligned.deallocate() }
        _ = aligned.initialize(from: input)

        var expected = WinnerSums(
            outputs: outputs, pieces: pieces, inputs: inputs, stride: stride, rows: rows, rowStarts: rowStarts, dMax: dMax,
            weights: weights, input: input, won: won, dInput: dInput, dWeights: [Float](repeating: 0, count: weights.count))
        if flags == T2V_BY_ROW || pieces > T2V_SORTED_PIECES { expected.addByRow() } else { expected.addSorted() }

        for width in Self.widths {
            // What was in dWeights is overwritten.
            var (foundInput, foundWeights) = (dInput, weights)
            var (onlyInput, onlyWeights) = (dInput, weights)
            dMax.withUnsafeBufferPointer { dMax in
                won.withUnsafeBufferPointer { won in
                    rowStarts.withUnsafeBufferPointer { rowStarts in
                        var winners = t2v_winners(
                            outputs: outputs, pieces: pieces, inputs: inputs, rows: rows, gradients: dMax.baseAddress,
                            weight_stride: inputs, won: won.baseAddress, row_starts: rowStarts.baseAddress, row_stride: stride, lanes: nil)
                        t2v_winners_gradients(width | Int32(flags), &winners, weights, aligned.baseAddress, &foundWeights, &foundInput)
                        t2v_winners_gradients(width | Int32(flags), &winners, weights, aligned.baseAddress, nil, &onlyInput)
                        t2v_winners_gradients(width | Int32(flags), &winners, weights, aligned.baseAddress, &onlyWeights, nil)
                    }
                }
            }
            #expect(foundInput.map(\.bitPattern) == expected.dInput.map(\.bitPattern))
            #expect(foundWeights.map(\.bitPattern) == expected.dWeights.map(\.bitPattern))
            #expect(onlyInput.map(\.bitPattern) == foundInput.map(\.bitPattern))
            #expect(onlyWeights.map(\.bitPattern) == foundWeights.map(\.bitPattern))
        }
    }
}

/// The order of additions of products through winners, as t2v_kernels.h states it.
private struct WinnerSums {
    let outputs: Int
    let pieces: Int
    let inputs: Int
    let stride: Int
    let rows: Int
    let rowStarts: [Int32]
    let dMax: [Float]
    let weights: [Float]
    let input: [Float]
    let won: [UInt8]
    var dInput: [Float]
    var dWeights: [Float]

    mutating func addByRow() {
        for some in tiles(0..<outputs, by: 16) {
            let wide = inputs / 96 * 96
            for columns in tiles(0..<wide, by: 96) + tiles(wide..<inputs, by: 8) {
                for row in 0..<rows { addInput(row: row, outputs: some, columns: columns) }
            }
        }
        for row in 0..<rows { addWeights(row: row, outputs: 0..<outputs) }
    }

    mutating func addSorted() {
        for slab in tiles(0..<rows, by: 1_024) {
            for band in tiles(0..<outputs, by: 32) {
                for columns in tiles(0..<inputs, by: stride) {
                    for row in slab { addInput(row: row, outputs: band, columns: columns) }
                }
            }
        }
        for block in tiles(0..<rows, by: 128) {
            for pair in tiles(0..<outputs, by: 2) {
                for row in sorted(block, by: pair) { addWeights(row: row, outputs: pair) }
            }
        }
    }

    /// Where the winner's weights begin.
    private func start(_ place: Int) -> Int { (Int(won[place]) * outputs + place % outputs) * inputs }

    private mutating func addInput(row: Int, outputs some: Range<Int>, columns: Range<Int>) {
        for k in columns {
            for place in some.lowerBound + row * outputs..<some.upperBound + row * outputs {
                dInput[Int(rowStarts[row]) * stride + k].addProduct(dMax[place], weights[start(place) + k])
            }
        }
    }

    private mutating func addWeights(row: Int, outputs some: Range<Int>) {
        for place in some.lowerBound + row * outputs..<some.upperBound + row * outputs {
            for k in 0..<inputs { dWeights[start(place) + k].addProduct(dMax[place], input[Int(rowStarts[row]) * stride + k]) }
        }
    }

    /// By the pieces that won in a pair of outputs, then by number.
    private func sorted(_ block: Range<Int>, by pair: Range<Int>) -> [Int] {
        let winners = Dictionary(grouping: block) { row in
            pair.reduce(0) { $0 * pieces + Int(won[row * outputs + $1]) }
        }
        return winners.sorted { $0.key < $1.key }.flatMap(\.value)
    }

    private func tiles(_ range: Range<Int>, by size: Int) -> [Range<Int>] {
        Swift.stride(from: range.lowerBound, to: range.upperBound, by: size).map { $0..<min($0 + size, range.upperBound) }
    }
}
