// Matrix products. In: row-major blocks with leading dimensions. Out: C. The only file that imports OpenBLAS.
import Base
import CKernels
import COpenBLAS

extension Arithmetic {
    /// Whether this CPU supports this arithmetic.
    package var isPossibleHere: Bool { self != .bf16 || t2v_has_avx512_bf16() == 1 }

    /// - Throws: `InputError` if this CPU does not support it.
    package func checkHost() throws(InputError) {
        guard isPossibleHere else {
            throw InputError(
                "precision bf16 needs a CPU with AVX512-BF16 (Intel Cooper Lake or Sapphire Rapids, AMD Zen 4, or later)", at: "this host",
                remedy: "use such a host, or float32")
        }
    }

    /// What to tell the user if this CPU multiplies more slowly in this arithmetic than in float32; nil: it does not. Takes some 40
    /// milliseconds. On Emerald Rapids products have half the rate of float32's.
    package var warning: String? {
        guard self == .bf16 else { return nil }
        return Self.warning(
            ratio: MatrixMultiply(self).operationsPerSecond(products: 10) / MatrixMultiply(.native).operationsPerSecond(products: 10))
    }

    /// - Parameter ratio: products a second, against float32.
    static func warning(ratio: Double) -> String? {
        guard ratio < 1 else { return nil }
        return "precision bf16 is slower than float32 on this CPU: its products take \((1 / ratio).fixed(1)) times as long; use float32"
    }
}

/// Products on one thread. With OpenBLAS a row's bits depend on the number of rows, so a product is never shared among lanes or threads.
package struct MatrixMultiply: Sendable {
    let arithmetic: Arithmetic
    /// Of t2v_gemm; nil: OpenBLAS.
    private let kernelFlags: Int32?

    package init(_ arithmetic: Arithmetic) {
        self.arithmetic = arithmetic
        kernelFlags = arithmetic == .blas ? nil : arithmetic == .bf16 ? Int32(T2V_BF16) : 0
    }

    /// Set once, before the first product: on a busy core two BLAS threads cost more than they gain, and they change bits.
    private static let ready: Void = openblas_set_num_threads(1)

    /// OpenBLAS's kernel family, "SkylakeX" or "Haswell", say.
    package static var coreName: String {
        guard let name = openblas_get_corename() else { return "unknown" }
        return String(cString: name)
    }

    /// A kernel family that fits this CPU better than the one that OpenBLAS has chosen; nil: it has chosen well. OpenBLAS takes its oldest
    /// for a CPU that is newer than itself (0.3.21, Emerald Rapids: Prescott's, a fifth as fast).
    /// - Precondition: the CPU is an x86-64-v3 one.
    package static var betterCore: String? { betterCore(than: coreName, hasAVX512: t2v_has_avx512() == 1) }

    static func betterCore(than chosen: String, hasAVX512: Bool) -> String? {
        withoutAVX2.contains(chosen.lowercased()) ? (hasAVX512 ? "SkylakeX" : "Haswell") : nil
    }

    private static let withoutAVX2: Set = [
        "katmai", "coppermine", "northwood", "prescott", "banias", "core2", "penryn", "dunnington", "nehalem", "sandybridge", "atom",
        "nano", "athlon", "opteron", "opteron_sse3", "barcelona", "bobcat", "bulldozer", "piledriver", "steamroller",
    ]

    /// OpenBLAS's version and build options in one line.
    package static var configuration: String {
        guard let text = openblas_get_config() else { return "unknown" }
        return String(cString: text)
    }

    /// C (m, n) = A (m, k) B(n, k)^T: a layer's forward pass.
    /// - Parameter accumulate: adds to C instead of overwriting it.
    func timesTransposed(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, _ b: Floats, ldb: Int, _ c: MutableFloats, ldc: Int, accumulate: Bool = false
    ) {
        product(CblasNoTrans, CblasTrans, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
    }

    /// C (m, n) = A (m, k) B(k, n): the gradient of a layer's input.
    func times(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, _ b: Floats, ldb: Int, _ c: MutableFloats, ldc: Int, accumulate: Bool = false
    ) {
        product(CblasNoTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
    }

    /// C (m, n) = A(k, m)^T B(k, n): the gradient of a layer's weights.
    func transposedTimes(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, _ b: Floats, ldb: Int, _ c: MutableFloats, ldc: Int, accumulate: Bool = false
    ) {
        product(CblasTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
    }

    /// C (m, n) = A(k, m)^T B(k, n), summed over the rows of each lane, then over the lanes.
    func transposedTimes(
        m: Int, n: Int, lanes: LaneRows, _ a: Floats, lda: Int, _ b: Floats, ldb: Int, _ c: MutableFloats, ldc: Int, _ sums: LaneMatrixSum
    ) {
        let isDone = lanes.withKernelLanes { lanes in
            guard let kernelFlags else { return false }
            t2v_gemm_lanes(kernelFlags, m, n, lanes, a, lda, b, ldb, c, ldc)
            return true
        }
        if isDone { return }
        sums.add(rows: m, columns: n, stride: ldc, merges: lanes.merges, into: c) { lane, target in
            let rows = lanes[lane]
            let (a, b) = (a + rows.lowerBound * lda, b + rows.lowerBound * ldb)
            transposedTimes(m: m, n: n, k: rows.count, a, lda: lda, b, ldb: ldb, target, ldc: ldc)
        }
    }

    /// C (m, n) = A (m, k) B, where B (k, n) was packed with `flags(ofTransposed:)`. The same bits as without packing.
    func timesPacked(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, _ panels: UnsafeRawPointer, _ c: MutableFloats, ldc: Int, accumulate: Bool = false
    ) {
        let flags = (kernelFlags ?? 0) | Int32(T2V_B_PACKED) | Int32(accumulate ? T2V_ACCUMULATE : 0)
        t2v_gemm(flags, m, n, k, a, lda, panels.assumingMemoryBound(to: Float.self), 0, c, ldc)
    }

    /// Whether a convolution can read its windows in place. With OpenBLAS and in bf16 they are gathered for an ordinary product.
    static func convolves(_ arithmetic: Arithmetic) -> Bool { arithmetic == .native }

    /// C (m, n) = windows of three rows times W (n, 3 k)^T, by t2v_convolve: neighbours share products.
    /// - Parameters:
    ///   - below: (rows, k).
    ///   - starts: (m): where each window begins.
    ///   - weights: W.
    /// - Precondition: `convolves` this arithmetic.
    /// - Returns: how many rows of k floats were multiplied with n columns.
    func convolve(
        m: Int, n: Int, k: Int, _ below: Floats, starts: UnsafePointer<Int32>, _ weights: Floats, _ c: MutableFloats, ldc: Int
    ) -> Int {
        t2v_convolve(0, m, n, k, below, starts, weights, 3 * k, c, ldc)
    }

    /// The same for some of the columns of C.
    /// - Parameters:
    ///   - packed: what t2v_pack made of all of W with `windowFlags`.
    ///   - columns: they begin with a panel.
    func convolve(
        m: Int, k: Int, _ below: Floats, starts: UnsafePointer<Int32>, packed: UnsafeRawPointer, columns: Range<Int>, _ c: MutableFloats,
        ldc: Int
    ) -> Int {
        let panels = packed + t2v_packed_bytes(Self.windowFlags, columns.lowerBound, 3 * k)
        return t2v_convolve(
            Int32(T2V_B_PACKED), m, columns.count, k, below, starts, panels.assumingMemoryBound(to: Float.self), 3 * k,
            c + columns.lowerBound, ldc)
    }

    /// Columns of whole panels on any CPU.
    static let wholePanels = 32

    /// The columns of a part of C, which begin and, unless it is the last part, end with whole panels.
    static func columns(_ n: Int, part: Int, of parts: Int) -> Range<Int> {
        let panels = (n + wholePanels - 1) / wholePanels
        return panels * part / parts * wholePanels..<min(n, panels * (part + 1) / parts * wholePanels)
    }

    /// What t2v_pack needs to know about the weights of `convolve`.
    static let windowFlags = Int32(T2V_WINDOWS)

    /// What t2v_pack needs to know about B; nil with OpenBLAS, which does its own packing.
    func flags(ofTransposed isTransposed: Bool) -> Int32? {
        kernelFlags.map { $0 | Int32(isTransposed ? T2V_B_TRANSPOSED : 0) }
    }

    /// Operations a second of (750, 288) = (750, 288) (288, 288)^T, the shape of the default convolutions.
    func operationsPerSecond(products: Int = 60) -> Double {
        let (m, n) = (750, 288)
        let a = [Float](repeating: 0.5, count: m * n)
        let b = [Float](repeating: 0.25, count: n * n)
        var c = [Float](repeating: 0, count: m * n)
        func once() { timesTransposed(m: m, n: n, k: n, a, lda: n, b, ldb: n, &c, ldc: n) }
        for _ in 0..<10 { once() }
        let start = ThreadClock.seconds()
        for _ in 0..<products { once() }
        return Double(products * 2 * m * n * n) / (ThreadClock.seconds() - start)
    }

    private func product(
        _ transA: CBLAS_TRANSPOSE, _ transB: CBLAS_TRANSPOSE, _ m: Int, _ n: Int, _ k: Int,
        _ a: Floats, _ lda: Int, _ b: Floats, _ ldb: Int, _ c: MutableFloats, _ ldc: Int, _ accumulate: Bool
    ) {
        guard m > 0, n > 0 else { return }
        guard k > 0 else {
            if !accumulate { for row in 0..<m { (c + row * ldc).update(repeating: 0, count: n) } }
            return
        }
        if let kernelFlags {
            let transposed = (transA == CblasTrans ? T2V_A_TRANSPOSED : 0) | (transB == CblasTrans ? T2V_B_TRANSPOSED : 0)
            t2v_gemm(
                kernelFlags | Int32(transposed | (accumulate ? T2V_ACCUMULATE : 0)), m, n, k, a, lda, b, ldb, c, ldc)
            return
        }
        _ = Self.ready
        cblas_sgemm(
            CblasRowMajor, transA, transB, blasint(m), blasint(n), blasint(k), 1, a, blasint(lda), b, blasint(ldb), accumulate ? 1 : 0, c,
            blasint(ldc))
    }
}
