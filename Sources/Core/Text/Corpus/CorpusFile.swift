// One file of a corpus, read from its start to its end. In: a path. Out: its bytes in parts of 1 MiB.
import Base
import CLinux
import Glibc

/// An open file of texts.
final class CorpusFile {
    let path: String
    /// Bytes to read of it.
    private(set) var byteCount: Int
    private let descriptor: Int32

    /// - Throws: `InputError` when it is missing or not a regular file.
    init(_ path: String) throws(InputError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw InputError(
                "cannot open the texts: \(String(cString: strerror(errno)))", at: path, remedy: "check the path and its permissions")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            if status.st_mode & S_IFMT == S_IFDIR {
                throw InputError("this is a folder", at: path, remedy: "give its files, or one of them: \(path)/FILE.jsonl")
            }
            throw InputError("the texts are not a regular file", at: path, remedy: "give a .jsonl file, or - for standard input")
        }
        (self.path, self.descriptor, byteCount) = (path, descriptor, Int(status.st_size))
    }

    deinit { close(descriptor) }

    /// Fills `buffer` from byte `offset` on, up to its end or the file's.
    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(InputError) -> Int {
        let wanted = min(buffer.count, byteCount - offset)
        var done = 0
        while done < wanted, let base = buffer.baseAddress {
            let count = pread(descriptor, base + done, wanted - done, off_t(offset + done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw InputError(
                    "cannot read the texts: \(count == 0 ? "the file shrank" : String(cString: strerror(errno)))", at: path,
                    remedy: "check the disk")
            }
            done += count
        }
        return wanted
    }

    /// Gives the bytes in parts of at most 1 MiB.
    func read(_ body: (UnsafeRawBufferPointer) throws(InputError) -> Void) throws(InputError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        var offset = 0
        while offset < byteCount {
            let count = try read(at: offset, into: buffer)
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += count
        }
    }

    /// Leaves out what follows the first `limit` records of all files together. Lines without a record do not count.
    static func cut(_ files: inout [CorpusFile], after limit: Int, format: CorpusIndex.Format) throws(InputError) {
        var left = limit
        for index in files.indices {
            let file = files[index]
            var (offset, isBlank, end) = (0, true, nil as Int?)
            try file.read { part in
                for byte in part where end == nil {
                    offset += 1
                    if byte == 0x0A {
                        if !isBlank { left -= 1 }
                        isBlank = true
                        if left == 0 { end = offset }
                    } else if isBlank {
                        isBlank = format == .jsonl ? RecordReader.isBlank(byte) : byte == 0x0D
                    }
                }
            }
            if end == nil, !isBlank { left -= 1 }
            if let end { file.byteCount = end }
            if left == 0 {
                files.removeSubrange((index + 1)...)
                return
            }
        }
    }
}
