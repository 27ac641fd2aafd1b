// A file as read-only memory. In: a path. Out: bytes that the kernel pages in and may drop again.
import CLinux
import Glibc

/// Identifies a file: differs for another file, and for the same file after a change.
public struct FileIdentity: Hashable, Sendable {
    private let device, inode: UInt64
    private let size, seconds, nanoseconds: Int

    init(_ status: stat) {
        (device, inode, size) = (UInt64(status.st_dev), UInt64(status.st_ino), Int(status.st_size))
        (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    }
}

/// A whole file mapped read-only and shared. Pages are clean page cache: they count as the kernel's, not as the process's own memory.
public final class MappedFile: @unchecked Sendable {
    /// Where it was found.
    public let path: String
    /// The file's bytes; empty for an empty file.
    public let bytes: UnsafeRawBufferPointer
    /// Tells whether the path still names this file, unchanged.
    public let identity: FileIdentity

    /// - Throws: `InputError` when the file is missing, is not a regular file or cannot be mapped.
    public init(_ path: String) throws(InputError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw InputError("cannot open: \(String(cString: strerror(errno)))", at: path, remedy: "check the path and its permissions")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw InputError("not a regular file", at: path, remedy: "give the path of a file")
        }
        self.path = path
        identity = FileIdentity(status)
        let length = Int(status.st_size)
        guard length > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, length, PROT_READ, MAP_SHARED, descriptor, 0), start != MAP_FAILED else {
            throw InputError("cannot map: \(String(cString: strerror(errno)))", at: path, remedy: "free memory or address space")
        }
        bytes = UnsafeRawBufferPointer(start: start, count: length)
    }

    deinit {
        if let start = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
    }
}
