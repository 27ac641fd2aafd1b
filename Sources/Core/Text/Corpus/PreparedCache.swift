// Prepared shards on disk, named by everything they depend on. In: keys, bytes. Out: mapped shards, for this run and later ones.
import Base
import CLinux
import FoundationEssentials
import Glibc
import Shards
import Synchronization

/// A folder of prepared shards. Several processes may use it at once: a file appears by rename, when it is complete.
package final class PreparedCache: Sendable {
    package let folder: String
    /// Files whose digest this process has verified.
    private let verified = Mutex<[CacheKey: FileIdentity]>([:])

    /// - Throws: `InputError` when the folder cannot be made or written.
    package init(folder: String) throws(InputError) {
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

    /// $XDG_CACHE_HOME/t2v or ~/.cache/t2v; if neither can be written, a folder at `fallback` that only this user can access.
    package static func standard(fallback: String) throws(InputError) -> PreparedCache {
        let environment = ProcessInfo.processInfo.environment
        let home = environment["XDG_CACHE_HOME"] ?? environment["HOME"].map { $0.isEmpty ? "" : "\($0)/.cache" }
        if let home, !home.isEmpty, let cache = try? PreparedCache(folder: "\(home)/t2v") { return cache }
        try Path.makeFolder(Path.parent(fallback))
        try makePrivate(fallback)
        return try PreparedCache(folder: fallback)
    }

    /// Makes a folder, or takes an existing one that nobody else can write: another user may know its name and make it first.
    static func makePrivate(_ folder: String) throws(InputError) {
        func refuse(_ what: String) -> InputError { InputError(what, at: folder, remedy: "give another --cache FOLDER") }
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw refuse("cannot make the cache folder: \(String(cString: strerror(errno)))")
        }
        var status = stat()
        let isFolder = lstat(folder, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        guard isFolder, status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
            throw refuse("other users can write the cache folder, or it is not this user's")
        }
    }

    /// SHA-256 over everything that a prepared shard depends on.
    /// - Parameter text: SHA-256 of the shard's text.
    package static func key(text: [UInt8], modelDigest: String, schema: FeatureSchema, minLength: Int, maxLength: Int) -> CacheKey {
        var hasher = SHA256()
        hasher.update(text)
        hasher.update("\(modelDigest) \(schema.digest) \(minLength) \(maxLength) \(PreparedShard.version)")
        guard let key = CacheKey(hasher.finalize()) else { preconditionFailure("SHA-256 has 32 bytes") }
        return key
    }

    package func path(_ key: CacheKey) -> String { "\(folder)/prepared/\(key.hex).t2v" }

    /// Size and digest of a cached shard, or nil if there is none or it is damaged.
    package func entry(_ key: CacheKey, schema: FeatureSchema) -> (size: UInt64, digest: ShardDigest)? {
        guard let (file, digest) = sealed(key), (try? shard(file, key, schema)) != nil else { return nil }
        return (UInt64(Self.body(file).count), digest)
    }

    /// What a fetched shard is compared with.
    package static func digest(_ bytes: UnsafeRawBufferPointer) -> ShardDigest { ShardDigest(Digest64.hash(bytes)) }

    /// The bytes of a cached shard and what keeps them alive; nil if there is none or it is damaged.
    package func contents(_ key: CacheKey) -> (bytes: UnsafeRawBufferPointer, owner: AnyObject)? {
        sealed(key).map { (Self.body($0.file), $0.file) }
    }

    /// Maps a cached shard that has this size and digest; nil if it is missing, damaged or a different one.
    package func open(_ key: CacheKey, schema: FeatureSchema, size: UInt64, digest: ShardDigest) -> PreparedShard? {
        guard let (file, found) = sealed(key), UInt64(Self.body(file).count) == size, found == digest else { return nil }
        return try? shard(file, key, schema)
    }

    private func shard(_ file: MappedFile, _ key: CacheKey, _ schema: FeatureSchema) throws(InputError) -> PreparedShard {
        try PreparedShard(bytes: Self.body(file), owner: file, schema: schema, place: path(key))
    }

    /// Tries to write: why nothing can be written, or nil. Less free space than this counts as none.
    package func failureOfWriting(byteCount: Int = 1 << 18) -> InputError? {
        do throws(InputError) {
            let file = try IncomingFile(target: "\(folder)/prepared/probe")
            try file.write([UInt8](repeating: 1, count: byteCount), at: 0)
            return nil
        } catch {
            var error = error
            error.place = folder
            return error
        }
    }

    /// Writes a shard that was prepared here.
    /// - Throws: `InputError` when the disk is full or fails; no part of the file stays.
    package func store(_ bytes: [UInt8], key: CacheKey) throws(InputError) {
        let incoming = try IncomingFile(target: path(key))
        try incoming.write(bytes, at: 0)
        try seal(incoming, size: UInt64(bytes.count), digest: bytes.withUnsafeBytes(Self.digest))
    }

    /// Takes a shard into the cache once all its pieces have arrived.
    /// - Throws: `InputError` when it is not what was announced, is not a shard, or the disk fails; no part of it stays then.
    package func take(
        _ incoming: IncomingFile, key: CacheKey, schema: FeatureSchema, size: UInt64, digest: ShardDigest, vectorRows: Int
    ) throws(InputError) {
        let contents = try incoming.contents()
        guard UInt64(contents.bytes.count) == size, Self.digest(contents.bytes) == digest else {
            throw InputError("a prepared shard arrived damaged", at: path(key), remedy: "it is fetched again")
        }
        let shard = try PreparedShard(bytes: contents.bytes, owner: contents, schema: schema, place: path(key))
        guard shard.fits(vectorRows: vectorRows) else {
            throw InputError(
                "a prepared shard names vector rows that do not exist", at: path(key), remedy: "install the same t2v on all hosts")
        }
        try seal(incoming, size: size, digest: digest)
    }

    // MARK: Seals

    /// After a shard's bytes its file has 16 more: a mark and their digest. A file that a failing disk, a crash or an accident has changed
    /// is not used, however old it is.
    private static let sealBytes = 16
    private static let sealMark: UInt64 = 0x314C_4145_5356_3254  // "T2VSEAL1"

    private func seal(_ incoming: IncomingFile, size: UInt64, digest: ShardDigest) throws(InputError) {
        let words = [Self.sealMark.littleEndian, digest.value.littleEndian]
        try incoming.write(words.withUnsafeBytes { Array($0) }, at: size)
        try incoming.finish()
    }

    private static func body(_ file: MappedFile) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: file.bytes.dropLast(sealBytes))
    }

    /// A cached file whose bytes have the digest in its seal. A process reads each file once for this check.
    private func sealed(_ key: CacheKey) -> (file: MappedFile, digest: ShardDigest)? {
        guard let file = try? MappedFile(path(key)), file.bytes.count > Self.sealBytes else { return nil }
        let start = file.bytes.count - Self.sealBytes
        let mark = file.bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
        let digest = ShardDigest(UInt64(littleEndian: file.bytes.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self)))
        guard UInt64(littleEndian: mark) == Self.sealMark else { return nil }
        if verified.withLock({ $0[key] == file.identity }) { return (file, digest) }
        guard Self.digest(Self.body(file)) == digest else { return nil }
        verified.withLock { $0[key] = file.identity }
        return (file, digest)
    }
}

/// A file that arrives in pieces. It gets its name when it is complete; otherwise nothing of it stays.
package final class IncomingFile {
    package let target: String
    private let temporary: String
    private var descriptor: Int32
    private var finished = false

    /// - Parameter mode: permissions, less the umask.
    package init(target: String, mode: mode_t = 0o644) throws(InputError) {
        self.target = target
        let name = "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        temporary = name
        descriptor = Glibc.open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw Self.failure(target) }
    }

    private static func failure(_ target: String) -> InputError {
        InputError(
            "cannot write: \(String(cString: strerror(errno)))", at: target, remedy: "free space on the disk, or give another --cache")
    }

    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(InputError) {
        guard let start = off_t(exactly: offset), start <= off_t.max - off_t(bytes.count) else {
            throw InputError("no file can have \(offset) bytes", at: target, remedy: "check the peer that sent it")
        }
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let count = pwrite(descriptor, base + done, bytes.count - done, start + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(target) }
            done += count
        }
    }

    func write(_ bytes: [UInt8], at offset: UInt64) throws(InputError) {
        let result = bytes.withUnsafeBytes { bytes in Result { () throws(InputError) in try write(bytes, at: offset) } }
        try result.get()
    }

    /// The bytes so far, mapped.
    package func contents() throws(InputError) -> MappedFile { try MappedFile(temporary) }

    package func finish() throws(InputError) {
        guard rename(temporary, target) == 0 else { throw Self.failure(target) }
        finished = true
    }

    deinit {
        close(descriptor)
        if !finished { unlink(temporary) }
    }
}
