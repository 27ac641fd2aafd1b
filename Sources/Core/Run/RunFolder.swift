// The output folder of a run. In: what a run writes. Out: files that are whole or not there, and a lock.
import Base
import CLinux
import Foundation

/// OUTPUT_DIR: config.json, log.jsonl, modelN.bin, checkpoints/, and, while a run is on, a lock.
public final class RunFolder: @unchecked Sendable {
    public let path: String
    private let lockDescriptor: Int32
    /// The folder did not exist before.
    public let wasMade: Bool

    public var configPath: String { "\(path)/config.json" }
    public var logPath: String { "\(path)/log.jsonl" }
    /// Standard input, kept for later epochs and for resuming.
    public var spoolPath: String { "\(path)/texts.spool.jsonl" }
    public var checkpointFolder: String { "\(path)/checkpoints" }
    public func modelPath(epoch: Int, temporary: Bool = false) -> String { "\(path)/model\(epoch)\(temporary ? ".temp" : "").bin" }

    /// Makes the folder where it is missing, and locks it against a second coordinator.
    /// - Throws: `InputError` when it cannot be made or written, or another coordinator holds it.
    public init(_ path: String) throws(InputError) {
        self.path = path
        var status = stat()
        wasMade = stat(path, &status) != 0
        if wasMade {
            do {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            } catch {
                throw InputError(
                    "cannot make the output folder: \(String(cString: strerror(errno)))", at: path,
                    remedy: "choose a folder that you may write to")
            }
        } else if status.st_mode & S_IFMT != S_IFDIR {
            throw InputError("the output path is not a folder", at: path, remedy: "choose another OUTPUT_DIR")
        }
        let descriptor = open("\(path)/.lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw InputError(
                "cannot write to the output folder: \(String(cString: strerror(errno)))", at: path,
                remedy: "choose a folder that you may write to")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw InputError(
                "another coordinator is running in this folder", at: path, remedy: "wait for it, stop it, or choose another OUTPUT_DIR")
        }
        lockDescriptor = descriptor
    }

    deinit {
        unlink("\(path)/.lock")
        close(lockDescriptor)
    }

    /// Whether the folder holds a run.
    public var holdsRun: Bool { access(configPath, F_OK) == 0 }

    /// Files of a run that are in the folder, for `--overwrite`.
    private var runFiles: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        let isModel = { (name: String) in
            name.hasPrefix("model") && name.hasSuffix(".bin")
                && !name.dropFirst(5).dropLast(4).isEmpty && name.dropFirst(5).first?.isNumber == true
        }
        return names.filter { ["config.json", "log.jsonl", "texts.spool.jsonl", "checkpoints"].contains($0) || isModel($0) }
    }

    /// Removes the files of an earlier run, and nothing else.
    public func removeRun() {
        for name in runFiles { try? FileManager.default.removeItem(atPath: "\(path)/\(name)") }
    }

    /// Takes back what an attempt wrote that failed on its input before it had trained.
    public func discard() {
        removeRun()
        unlink("\(path)/.lock")
        if wasMade { rmdir(path) }
    }

    /// Cuts log.jsonl back to what a checkpoint knows of.
    public func truncateLog(to byteCount: Int) throws(InputError) {
        guard access(logPath, F_OK) == 0 || byteCount > 0 else { return }
        guard truncate(logPath, off_t(byteCount)) == 0 else {
            throw InputError(
                "cannot cut the log back: \(String(cString: strerror(errno)))", at: logPath, remedy: "check the folder's permissions")
        }
    }

    /// Appends a line to log.jsonl and waits until it is on disk.
    /// - Returns: the log's length in bytes.
    public func appendLog(_ line: String, after byteCount: Int) throws(InputError) -> Int {
        func fail() -> InputError {
            InputError("cannot write the log: \(String(cString: strerror(errno)))", at: logPath, remedy: "free space on the disk")
        }
        let descriptor = open(logPath, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw fail() }
        defer { close(descriptor) }
        let bytes = Array((line + "\n").utf8)
        // At the known end: what a failed attempt left behind it is written over.
        let written = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, off_t(byteCount)) }
        guard written == bytes.count, ftruncate(descriptor, off_t(byteCount + bytes.count)) == 0, fsync(descriptor) == 0 else {
            throw fail()
        }
        return byteCount + bytes.count
    }
}
