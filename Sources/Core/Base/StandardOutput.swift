// Standard output, written with system calls only. In: bytes. Out: bytes, or what went wrong.
import Glibc

/// Thrown when the reader of standard output has gone (`... | head`): the program ends quietly.
package struct OutputClosed: Error {
    package init() {}
}

/// Writes to standard output. Foundation and `print` hide failures or trap on them.
package enum StandardOutput {
    /// - Throws: `OutputClosed`, or `ProgramFailure` when the disk is full.
    package static func write(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(1, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EPIPE { throw OutputClosed() }
            guard count > 0 else {
                throw ProgramFailure(
                    InputError(
                        "cannot write: \(String(cString: strerror(errno)))", at: "standard output",
                        remedy: errno == ENOSPC ? "free space on its disk" : "check where it goes"))
            }
            done += count
        }
    }

    package static func write(_ text: String) throws { try write(Array(text.utf8)) }
}
