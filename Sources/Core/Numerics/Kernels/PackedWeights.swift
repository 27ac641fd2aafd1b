// Weights as the kernels read them. In: parameters and their version. Out: panels, made once for all micro-batches of an update.
import Base
import CKernels

/// The packed weights of one version of the parameters. t2v_gemm would otherwise make them again for every micro-batch: with a few hundred
/// rows, a fifth of a product's time. Threads share them: each matrix is packed by the first that needs it, while others wait.
final class PackedWeights: @unchecked Sendable {
    private struct Key: Hashable {
        let offset: Int
        let flags: Int32
    }

    /// A matrix. Its memory is kept for later versions.
    private final class Matrix {
        let lock = ThreadLock()
        var memory: UnsafeMutableRawPointer?
        var byteCount = 0
        /// Of what is packed; nil: nothing of this version is.
        var shape: (n: Int, k: Int)?

        deinit { memory?.deallocate() }
    }

    private let lock = ThreadLock()
    private var matrices: [Key: Matrix] = [:]
    fileprivate private(set) var version: UInt64?

    /// B (k, n), packed.
    /// - Parameters:
    ///   - flags: t2v_gemm's, of B and of the precision.
    ///   - b: B, as any thread of this version has it.
    ///   - offset: of B in the parameters; with the flags it determines the matrix.
    ///   - ldb: floats from row to row of B as stored in `b`.
    /// - Returns: valid as long as the caller holds these weights; nil if another thread has packed another shape, because the parameters
    ///   were overwritten while it or the caller looked for live outputs. Both results will then be thrown away.
    func panels(flags: Int32, n: Int, k: Int, _ b: Floats, offset: Int, ldb: Int) -> UnsafeRawPointer? {
        let matrix = lock.withLock { find(Key(offset: offset, flags: flags)) }
        return matrix.lock.withLock {
            if let shape = matrix.shape { return shape == (n, k) ? UnsafeRawPointer(matrix.memory) : nil }
            let byteCount = t2v_packed_bytes(flags, n, k)
            if byteCount > matrix.byteCount {
                matrix.memory?.deallocate()
                matrix.memory = nil
            }
            let memory = matrix.memory ?? LargeMemory.allocate(byteCount: byteCount)
            t2v_pack(flags, n, k, b, ldb, memory)
            (matrix.memory, matrix.byteCount, matrix.shape) = (memory, max(byteCount, matrix.byteCount), (n, k))
            return UnsafeRawPointer(memory)
        }
    }

    private func find(_ key: Key) -> Matrix {
        if let matrix = matrices[key] { return matrix }
        let made = Matrix()
        matrices[key] = made
        return made
    }

    /// For the only owner.
    fileprivate func begin(_ version: UInt64) {
        self.version = version
        for matrix in matrices.values { matrix.shape = nil }
    }
}

/// The packed weights of the latest version, for all threads of a worker.
package final class PackedWeightsStore: @unchecked Sendable {
    private let lock = ThreadLock()
    private var latest = PackedWeights()

    package init() {}

    /// Those of a version. A thread that is still at an earlier version keeps what it has.
    func weights(version: UInt64) -> PackedWeights {
        lock.withLock {
            if latest.version == version { return latest }
            if !isKnownUniquelyReferenced(&latest) { latest = PackedWeights() }
            latest.begin(version)
            return latest
        }
    }
}

/// The parameters of a pass, and products with their matrices.
struct WeightProducts {
    let products: MatrixMultiply
    let parameters: Floats
    /// Where packed weights are kept, and the parameters' version; nil: weights are packed as products need them.
    let packed: (weights: PackedWeights, version: UInt64)?
    /// May compute a part of a convolution.
    let idle: (any IdleThreads)?

    /// C (m, n) = A (m, k) W^T, W (n, k) at `offset`: a layer's forward pass.
    /// - Parameter rows: those rows of W that are multiplied, if not all are; of a version they are always the same.
    func timesTransposed(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, offset: Int, rows: Floats? = nil, ldb: Int, _ c: MutableFloats, ldc: Int
    ) {
        let b = rows ?? parameters + offset
        guard let packed, let flags = products.flags(ofTransposed: true), m > 0, n > 0,
            let panels = packed.weights.panels(flags: flags, n: n, k: k, b, offset: offset, ldb: ldb)
        else { return products.timesTransposed(m: m, n: n, k: k, a, lda: lda, b, ldb: ldb, c, ldc: ldc) }
        products.timesPacked(m: m, n: n, k: k, a, lda: lda, panels, c, ldc: ldc)
    }

    /// C (m, n) = windows of three rows of `below` (rows, k) times W^T, W (n, 3 k) at `offset`: a convolution's forward pass.
    /// - Parameter starts: (m): where each window begins.
    /// - Returns: how many rows of k floats were multiplied with n columns.
    func convolve(
        m: Int, n: Int, k: Int, _ below: Floats, starts: UnsafePointer<Int32>, offset: Int, _ c: MutableFloats, ldc: Int
    ) -> Int {
        guard
            let panels = packed?.weights.panels(
                flags: MatrixMultiply.windowFlags, n: n, k: 3 * k, parameters + offset, offset: offset, ldb: 3 * k)
        else { return products.convolve(m: m, n: n, k: k, below, starts: starts, parameters + offset, c, ldc: ldc) }
        let parts = idle.parts(atMost: n / MatrixMultiply.wholePanels)
        return withUnsafeTemporaryAllocation(of: Int.self, capacity: parts) { rows in
            let rows = rows
            idle.forEach(parts) { part in
                let columns = MatrixMultiply.columns(n, part: part, of: parts)
                rows[part] = products.convolve(m: m, k: k, below, starts: starts, packed: panels, columns: columns, c, ldc: ldc)
            }
            return rows[0]
        }
    }

    /// C (m, n) = A (m, k) W, W (k, n) at `offset`: the gradient of a layer's input.
    /// - Parameter rows: those rows of W that are multiplied, if not all are; of a version they are always the same.
    func times(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, offset: Int, rows: Floats? = nil, ldb: Int, _ c: MutableFloats, ldc: Int,
        accumulate: Bool = false
    ) {
        let b = rows ?? parameters + offset
        guard let packed, let flags = products.flags(ofTransposed: false), m > 0, k > 0,
            let panels = packed.weights.panels(flags: flags, n: n, k: k, b, offset: offset, ldb: ldb)
        else { return products.times(m: m, n: n, k: k, a, lda: lda, b, ldb: ldb, c, ldc: ldc, accumulate: accumulate) }
        products.timesPacked(m: m, n: n, k: k, a, lda: lda, panels, c, ldc: ldc, accumulate: accumulate)
    }
}
