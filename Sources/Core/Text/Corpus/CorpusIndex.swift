// A corpus file cut into shards. In: a JSONL file. Out: byte ranges of whole lines, their hashes, and lanes of them.
import Base
import CLinux
import Glibc

/// A run of whole corpus lines: the unit that is shipped, prepared and cached.
public struct Shard: Equatable, Sendable {
    /// First byte in the corpus file.
    public var offset: Int
    public var byteCount: Int
    /// Line number of its first line, counted from 0.
    public var firstLine: Int
    public var lineCount: Int
    /// SHA-256 of its text.
    public var digest: [UInt8]
}

/// The shards of a corpus file.
public struct CorpusIndex: Sendable, Equatable {
    /// A shard's largest text in bytes.
    public static let maximumShardBytes = 16 << 20
    public var shards: [Shard]
    /// SHA-256 over the shards' digests: names the corpus in a checkpoint.
    public var digest: String

    /// Reads the file once, in pieces: memory does not depend on its size.
    /// - Parameter lanes: small corpora give at least 8 shards a lane where the lines allow.
    /// - Throws: `InputError` for a missing, empty or unreadable file and for a line that no shard can hold.
    public init(path: String, lanes: Int, maximumShardBytes: Int = maximumShardBytes) throws(InputError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw InputError(
                "cannot open the texts: \(String(cString: strerror(errno)))", at: path, remedy: "check the path and its permissions")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw InputError("the texts are not a regular file", at: path, remedy: "give a .jsonl file, or - for standard input")
        }
        let total = Int(status.st_size)
        guard total > 0 else { throw InputError("the texts are empty", at: path, remedy: "give a file with one JSON record a line") }
        // Even cuts: a shard holds the lines that start in its part. A part is kept a line's length below the limit where that is possible.
        let parts = max(8 * lanes, (total + maximumShardBytes * 3 / 4 - 1) / (maximumShardBytes * 3 / 4))
        var cutter = ShardCutter(total: total, parts: parts, limit: maximumShardBytes, path: path)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var position = 0
        while position < total {
            let count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(position)) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw InputError(
                    "cannot read the texts: \(count == 0 ? "the file shrank" : String(cString: strerror(errno)))", at: path,
                    remedy: "check the disk")
            }
            do {
                try buffer.withUnsafeBytes { try cutter.take(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            } catch let error as InputError {
                throw error
            } catch {
                throw InputError("\(error)", at: path, remedy: "check the disk")
            }
            position += count
        }
        shards = try cutter.finish()
        var hasher = SHA256()
        for shard in shards { hasher.update(shard.digest) }
        digest = hasher.finalize().hex
    }

    /// Shard numbers of each lane, balanced by text bytes: the largest shard first, each to the lane with the least text so far.
    public func lanes(_ count: Int) -> [[Int]] {
        var lists = [[Int]](repeating: [], count: count)
        var loads = [Int](repeating: 0, count: count)
        let order = shards.indices.sorted { (-shards[$0].byteCount, $0) < (-shards[$1].byteCount, $1) }
        for shard in order {
            let lane = loads.indices.min { (loads[$0], $0) < (loads[$1], $1) } ?? 0
            lists[lane].append(shard)
            loads[lane] += shards[shard].byteCount
        }
        return lists.map { $0.sorted() }
    }
}

/// Cuts a stream of bytes into shards.
private struct ShardCutter {
    let total, parts, limit: Int
    let path: String
    var shards: [Shard] = []
    var position = 0
    var line = 0
    var start = 0
    var firstLine = 0
    var hasher = SHA256()
    /// Where the line under way began; its bytes before the current piece are `pending`.
    var lineStart = 0
    var pending: [UInt8] = []

    init(total: Int, parts: Int, limit: Int, path: String) {
        (self.total, self.parts, self.limit, self.path) = (total, parts, limit, path)
    }

    mutating func take(_ piece: UnsafeRawBufferPointer) throws(InputError) {
        var index = 0
        while index < piece.count, let base = piece.baseAddress {
            guard let found = memchr(base + index, 0x0A, piece.count - index) else {
                pending.append(contentsOf: piece[index...])
                position += piece.count - index
                if position - lineStart > limit { throw tooLong }
                return
            }
            let end = UnsafeRawPointer(found) - base + 1
            position += end - index
            try endLine(UnsafeRawBufferPointer(rebasing: piece[index..<end]))
            index = end
        }
    }

    private var tooLong: InputError {
        InputError(
            "the line is longer than \(limit >> 20) MiB", at: "\(path):\(line + 1)", remedy: "one record a line; split the document")
    }

    /// `rest` is the line's last part, its newline included.
    private mutating func endLine(_ rest: UnsafeRawBufferPointer) throws(InputError) {
        let length = position - lineStart
        guard length <= limit else { throw tooLong }
        let part = lineStart.scaled(by: parts, over: total)
        let startPart = start.scaled(by: parts, over: total)
        if lineStart > start, part != startPart || position - start > limit { endShard() }
        hasher.update(pending)
        hasher.update(rest)
        pending.removeAll(keepingCapacity: true)
        line += 1
        lineStart = position
    }

    private mutating func endShard() {
        let digest = hasher.finalize()
        shards.append(
            Shard(offset: start, byteCount: lineStart - start, firstLine: firstLine, lineCount: line - firstLine, digest: digest))
        (hasher, start, firstLine) = (SHA256(), lineStart, line)
    }

    mutating func finish() throws(InputError) -> [Shard] {
        if position > lineStart { try endLine(UnsafeRawBufferPointer(start: nil, count: 0)) }
        if lineStart > start { endShard() }
        return shards
    }
}
