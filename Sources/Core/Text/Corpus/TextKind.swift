// What is in a file that should hold texts. In: its first bytes. Out: nothing, or an error that says what it is and what to do.
// python/t2v/hints.py knows the same kinds.
import Base

/// Kinds of files that people give as texts, recognized by how they begin. Everything else is judged line by line.
package enum TextKind {
    /// Bytes that are enough to tell.
    package static let headBytes = 4096

    /// Looks at a file's beginning. A missing file and a folder are refused, too.
    /// - Parameter name: the path as the user gave it.
    package static func check(_ path: String, name: String, format: CorpusIndex.Format) throws(InputError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: headBytes, alignment: 16)
        defer { buffer.deallocate() }
        let count = try CorpusFile(path).read(at: 0, into: buffer)
        if let fault = fault(UnsafeRawBufferPointer(rebasing: buffer[..<count]), name: name, format: format) { throw fault }
    }

    /// - Parameters:
    ///   - head: the first bytes of the file, decompressed if it ends in .gz.
    ///   - name: the path as the user gave it; "-" is standard input.
    /// - Returns: nil if the file may hold what `format` says.
    package static func fault(_ head: UnsafeRawBufferPointer, name: String, format: CorpusIndex.Format) -> InputError? {
        if case .pieces = format { return nil }
        let place = name == "-" ? "standard input" : name
        let file = name == "-" ? "FILE" : name
        for (magic, what, tool) in packed where head.starts(with: magic) {
            return InputError("this is \(what), which t2v does not unpack", at: place, remedy: "unpack it: `\(tool) \(file) > raw.jsonl`")
        }
        for (magic, what, remedy) in others where head.starts(with: magic) {
            return InputError("this is \(what)", at: place, remedy: remedy)
        }
        if let coding = wideCoding(head) {
            return InputError(
                "the texts are \(coding), not UTF-8", at: place, remedy: "convert them: `iconv -f \(coding) -t UTF-8 \(file) > raw.jsonl`")
        }
        if head.starts(with: [0xEF, 0xBB, 0xBF]) {
            return InputError(
                "the file begins with a byte order mark", at: place, remedy: "remove it: `tail -c +4 \(file) > raw.jsonl`")
        }
        if head.contains(0) { return InputError("this is a binary file, not text", at: place, remedy: "give texts, one a line, in UTF-8") }
        return format == .jsonl ? jsonFault(head, place: place, file: file) : nil
    }

    /// Compressed data: how it begins, what it is, what unpacks it.
    private static let packed: [([UInt8], String, String)] = [
        ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], "xz data", "xz -dc"), (Array("BZh91AY&".utf8), "bzip2 data", "bzip2 -dc"),
        ([0x28, 0xB5, 0x2F, 0xFD], "Zstandard data", "zstd -dc"), ([0x1F, 0x8B], "gzip data whose name does not end in .gz", "gzip -dc <"),
        ([0x50, 0x4B, 0x03, 0x04], "a zip archive", "unzip -p"),
    ]

    private static let others: [([UInt8], String, String)] = [
        (Array("PAR1".utf8), "a Parquet file", "write its texts as {\"text\": \"...\"}, one a line"),
        ([0x78, 0x9C], "a .spacy file of documents (DocBin)", "write its documents' texts as {\"text\": \"...\"}, one a line"),
    ]

    /// UTF-16 with a byte order mark, or without one but with a zero in each pair of bytes.
    private static func wideCoding(_ head: UnsafeRawBufferPointer) -> String? {
        if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) { return "UTF-16" }
        guard head.count >= 4 else { return nil }
        let zeros = (0..<4).map { head[$0] == 0 }
        return zeros == [false, true, false, true] ? "UTF-16LE" : zeros == [true, false, true, false] ? "UTF-16BE" : nil
    }

    /// JSON, but not one record a line; or not JSON.
    private static func jsonFault(_ head: UnsafeRawBufferPointer, place: String, file: String) -> InputError? {
        let lines = head.split(separator: 0x0A).prefix(3).compactMap { line in
            line.firstIndex { !RecordReader.isBlank($0) }.map { line[$0...] }
        }
        guard let first = lines.first, let begin = first.first else { return nil }
        if begin == UInt8(ascii: "[") {
            let rest = head[first.startIndex...].dropFirst().first { !RecordReader.isBlank($0) }
            let filter = rest == UInt8(ascii: "\"") ? "'.[] | {text: .}'" : "'.[]'"
            return InputError(
                "this is a JSON array, not one record a line", at: place, remedy: "take it apart: `jq -c \(filter) \(file) > raw.jsonl`")
        }
        if begin == UInt8(ascii: "{"), first.dropFirst().allSatisfy(RecordReader.isBlank) {
            return InputError(
                "a JSON record spans several lines here", at: place, remedy: "write one a line: `jq -c . \(file) > raw.jsonl`")
        }
        if lines.allSatisfy({ $0.first.map(isText) ?? false }) {
            return InputError(
                "this is plain text, not JSON", at: place,
                remedy: "make records of its lines: `jq -Rc '{text: .}' \(file) > raw.jsonl`, or with a config use spacy.PlainTextCorpus.v1"
            )
        }
        return nil
    }

    /// Whether no JSON value begins with the byte.
    private static func isText(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "\""), UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): false
        default: true
        }
    }
}
