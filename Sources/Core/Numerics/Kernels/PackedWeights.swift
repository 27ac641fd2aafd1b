// Weights as the kernels read them. In: parameters and their version. Out: panels, made once for all micro-batches of an update.
import Base
import CKernels

/// Packed weights, which t2v_gemm would otherwise make again for every micro-batch: with a few hundred rows, a fifth of a product's time.
///
/// Owned by one thread. Memory is allocated at a matrix's first use, and kept.
final class PackedWeights {
    private struct Key: Hashable {
        let offset: Int
        let flags: Int32
    }

    private struct Entry {
        let memory: UnsafeMutableRawPointer
        var version: UInt64
    }

    private var entries: [Key: Entry] = [:]

    deinit { for entry in entries.values { entry.memory.deallocate() } }

    /// B (k, n) of `version`, packed.
    /// - Parameters:
    ///   - flags: t2v_gemm's, of B and of the precision.
    ///   - offset: of B in the parameters; with the flags it determines the shape.
    ///   - ldb: floats from row to row of B as stored there.
    func panels(flags: Int32, n: Int, k: Int, parameters: Floats, offset: Int, ldb: Int, version: UInt64) -> UnsafeRawPointer {
        let key = Key(offset: offset, flags: flags)
        if let entry = entries[key] {
            if entry.version != version {
                t2v_pack(flags, n, k, parameters + offset, ldb, entry.memory)
                entries[key]?.version = version
            }
            return UnsafeRawPointer(entry.memory)
        }
        let memory = LargeMemory.allocate(byteCount: t2v_packed_bytes(flags, n, k))
        t2v_pack(flags, n, k, parameters + offset, ldb, memory)
        entries[key] = Entry(memory: memory, version: version)
        return UnsafeRawPointer(memory)
    }
}

/// The parameters of a pass, and products with their matrices.
struct WeightProducts {
    let products: MatrixMultiply
    let parameters: Floats
    /// Where packed weights are kept, and the parameters' version; nil: weights are packed as products need them.
    let packed: (weights: PackedWeights, version: UInt64)?

    /// C (m, n) = A (m, k) W^T, W (n, k) at `offset`: a layer's forward pass.
    func timesTransposed(m: Int, n: Int, k: Int, _ a: Floats, lda: Int, offset: Int, ldb: Int, _ c: MutableFloats, ldc: Int) {
        guard let packed, let flags = products.flags(ofTransposed: true), m > 0 else {
            return products.timesTransposed(m: m, n: n, k: k, a, lda: lda, parameters + offset, ldb: ldb, c, ldc: ldc)
        }
        let panels = packed.weights.panels(
            flags: flags, n: n, k: k, parameters: parameters, offset: offset, ldb: ldb, version: packed.version)
        products.timesPacked(m: m, n: n, k: k, a, lda: lda, panels, c, ldc: ldc)
    }

    /// C (m, n) = windows of three rows of `below` (rows, k) times W^T, W (n, 3 k) at `offset`: a convolution's forward pass.
    /// - Parameter starts: (m): where each window begins.
    /// - Returns: how many rows of k floats were multiplied with n columns.
    func convolve(
        m: Int, n: Int, k: Int, _ below: Floats, starts: UnsafePointer<Int32>, offset: Int, _ c: MutableFloats, ldc: Int
    ) -> Int {
        guard let packed else {
            return products.convolve(m: m, n: n, k: k, below, starts: starts, parameters + offset, isPacked: false, c, ldc: ldc)
        }
        let panels = packed.weights.panels(
            flags: MatrixMultiply.windowFlags, n: n, k: 3 * k, parameters: parameters, offset: offset, ldb: 3 * k, version: packed.version)
        let weights = panels.assumingMemoryBound(to: Float.self)
        return products.convolve(m: m, n: n, k: k, below, starts: starts, weights, isPacked: true, c, ldc: ldc)
    }

    /// C (m, n) = A (m, k) W, W (k, n) at `offset`: the gradient of a layer's input.
    func times(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, offset: Int, ldb: Int, _ c: MutableFloats, ldc: Int, accumulate: Bool = false
    ) {
        guard let packed, let flags = products.flags(ofTransposed: false), m > 0 else {
            return products.times(
                m: m, n: n, k: k, a, lda: lda, parameters + offset, ldb: ldb, c, ldc: ldc, accumulate: accumulate)
        }
        let panels = packed.weights.panels(
            flags: flags, n: n, k: k, parameters: parameters, offset: offset, ldb: ldb, version: packed.version)
        products.timesPacked(m: m, n: n, k: k, a, lda: lda, panels, c, ldc: ldc, accumulate: accumulate)
    }
}
