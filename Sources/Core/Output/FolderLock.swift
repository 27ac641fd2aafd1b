// One process at a time. In: the path of a lock file. Out: a lock that ends with the process, and a file that remains.
import Base
import CLinux
import Glibc

/// An exclusive lock on a file. The file is never removed: after unlinking a lock file, a second process could lock another file of the
/// same name.
package final class FolderLock: Sendable {
    private let descriptor: Int32

    /// - Throws: `InputError` when the file cannot be made, or another process holds the lock.
    /// - Parameter whenOpen: runs between opening and locking, for tests.
    package init(_ path: String, whenOpen: () -> Void = {}) throws(InputError) {
        while true {
            let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw AtomicFile.failure("cannot make the lock file", errno, at: path) }
            whenOpen()
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                let code = errno
                close(descriptor)
                guard code == EWOULDBLOCK else { throw AtomicFile.failure("cannot lock", code, at: path) }
                throw InputError(
                    "another coordinator is running in this folder", at: AtomicFile.parent(of: path),
                    remedy: "wait for it, stop it, or choose another OUTPUT_DIR")
            }
            // The file may have been removed since it was opened, and others may lock its successor.
            var (own, present) = (stat(), stat())
            if fstat(descriptor, &own) == 0, stat(path, &present) == 0, own.st_ino == present.st_ino, own.st_dev == present.st_dev {
                self.descriptor = descriptor
                return
            }
            close(descriptor)
        }
    }

    deinit { close(descriptor) }
}
