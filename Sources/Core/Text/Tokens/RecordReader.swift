// One line of a corpus. In: JSON bytes. Out: a text, a list of words, or an error that says what is wrong with the line.
import Base
import FoundationEssentials
import Glibc

/// A fault in a line of a shard. The caller knows the file and the shard's first line, and makes an `InputError` of it.
package struct ShardPreparationError: Error, Equatable, CustomStringConvertible {
    /// Counted from 0 at the shard's first line.
    package var line: Int
    /// What is wrong with the record.
    package var what: String
    /// What the user can do.
    package var remedy: String

    /// One line; the file's name is the caller's to add.
    package var description: String { "line \(line + 1) of the shard: \(what); \(remedy)" }

    /// The same as an error for the user.
    /// - Parameter firstLine: the number, from 1, of the shard's first line in `file`.
    package func inputError(file: String, firstLine: Int) -> InputError {
        InputError(what, at: "\(file), line \(firstLine + line)", remedy: remedy)
    }
}

/// What a corpus line holds (spaCy 2.3.9 spacy/cli/pretrain.py, `make_docs`).
enum CorpusRecord: Equatable {
    /// A blank line, which spaCy's reader (srsly.read_jsonl) skips too. Not counted.
    case blank
    /// `tokens` or `text` is empty or null. Skipped and counted.
    case empty
    case text(String)
    /// Wins over `text`.
    case tokens([String])
}

struct RecordReader {
    /// The keys in use; `heads` and all others are ignored.
    private struct Fields: Decodable {
        var tokens: [String]?
        var text: String?
        var hasTokens = false
        var hasText = false

        private enum Keys: String, CodingKey { case tokens, text }

        init(from decoder: Decoder) throws {
            let container = try decoder.container(keyedBy: Keys.self)
            hasTokens = container.contains(.tokens)
            if hasTokens {
                tokens = try container.decodeIfPresent([String].self, forKey: .tokens)
                return
            }
            hasText = container.contains(.text)
            text = try container.decodeIfPresent(String.self, forKey: .text)
        }
    }

    private struct Anything: Decodable {
        init(from decoder: Decoder) {}
    }

    private let decoder = JSONDecoder()

    /// Decodes one line without its line feed.
    func read(_ line: UnsafeRawBufferPointer, number: Int) throws(ShardPreparationError) -> CorpusRecord {
        guard let start = line.firstIndex(where: { !Self.isBlank($0) }), let base = line.baseAddress else { return .blank }
        let fields: Fields
        do {
            if let last = RepeatedKeys.lastMembers(of: line, keys: ["tokens", "text"]) {
                // Records that are left out must be JSON, too.
                _ = try decoder.decode(Anything.self, from: Data(line))
                fields = try decoder.decode(Fields.self, from: Data(last))
            } else {
                // the bytes outlive the call; nothing is copied or freed
                let data = Data(bytesNoCopy: UnsafeMutableRawPointer(mutating: base), count: line.count, deallocator: .none)
                fields = try decoder.decode(Fields.self, from: data)
            }
        } catch {
            throw Self.explain(error, first: line[start], number: number)
        }
        if fields.hasTokens {
            guard let tokens = fields.tokens, !tokens.isEmpty else { return .empty }
            guard !tokens.contains("") else {
                throw ShardPreparationError(line: number, what: "an empty string among `tokens`", remedy: "leave empty tokens out")
            }
            return .tokens(tokens)
        }
        guard fields.hasText else {
            throw ShardPreparationError(line: number, what: "neither `text` nor `tokens` in the record", remedy: Self.remedy)
        }
        guard let text = fields.text, !text.isEmpty else { return .empty }
        return .text(text)
    }

    /// Decodes one line of plain text. A carriage return ends a line, too, as when Python reads text files; empty lines are left out (spaCy
    /// 3.8 `training/corpus.py`, `PlainTextCorpus`).
    func readPlain(_ line: UnsafeRawBufferPointer, number: Int) throws(ShardPreparationError) -> [CorpusRecord] {
        var records: [CorpusRecord] = []
        for part in line.split(separator: 0x0d) {
            guard let text = String(validating: part, as: UTF8.self) else {
                throw ShardPreparationError(line: number, what: "not UTF-8", remedy: "convert the file to UTF-8")
            }
            records.append(.text(text))
        }
        return records.isEmpty ? [.blank] : records
    }

    private static let remedy = "write records as {\"text\": \"...\"} or {\"tokens\": [\"...\"]}, one a line"

    /// The ASCII characters that `str.strip` removes.
    static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || (byte >= 0x09 && byte <= 0x0d) || (byte >= 0x1c && byte <= 0x1f)
    }

    private static func explain(_ error: any Error, first: UInt8, number: Int) -> ShardPreparationError {
        guard let decoding = error as? DecodingError else {
            return ShardPreparationError(line: number, what: "not valid JSON: \(error)", remedy: remedy)
        }
        switch decoding {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context):
            guard let key = context.codingPath.first else {
                return ShardPreparationError(line: number, what: "the record is not a JSON object", remedy: remedy)
            }
            let wanted = key.stringValue == "text" ? "a string" : "a list of strings"
            return ShardPreparationError(line: number, what: "`\(key.stringValue)` is not \(wanted)", remedy: remedy)
        case .dataCorrupted(let context):
            let detail = (context.underlyingError as? CocoaError)?.userInfo["NSDebugDescription"] as? String
            return ShardPreparationError(
                line: number, what: "broken JSON or UTF-8\(detail.map { " (\($0))" } ?? "")",
                remedy: "fix the line: each line is one JSON object in UTF-8, without lone surrogates")
        @unknown default:
            return ShardPreparationError(line: number, what: "not valid JSON", remedy: remedy)
        }
    }
}
