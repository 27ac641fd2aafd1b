// A place for the sockets of local workers. In: TMPDIR. Out: a folder that no one else can enter and that goes away with its owner.
import Base
import CLinux
import FoundationEssentials
import Glibc

/// A folder only this user can enter, for the sockets of local workers. Removed by `remove()` or with the object; the folder of a killed
/// process is removed by the next one.
package final class SocketFolder: @unchecked Sendable {
    /// Its absolute path.
    package let path: String
    /// Locked as long as the process lives.
    private let lock: Int32
    private static let lockName = "lock"

    /// Makes a folder of mode 0700 with an unpredictable name in TMPDIR, or in /tmp if TMPDIR's path is too long for a socket's name.
    /// - Throws: `InputError` when no folder can be made.
    package init() throws(InputError) {
        var parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        if parent.isEmpty || parent.utf8.count > 70 { parent = "/tmp" }
        while parent.count > 1, parent.hasSuffix("/") { parent.removeLast() }
        SocketFolder.removeAbandoned(in: parent)
        var template = Array("\(parent)/t2v-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            let why = String(cString: strerror(errno))
            throw InputError("cannot make a folder for sockets: \(why)", at: parent, remedy: "set TMPDIR to a folder that you can write to")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        lock = open("\(path)/\(SocketFolder.lockName)", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        // If it cannot be locked, it is only not removed after a kill.
        if lock >= 0, flock(lock, LOCK_EX) == 0 { _ = write(lock, "1", 1) }
    }

    /// `ipc://PATH/name`. - Parameter name: at most 20 bytes.
    package func endpoint(_ name: String) -> String { "ipc://\(path)/\(name)" }

    /// Deletes the folder and the sockets in it. Can be called more than once.
    package func remove() { SocketFolder.remove(path) }

    private static func remove(_ path: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    deinit {
        remove()
        close(lock)
    }

    /// Removes folders of this user's killed processes: their lock is free, and its content shows that it was once held. A folder that is
    /// just being made has an empty lock, or none.
    static func removeAbandoned(in parent: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [] {
            guard name.hasPrefix("t2v-"), name.utf8.count == 10 else { continue }
            let path = "\(parent)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_mode & 0o777 == 0o700, status.st_uid == getuid()
            else { continue }
            let lock = open("\(path)/\(lockName)", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard lock >= 0 else { continue }
            defer { close(lock) }
            guard flock(lock, LOCK_EX | LOCK_NB) == 0, fstat(lock, &status) == 0, status.st_size == 1 else { continue }
            remove(path)
        }
    }
}
