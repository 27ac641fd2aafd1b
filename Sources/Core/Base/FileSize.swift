// How long a file is. In: a path. Out: bytes.
import Glibc

/// Bytes of the regular file at `path`; nil where there is none. FoundationEssentials gives the size in a type of its own, which cannot be
/// cast to a number.
package func fileSize(_ path: String) -> UInt64? {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return UInt64(status.st_size)
}
