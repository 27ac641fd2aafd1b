// Prepared shards on disk, named by everything they depend on. In: keys, bytes. Out: mapped shards, for this run and later ones.
import Base
import CLinux
import FoundationEssentials
import Glibc

/// A folder of prepared shards. Several processes may use it at once: files appear whole, by rename.
public final class PreparedCache: Sendable {
    public let folder: String

    /// - Throws: `InputError` when the folder cannot be made or written.
    public init(folder: String) throws(InputError) {
        self.folder = folder
        do throws(InputError) {
            try Path.makeFolder("\(folder)/prepared")
        } catch {
            throw InputError(error.what, at: error.place, remedy: "give another --cache FOLDER")
        }
        guard access("\(folder)/prepared", W_OK) == 0 else {
            throw InputError("cannot write to the cache folder", at: folder, remedy: "give another --cache FOLDER")
        }
    }

    /// $XDG_CACHE_HOME/t2v or ~/.cache/t2v; `fallback` where neither can be written.
    public static func standard(fallback: String) throws(InputError) -> PreparedCache {
        let environment = ProcessInfo.processInfo.environment
        let home = environment["XDG_CACHE_HOME"] ?? environment["HOME"].map { "\($0)/.cache" }
        if let home, !home.isEmpty, let cache = try? PreparedCache(folder: "\(home)/t2v") { return cache }
        return try PreparedCache(folder: fallback)
    }

    /// SHA-256 over everything a prepared shard depends on.
    public static func key(text: [UInt8], modelDigest: String, schema: FeatureSchema, minLength: Int, maxLength: Int) -> [UInt8] {
        var hasher = SHA256()
        hasher.update(text)
        hasher.update("\(modelDigest) \(schema.digest) \(minLength) \(maxLength) \(PreparedShard.version)")
        return hasher.finalize()
    }

    public func path(_ key: [UInt8]) -> String { "\(folder)/prepared/\(key.hex).t2v" }

    /// Size and digest of a cached shard, or nil when there is none that is whole.
    public func entry(_ key: [UInt8], schema: FeatureSchema) -> (size: UInt64, digest: [UInt8])? {
        guard let file = try? MappedFile(path(key)),
            (try? PreparedShard(bytes: file.bytes, owner: file, schema: schema, place: path(key))) != nil
        else { return nil }
        return (UInt64(file.bytes.count), Self.digest(file.bytes))
    }

    /// What a fetched shard is compared with.
    public static func digest(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        withUnsafeBytes(of: Digest64.hash(bytes).littleEndian) { Array($0) }
    }

    /// Maps a cached shard that has this size and digest; nil when it is missing or differs.
    public func open(_ key: [UInt8], schema: FeatureSchema, size: UInt64, digest: [UInt8]) -> PreparedShard? {
        guard let file = try? MappedFile(path(key)), UInt64(file.bytes.count) == size, Self.digest(file.bytes) == digest else { return nil }
        return try? PreparedShard(bytes: file.bytes, owner: file, schema: schema, place: path(key))
    }

    /// Why nothing can be written, by trying; nil when it can. Less free space than this counts as none.
    public func failureOfWriting(byteCount: Int = 1 << 18) -> InputError? {
        do throws(InputError) {
            let file = try IncomingFile(target: "\(folder)/prepared/probe", size: UInt64(byteCount))
            try file.write([UInt8](repeating: 1, count: byteCount))
            return nil
        } catch {
            var error = error
            error.place = folder
            return error
        }
    }

    /// Writes a shard that was prepared here.
    /// - Throws: `InputError` when the disk is full or fails; no part of the file stays.
    public func store(_ bytes: [UInt8], key: [UInt8]) throws(InputError) {
        let incoming = try IncomingFile(target: path(key), size: UInt64(bytes.count))
        try incoming.write(bytes)
        try incoming.finish()
    }
}

/// A file that arrives in pieces. It gets its name when it is whole; else nothing of it stays.
public final class IncomingFile {
    public let target: String
    private let temporary: String
    private var descriptor: Int32
    private var finished = false

    public init(target: String, size: UInt64) throws(InputError) {
        self.target = target
        let name = "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        temporary = name
        descriptor = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failure(target) }
    }

    private static func failure(_ target: String) -> InputError {
        InputError(
            "cannot write: \(String(cString: strerror(errno)))", at: target, remedy: "free space on the disk, or give another --cache")
    }

    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(InputError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let count = pwrite(descriptor, base + done, bytes.count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(target) }
            done += count
        }
    }

    /// Writes the whole of the file.
    func write(_ bytes: [UInt8]) throws(InputError) {
        var failure: InputError?
        bytes.withUnsafeBytes { buffer in
            do throws(InputError) { try write(buffer, at: 0) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// The bytes so far, mapped.
    public func contents() throws(InputError) -> MappedFile { try MappedFile(temporary) }

    public func finish() throws(InputError) {
        guard rename(temporary, target) == 0 else { throw Self.failure(target) }
        finished = true
    }

    deinit {
        close(descriptor)
        if !finished { unlink(temporary) }
    }
}
