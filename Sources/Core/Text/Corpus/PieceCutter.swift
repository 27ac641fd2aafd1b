// Cuts files of pieces into shards. In: open files. Out: ranges of whole pieces of about equal size.
import Base
import Glibc

/// Cuts at the borders of pieces.
struct PieceCutter {
    private let total, parts, limit, columns: Int
    private(set) var shards: [Shard] = []
    /// Number of each file's first document.
    private(set) var firstLines: [Int] = []
    /// Bytes of the files before the current one.
    private var fileStart = 0
    /// Documents so far end before this number.
    private var nextDocument: UInt64 = 0

    init(total: Int, parts: Int, limit: Int, columns: Int) {
        (self.total, self.parts, self.limit, self.columns) = (total, parts, limit, columns)
    }

    /// - Throws: `InputError` that names the byte of a piece which is damaged, too long, of other columns, or out of order.
    mutating func take(_ file: CorpusFile) throws(InputError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: limit, alignment: 16)
        defer { buffer.deallocate() }
        var (offset, shard, hasher) = (0, nil as Shard?, SHA256())
        func close() {
            guard var done = shard else { return }
            done.digest = hasher.finalize()
            shards.append(done)
            (shard, hasher) = (nil, SHA256())
        }
        while offset < file.byteCount {
            let place = "\(file.path), byte \(offset)"
            let found = try file.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(64, limit)]))
            let header = try Piece.Header(UnsafeRawBufferPointer(rebasing: buffer[..<found]), place: place)
            guard header.byteCount <= limit else {
                throw Piece.damaged("it has \(header.byteCount) bytes, a piece at most \(limit)", place)
            }
            guard header.columns == columns else {
                throw Piece.damaged("it has \(header.columns) columns, the job has \(columns)", place)
            }
            guard header.byteCount <= file.byteCount - offset else { throw Piece.damaged("the file ends in the middle of it", place) }
            guard header.firstDocument >= nextDocument else {
                throw Piece.damaged("its first document is \(header.firstDocument), expected \(nextDocument) or more", place)
            }
            if offset == 0 { firstLines.append(Int(header.firstDocument)) }
            nextDocument = header.firstDocument + UInt64(header.documents)
            if let open = shard {
                let part = (fileStart + offset).scaled(by: parts, over: total)
                let startPart = (fileStart + open.offset).scaled(by: parts, over: total)
                if part != startPart || open.byteCount + header.byteCount > limit { close() }
            }
            _ = try file.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<header.byteCount]))
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<header.byteCount]))
            let first = shard?.firstLine ?? Int(header.firstDocument)
            var grown = shard ?? Shard(file: firstLines.count - 1, offset: offset, byteCount: 0, firstLine: first, lineCount: 0, digest: [])
            grown.byteCount += header.byteCount
            grown.lineCount = Int(nextDocument) - first
            shard = grown
            offset += header.byteCount
        }
        close()
        fileStart += file.byteCount
        if file.byteCount == 0 { firstLines.append(Int(nextDocument)) }
    }
}
