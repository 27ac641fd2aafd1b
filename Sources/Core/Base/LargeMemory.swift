// Memory for large buffers. In: bytes. Out: aligned memory, in huge pages if the kernel has them.
import Glibc

/// For buffers that a step reads from end to end: with 4 KB pages, a good part of that time goes into address translation.
package enum LargeMemory {
    private static let hugePage = 2 << 20

    /// Uninitialized memory, aligned to 64 bytes or more; `deallocate()` gives it back.
    package static func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
        guard byteCount >= 2 * hugePage else { return .allocate(byteCount: max(1, byteCount), alignment: 64) }
        let size = (byteCount + hugePage - 1) / hugePage * hugePage
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: hugePage)
        // Only advice: if the kernel ignores it, the pages are small.
        madvise(memory, size, MADV_HUGEPAGE)
        return memory
    }
}
