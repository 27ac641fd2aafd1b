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
        let byteCount: Int
        var version: UInt64
    }

    private var entries: [Key: Entry] = [:]

    deinit { for entry in entries.values { entry.memory.deallocate() } }

    /// B (k, n) of `version`, packed.
    /// - Parameters:
    ///   - flags: t2v_gemm's, of B and of the precision.
    ///   - offset: of B in the parameters; with the flags and the version it determines the shape.
    ///   - ldb: floats from row to row of B as stored in `b`.
    func panels(flags: Int32, n: Int, k: Int, _ b: Floats, offset: Int, ldb: Int, version: UInt64) -> UnsafeRawPointer {
        let key = Key(offset: offset, flags: flags)
        if let entry = entries[key], entry.version == version { return UnsafeRawPointer(entry.memory) }
        let entry = memory(for: key, byteCount: t2v_packed_bytes(flags, n, k), version: version)
        t2v_pack(flags, n, k, b, ldb, entry.memory)
        entries[key] = entry
        return UnsafeRawPointer(entry.memory)
    }

    /// An entry with enough memory, the old one if it has.
    private func memory(for key: Key, byteCount: Int, version: UInt64) -> Entry {
        if let old = entries[key] {
            if old.byteCount >= byteCount { return Entry(memory: old.memory, byteCount: old.byteCount, version: version) }
            old.memory.deallocate()
        }
        return Entry(memory: LargeMemory.allocate(byteCount: byteCount), byteCount: byteCount, version: version)
    }
}

/// The parameters of a pass, and products with their matrices.
struct WeightProducts {
    let products: MatrixMultiply
    let parameters: Floats
    /// Where packed weights are kept, and the parameters' version; nil: weights are packed as products need them.
    let packed: (weights: PackedWeights, version: UInt64)?

    /// C (m, n) = A (m, k) W^T, W (n, k) at `offset`: a layer's forward pass.
    /// - Parameter rows: those rows of W that are multiplied, if not all are; of a version they are always the same.
    func timesTransposed(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, offset: Int, rows: Floats? = nil, ldb: Int, _ c: MutableFloats, ldc: Int
    ) {
        let b = rows ?? parameters + offset
        guard let packed, let flags = products.flags(ofTransposed: true), m > 0, n > 0 else {
            return products.timesTransposed(m: m, n: n, k: k, a, lda: lda, b, ldb: ldb, c, ldc: ldc)
        }
        let panels = packed.weights.panels(flags: flags, n: n, k: k, b, offset: offset, ldb: ldb, version: packed.version)
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
            flags: MatrixMultiply.windowFlags, n: n, k: 3 * k, parameters + offset, offset: offset, ldb: 3 * k, version: packed.version)
        let weights = panels.assumingMemoryBound(to: Float.self)
        return products.convolve(m: m, n: n, k: k, below, starts: starts, weights, isPacked: true, c, ldc: ldc)
    }

    /// C (m, n) = A (m, k) W, W (k, n) at `offset`: the gradient of a layer's input.
    /// - Parameter rows: those rows of W that are multiplied, if not all are; of a version they are always the same.
    func times(
        m: Int, n: Int, k: Int, _ a: Floats, lda: Int, offset: Int, rows: Floats? = nil, ldb: Int, _ c: MutableFloats, ldc: Int,
        accumulate: Bool = false
    ) {
        let b = rows ?? parameters + offset
        guard let packed, let flags = products.flags(ofTransposed: false), m > 0, k > 0 else {
            return products.times(m: m, n: n, k: k, a, lda: lda, b, ldb: ldb, c, ldc: ldc, accumulate: accumulate)
        }
        let panels = packed.weights.panels(flags: flags, n: n, k: k, b, offset: offset, ldb: ldb, version: packed.version)
        products.timesPacked(m: m, n: n, k: k, a, lda: lda, panels, c, ldc: ldc, accumulate: accumulate)
    }
}
