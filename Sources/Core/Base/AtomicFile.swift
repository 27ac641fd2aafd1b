// Files that are whole or absent. In: a path and something that writes. Out: the file under its name, or an error and nothing left over.
import CLinux
import FoundationEssentials
import Glibc

/// Buffered bytes on their way into an open file.
package struct FileSink: ~Copyable {
    private let descriptor: Int32
    private let path: String
    private var buffer: [UInt8] = []
    private static let capacity = 1 << 20

    /// - Parameters:
    ///   - descriptor: an open file, which stays the caller's to close.
    ///   - path: the name in errors.
    package init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
        buffer.reserveCapacity(Self.capacity)
    }

    /// - Throws: `InputError` when the disk is full or fails.
    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(InputError) {
        if buffer.count + bytes.count <= Self.capacity {
            buffer.append(contentsOf: bytes)
            return
        }
        try flush()
        if bytes.count < Self.capacity { buffer.append(contentsOf: bytes) } else { try writeThrough(bytes) }
    }

    /// - Throws: `InputError` when the disk is full or fails.
    package mutating func write(_ bytes: [UInt8]) throws(InputError) {
        let result = bytes.withUnsafeBytes { bytes in Result { () throws(InputError) in try write(bytes) } }
        try result.get()
    }

    /// Hands everything to the kernel.
    package mutating func flush() throws(InputError) {
        let result = buffer.withUnsafeBytes { bytes in Result { () throws(InputError) in try writeThrough(bytes) } }
        try result.get()
        buffer.removeAll(keepingCapacity: true)
    }

    private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws(InputError) {
        var rest = bytes
        while let start = rest.baseAddress, rest.count > 0 {
            let count = Glibc.write(descriptor, start, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw AtomicFile.failure("cannot write", errno, at: path)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }
}

/// Writes files so that a reader, a crash or a full disk never sees half of one.
package enum AtomicFile {
    /// Part of every temporary file's name.
    package static let mark = ".t2v-tmp-"

    /// Writes the file at `path`: a temporary file in the same folder, all bytes, fsync, rename over `path`, fsync of the folder. An older
    /// file under that name stays as it was until the rename. The mode is 0644, less the umask.
    /// - Throws: `InputError` with the path when the disk is full, the folder is missing or not writable, or `body` fails. Then no
    ///   temporary file is left, and an older file is untouched.
    package static func write(to path: String, _ body: (inout FileSink) throws(InputError) -> Void) throws(InputError) {
        let folder = parent(of: path)
        let name = String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
        let temporary = "\(folder)/.\(name)\(mark)\(getpid())"
        // A file that a killed process with the same number left would be in the way.
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure("cannot create a file in its folder", errno, at: path) }
        do throws(InputError) {
            defer { close(descriptor) }
            var sink = FileSink(descriptor: descriptor, path: path)
            try body(&sink)
            try sink.flush()
            guard fsync(descriptor) == 0 else { throw failure("cannot force to disk", errno, at: path) }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let code = errno
            unlink(temporary)
            throw failure("cannot rename the finished file", code, at: path)
        }
        try syncFolder(folder)
    }

    /// Writes `bytes` as the file at `path`; see `write(to:_:)`.
    package static func write(_ bytes: [UInt8], to path: String) throws(InputError) {
        try write(to: path) { (sink) throws(InputError) in try sink.write(bytes) }
    }

    /// Makes renames and removals in `folder` last through a power cut.
    package static func syncFolder(_ folder: String) throws(InputError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("cannot open the folder", errno, at: folder) }
        defer { close(descriptor) }
        // Some network file systems cannot; the file itself is on disk by now.
        guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else {
            throw failure("cannot force to disk", errno, at: folder)
        }
    }

    /// Removes temporary files that killed processes left in `folder`. Call it only while holding the folder's lock.
    package static func removeLeftovers(in folder: String) {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return }
        for name in names where name.hasPrefix(".") && name.contains(mark) { unlink("\(folder)/\(name)") }
    }

    package static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// An error number as a message with the remedy that fits it.
    package static func failure(_ what: String, _ code: Int32, at path: String) -> InputError {
        let remedy =
            switch code {
            case ENOSPC, EDQUOT: "free space on its disk"
            case EACCES, EPERM, EROFS: "give write permission, or choose another folder"
            case ENOENT, ENOTDIR: "create the folder, or choose another one"
            case EFBIG: "raise the limit on file sizes (ulimit -f)"
            default: "check the disk"
            }
        return InputError("\(what): \(String(cString: strerror(code)))", at: path, remedy: remedy)
    }
}
