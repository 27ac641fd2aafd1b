// Who multiplies matrices, and what a host's products look like. In: nothing. Out: a run's arithmetic, and hashes to compare hosts.

/// Who multiplies, and how operands are rounded. It decides the last bits, so it belongs to a run and is part of its spec.
public enum Arithmetic: String, Codable, Sendable, CaseIterable {
    /// OpenBLAS's sgemm.
    case blas
    /// t2v's own float32 kernels, which give the same bits with AVX2 and with AVX-512.
    case native
    /// Operands of matrix products rounded to bf16, sums in float32; everything else as `native`. Needs AVX512-BF16.
    case bf16
}

/// A hash over canned gradients for each arithmetic that a run can have. Hosts with equal hashes give equal bits.
package struct Fingerprints: Equatable, Sendable {
    /// In the order of `Arithmetic.allCases`.
    private var hashes = [UInt64](repeating: 0, count: Arithmetic.allCases.count)

    package init(_ hashes: [Arithmetic: UInt64] = [:]) {
        for (arithmetic, hash) in hashes { self[arithmetic] = hash }
    }

    /// 0 for an arithmetic that the host's CPU cannot do.
    package subscript(arithmetic: Arithmetic) -> UInt64 {
        get { Arithmetic.allCases.firstIndex(of: arithmetic).map { hashes[$0] } ?? 0 }
        set { if let index = Arithmetic.allCases.firstIndex(of: arithmetic) { hashes[index] = newValue } }
    }
}
