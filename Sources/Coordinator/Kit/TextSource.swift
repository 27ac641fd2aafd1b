// TEXTS as a plain file. In: .jsonl, .jsonl.gz, or - for standard input. Out: the path of a file that can be read repeatedly.
import Base
import CLinux
import CZlib
import Glibc
import Output
import Text

/// Makes the corpus seekable: compressed texts and standard input are spooled into the output folder.
package enum TextSource {
    /// - Parameter resuming: an existing spool is complete: it got its name at the end.
    /// - Returns: a path that can be read, and the spool behind it if one was made.
    static func path(
        _ texts: String, format: CorpusIndex.Format, folder: OutputFolder, resuming: Bool
    ) throws -> (path: String, spool: UnnamedFile?) {
        guard texts == "-" || texts.hasSuffix(".gz") else {
            try TextKind.check(texts, name: texts, format: format)
            return (texts, nil)
        }
        if resuming, access(folder.spoolPath, F_OK) == 0 { return (folder.spoolPath, nil) }
        if texts == "-", resuming, isatty(0) != 0 {
            throw InputError(
                "the texts came on standard input, and what was kept of them is gone", at: folder.spoolPath,
                remedy: "give them on standard input again, or with --texts FILE")
        }
        let spool = try UnnamedFile(for: folder.spoolPath)
        let stream = texts == "-" ? gzdopen(dup(0), "rb") : gzopen(texts, "rb")
        try self.spool(from: stream, texts, format: format, to: spool)
        return (spool.path, spool)
    }

    /// The same for several texts, one after another. If one of them cannot be read repeatedly, all are kept in one spool.
    static func paths(
        _ texts: [String], format: CorpusIndex.Format, folder: OutputFolder, resuming: Bool
    ) throws -> (paths: [String], spool: UnnamedFile?) {
        if texts.count == 1 {
            let one = try path(texts[0], format: format, folder: folder, resuming: resuming)
            return ([one.path], one.spool)
        }
        guard texts.contains(where: { $0 == "-" || $0.hasSuffix(".gz") }) else {
            for text in texts { try TextKind.check(text, name: text, format: format) }
            return (texts, nil)
        }
        if resuming, access(folder.spoolPath, F_OK) == 0 { return ([folder.spoolPath], nil) }
        let spool = try UnnamedFile(for: folder.spoolPath)
        for text in texts {
            let stream = text == "-" ? gzdopen(dup(0), "rb") : gzopen(text, "rb")
            try self.spool(from: stream, text, format: format, to: spool, endsLine: true)
        }
        return ([spool.path], spool)
    }

    /// Calls `body` with a file that holds the texts as they are: for compressed texts and standard input, one that exists only during the
    /// call.
    package static func withPlainFile<Result>(
        _ texts: String, format: CorpusIndex.Format = .jsonl, _ body: (String) throws -> Result
    ) throws -> Result {
        guard texts == "-" || texts.hasSuffix(".gz") else {
            try TextKind.check(texts, name: texts, format: format)
            return try body(texts)
        }
        let file = try UnnamedFile(for: "\(Path.temporaryFolder)/texts")
        let stream = texts == "-" ? gzdopen(dup(0), "rb") : gzopen(texts, "rb")
        try spool(from: stream, texts, format: format, to: file)
        return try body(file.path)
    }

    /// zlib passes plain text through and decompresses gzip.
    /// - Parameter endsLine: ends the last line if the text does not.
    private static func spool(
        from stream: gzFile?, _ texts: String, format: CorpusIndex.Format, to file: UnnamedFile, endsLine: Bool = false
    ) throws {
        let name = texts == "-" ? "standard input" : texts
        guard let stream else {
            throw InputError("cannot open the texts: \(String(cString: strerror(errno)))", at: name, remedy: "check the path")
        }
        defer { gzclose(stream) }
        gzbuffer(stream, 1 << 18)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var total: UInt64 = 0
        var last: UInt8 = 0
        while true {
            let count = gzread(stream, &buffer, UInt32(buffer.count))
            if count == 0 { break }
            guard count > 0 else {
                var code: Int32 = 0
                let what = String(cString: gzerror(stream, &code))
                throw InputError("cannot read the texts: \(what)", at: name, remedy: "check the file: it may be cut short")
            }
            try buffer.withUnsafeBytes {
                let head = UnsafeRawBufferPointer(rebasing: $0[..<min(Int(count), TextKind.headBytes)])
                if total == 0, let fault = TextKind.fault(head, name: texts, format: format) { throw fault }
                try file.append(UnsafeRawBufferPointer(rebasing: $0[..<Int(count)]), place: "the copy of the texts")
            }
            total += UInt64(count)
            last = buffer[Int(count) - 1]
        }
        var code: Int32 = 0
        _ = gzerror(stream, &code)
        guard code == Z_OK || code == Z_STREAM_END else {
            throw InputError("the texts end in the middle of the compressed data", at: name, remedy: "copy or compress the file again")
        }
        if endsLine, last != 0x0a { try [0x0a as UInt8].withUnsafeBytes { try file.append($0, place: "the texts' copy") } }
        guard total > 0 else { throw InputError("the texts are empty", at: name, remedy: "give one JSON record a line") }
    }
}
