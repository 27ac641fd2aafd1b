// Cuts a stream of lines into shards. In: bytes. Out: ranges of whole lines of about equal size.
import Base
import CLinux
import Glibc

/// Cuts the lines of files, one after the other, into shards that never extend beyond a file's end.
struct ShardCutter {
    private let total, parts, limit: Int
    private(set) var shards: [Shard] = []
    /// Number of each file's first line.
    private(set) var firstLines: [Int] = []
    private var path = ""
    /// Bytes of the files before this one. The other positions, too, count over all files.
    private var fileStart = 0
    private var position = 0
    private var line = 0
    private var start = 0
    private var firstLine = 0
    private var hasher = SHA256()
    /// Where the current line began; its bytes before the current piece are `pending`.
    private var lineStart = 0
    private var pending: [UInt8] = []

    init(total: Int, parts: Int, limit: Int) {
        (self.total, self.parts, self.limit) = (total, parts, limit)
    }

    mutating func begin(path: String) {
        self.path = path
        fileStart = position
        firstLines.append(line)
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
            "the line is longer than \(limit >> 20) MiB", at: "\(path):\(line - (firstLines.last ?? 0) + 1)",
            remedy: "one record a line; split the document")
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
            Shard(
                file: firstLines.count - 1, offset: start - fileStart, byteCount: lineStart - start, firstLine: firstLine,
                lineCount: line - firstLine, digest: digest))
        (hasher, start, firstLine) = (SHA256(), lineStart, line)
    }

    /// Ends the file: what follows its last line feed is a line, too.
    mutating func end() throws(InputError) {
        if position > lineStart { try endLine(UnsafeRawBufferPointer(start: nil, count: 0)) }
        if lineStart > start { endShard() }
    }
}
