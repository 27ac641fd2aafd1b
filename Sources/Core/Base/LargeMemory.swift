// Memory for large buffers. In: bytes. Out: aligned memory, in huge pages where the kernel gives them.
import Glibc

/// Buffers that a step reads from end to end: with pages of 4 KB a good part of that time goes into looking them up.
package enum LargeMemory {
    private static let hugePage = 2 << 20

    /// Uninitialized memory, aligned to 64 bytes or more; `deallocate()` gives it back.
    package static func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
        guard byteCount >= 2 * hugePage else { return .allocate(byteCount: max(1, byteCount), alignment: 64) }
        let size = (byteCount + hugePage - 1) / hugePage * hugePage
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: hugePage)
        // Advice: where it is not taken, the pages are small.
        madvise(memory, size, MADV_HUGEPAGE)
        return memory
    }
}
