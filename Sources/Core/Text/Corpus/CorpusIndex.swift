// A corpus cut into shards. In: files of lines, or of pieces. Out: byte ranges of whole lines or pieces, their hashes, and lanes of them.
import Base
import CLinux
import Glibc

/// A run of whole lines, or of whole pieces: the unit that is shipped, prepared and cached.
package struct Shard: Equatable, Sendable {
    /// Which of the corpus's files.
    package var file = 0
    /// First byte in the file.
    package var offset: Int
    package var byteCount: Int
    /// Number of its first line (of pieces: document), counted from 0 over all files.
    package var firstLine: Int
    /// Its lines (of pieces: documents).
    package var lineCount: Int
    /// SHA-256 of its text.
    package var digest: [UInt8]
}

/// The shards of a corpus: of one file, or of several, one after the other.
package struct CorpusIndex: Sendable, Equatable {
    /// A shard's largest text in bytes.
    package static let maximumShardBytes = 16 << 20

    /// What the files hold.
    package enum Format: Equatable, Sendable {
        /// One JSON record a line.
        case jsonl
        /// One document a line, plain text.
        case lines
        /// Pieces that Python has prepared, with this many columns.
        case pieces(columns: Int)
    }

    package var shards: Numbered<ShardID, Shard>
    /// Number of the first line (or document) of each file.
    package var firstLines: [Int]
    /// SHA-256 over the shards' digests: names the corpus in a checkpoint.
    package var digest: String

    /// Reads the file once, in parts: memory does not depend on its size.
    /// - Parameter lanes: small corpora give at least 8 shards a lane where the lines allow.
    /// - Throws: `InputError` for a missing, empty or unreadable file and for a line that no shard can hold.
    package init(path: String, lanes: Int, maximumShardBytes: Int = maximumShardBytes) throws(InputError) {
        try self.init(paths: [path], lanes: lanes, maximumShardBytes: maximumShardBytes)
    }

    /// The same of several files.
    /// - Parameter limit: takes only this many records, blank ones not counted; 0: all. Pieces have no limit.
    package init(
        paths: [String], format: Format = .jsonl, limit: Int = 0, lanes: Int, maximumShardBytes: Int = maximumShardBytes
    ) throws(InputError) {
        var files: [CorpusFile] = []
        for path in paths { files.append(try CorpusFile(path)) }
        if limit > 0 { try CorpusFile.cut(&files, after: limit, format: format) }
        let total = files.reduce(0) { $0 + $1.byteCount }
        guard total > 0 else {
            throw InputError("the texts are empty", at: paths.first ?? "", remedy: "give a file with one JSON record a line")
        }
        // Even cuts: a shard holds the lines that start in its part. If possible, a part stays a line's length below the limit.
        let parts = max(8 * lanes, (total + maximumShardBytes * 3 / 4 - 1) / (maximumShardBytes * 3 / 4))
        switch format {
        case .jsonl, .lines:
            var cutter = ShardCutter(total: total, parts: parts, limit: maximumShardBytes)
            for file in files {
                cutter.begin(path: file.path)
                try file.read { part throws(InputError) in try cutter.take(part) }
                try cutter.end()
            }
            (shards, firstLines) = (Numbered(cutter.shards), cutter.firstLines)
        case .pieces(let columns):
            var cutter = PieceCutter(total: total, parts: parts, limit: maximumShardBytes, columns: columns)
            for file in files { try cutter.take(file) }
            (shards, firstLines) = (Numbered(cutter.shards), cutter.firstLines)
        }
        var hasher = SHA256()
        for shard in shards { hasher.update(shard.digest) }
        digest = hasher.finalize().hex
    }

    /// The file and the number in it, from 1, of line `line` of shard `shard`.
    package func place(shard: ShardID, line: Int) -> (file: Int, line: Int) {
        let file = shards[shard].file
        return (file, shards[shard].firstLine + line - firstLines[file] + 1)
    }

    /// Shard numbers of each lane, balanced by text bytes: the largest shard first, each to the lane with the least text so far.
    package func lanes(_ count: Int) -> Numbered<LaneID, [ShardID]> {
        var lists = Numbered<LaneID, [ShardID]>(repeatElement([], count: count))
        var loads = Numbered<LaneID, Int>(repeatElement(0, count: count))
        let order = shards.indices.sorted { (-shards[$0].byteCount, $0) < (-shards[$1].byteCount, $1) }
        for shard in order {
            let lane = loads.indices.min { (loads[$0], $0) < (loads[$1], $1) } ?? 0
            lists[lane].append(shard)
            loads[lane] += shards[shard].byteCount
        }
        return Numbered(lists.map { $0.sorted() })
    }
}
