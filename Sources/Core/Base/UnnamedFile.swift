// A file without a name. In: bytes. Out: a path that can be read at once, and a name when everything else is ready.
import CLinux
import Glibc

/// A file that has no name yet: however the process ends, nothing is left behind. On file systems that have no such files (NFS) it gets a
/// hidden name, which is removed with this object.
package final class UnnamedFile: @unchecked Sendable {
    private let descriptor: Int32
    private let temporary: String?

    /// - Parameter target: the file's final path; it is created in the nearest folder that exists.
    /// - Throws: `InputError` when no file can be made there.
    package init(for target: String) throws(InputError) {
        var folder = AtomicFile.parent(of: target)
        while access(folder, F_OK) != 0, folder != "/", folder != "." { folder = AtomicFile.parent(of: folder) }
        let unnamed = t2v_open_unnamed(folder)
        if unnamed >= 0 {
            (descriptor, temporary) = (unnamed, nil)
            return
        }
        let name = "\(folder)/.texts\(AtomicFile.mark)\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let named = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
        guard named >= 0 else { throw AtomicFile.failure("cannot create a file", errno, at: folder) }
        (descriptor, temporary) = (named, name)
    }

    /// A path under which this process can read the file, now and after `link`.
    package var path: String { "/proc/self/fd/\(descriptor)" }

    /// Appends bytes.
    /// - Throws: `InputError` when the disk is full or fails.
    package func append(_ bytes: UnsafeRawBufferPointer, place: String) throws(InputError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let count = Glibc.write(descriptor, base + done, bytes.count - done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw AtomicFile.failure("cannot write", count < 0 ? errno : ENOSPC, at: place) }
            done += count
        }
    }

    /// Gives the file its name. Nothing may have that name yet.
    /// - Throws: `InputError` from the disk, or when something has the name.
    package func link(to target: String) throws(InputError) {
        guard fsync(descriptor) == 0 else { throw AtomicFile.failure("cannot force to disk", errno, at: target) }
        let status = temporary.map { Glibc.link($0, target) } ?? t2v_link_unnamed(path, target)
        guard status == 0 else { throw AtomicFile.failure("cannot name the file", errno, at: target) }
        try AtomicFile.syncFolder(AtomicFile.parent(of: target))
    }

    deinit {
        if let temporary { unlink(temporary) }
        close(descriptor)
    }
}
