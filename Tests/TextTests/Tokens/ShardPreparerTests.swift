import Foundation
import Testing

@testable import Shards
@testable import Text

@Suite struct ShardPreparerTests {
    private let model: VectorsModel

    init() throws { model = try TestModel().open() }

    private func prepare(_ text: String, min: Int = 1, max: Int = 100) throws -> PreparedShard {
        try Self.prepare(Array(text.utf8), ShardPreparer(model: model, schema: .spacy2, minLength: min, maxLength: max))
    }

    private static func prepare(_ text: [UInt8], _ preparer: ShardPreparer) throws -> PreparedShard {
        let bytes = try text.withUnsafeBytes { try preparer.prepare(jsonl: $0) }
        let owner = NSMutableData(bytes: bytes, length: bytes.count)
        return try PreparedShard(
            bytes: UnsafeRawBufferPointer(start: owner.bytes, count: bytes.count), owner: owner, schema: .spacy2, place: "memory")
    }

    private func id(_ text: String) -> UInt64 { StringIDs(.spacy23).id(text) }

    /// Python's json takes the last of two members with one key, and so does spaCy.
    @Test(arguments: [
        ("{\"text\": \"a\", \"text\": \"b c\"}", 2), ("{\"text\":\"a b c\",\"x\":[{\"text\":\"d\"}],\"text\":\"b\"}", 1),
        ("{\"tokens\": [\"a\"], \"tokens\": [\"b\", \"c\"] , \"heads\": \"\\\"tokens\\\"\"}", 2),
        ("{\"tokens\": [\"a\"], \"text\": \"a b c\", \"tokens\": null}", 0),
        ("{\"tokens\": 7, \"tokens\": [\"a\", \"\\\"tokens\\\": }\"]}", 2),
    ]) func takesTheLastOfTwoKeys(line: String, tokens: Int) throws {
        #expect(try prepare(line + "\n").tokens.count == tokens)
        #expect(throws: ShardPreparationError.self) { try prepare("{\"text\": oops, \"text\": \"b\"}\n") }
    }

    @Test func keepsDocumentsByLengthAndCountsTheOthers() throws {
        let shard = try prepare(
            """
            {"text": "a b c"}
            {"text": ""}

            {"text": "a"}
            {"tokens": ["x", "y", "x"], "text": "not used", "heads": [0, 0, 0]}
            {"tokens": []}
            {"text": null}
            {"tokens": null}
            {"text": "a b c d e"}
            """, min: 2, max: 5)
        #expect(Array(shard.lines) == [0, 4])
        #expect(Array(shard.starts) == [0, 3, 6])
        #expect((shard.emptyCount, shard.tooShortCount, shard.tooLongCount) == (4, 1, 1))
        #expect(shard.tokens.indices.map(shard.word(ofToken:)) == [0, 1, 2, 3, 4, 3])
        #expect(Array(shard.counts) == [1, 1, 1, 2, 1])
        #expect(shard.word(3).orth == id("x"))
    }

    @Test func wordsDifferInOrthAndNorm() throws {
        let shard = try prepare(#"{"text": "don't n't do not cannot not"}"# + "\n" + #"{"tokens": ["n't", "not"]}"#)
        let words = shard.tokens.indices.map { shard.word(shard.word(ofToken: $0)) }
        #expect(words.map(\.orth) == ["do", "n't", "n't", "do", "not", "can", "not", "not", "n't", "not"].map(id))
        #expect(words.map(\.norm) == ["do", "not", "n't", "do", "not", "can", "not", "not", "n't", "not"].map(id))
        #expect(shard.wordCount == 5)
        #expect(words[0].row == 0 && words[1].row == -1)
    }

    /// The rules in small: spaces, affixes, infixes, exceptions, URLs.
    @Test(arguments: [
        ("(word).", ["(", "word", ")", "."]), ("a-b-c", ["a", "-", "b", "-", "c"]), ("10km", ["10", "km"]), ("km", ["km"]),
        ("(don't)", ["(", "do", "n't", ")"]), ("https://a-b.c/d", ["https://a-b.c/d"]), ("end.Next", ["end", ".", "Next"]),
        ("a  b", ["a", " ", "b"]), (" a ", [" ", "a"]), ("a\n\nb", ["a", "\n\n", "b"]), ("a \n b", ["a", "\n ", "b"]),
        ("\u{a0}", ["\u{a0}"]),
        ("-a", ["-a"]), ("a-", ["a", "-"]), ("()", ["(", ")"]), ("...", ["..."]), ("a.m.", ["a.m."]), ("a.m.)", ["a.m.", ")"]),
        ("é.", ["é", "."]),
    ])
    func tokenizes(text: String, expected: [String]) throws {
        let line = try JSONEncoder().encode(["text": text])
        let output = try line.withUnsafeBytes { try FeaturesPrinter(model: model).lines(jsonl: $0) }
        struct Line: Decodable { var tokens: [String] }
        #expect(try JSONDecoder().decode(Line.self, from: Data(output)).tokens == expected)
    }

    @Test func version3MatchesExceptionsAgain() throws {
        let newer = try TestModel(meta: #"{"lang": "en", "spacy_version": ">=3.8.0"}"#).open()
        let text = Array(#"{"text": "hi:) x"}"#.utf8)
        let (old, new) = try text.withUnsafeBytes {
            (try FeaturesPrinter(model: model).lines(jsonl: $0), try FeaturesPrinter(model: newer).lines(jsonl: $0))
        }
        #expect(String(decoding: old, as: UTF8.self).hasPrefix(#"{"tokens":["hi",":",")","x"]"#))
        #expect(String(decoding: new, as: UTF8.self).hasPrefix(#"{"tokens":["hi",":)","x"]"#))
    }

    /// A faulty line, and a part of the message.
    static let faults: [(String, String)] = [
        ("{\"txt\": 1}", "neither `text` nor `tokens`"), ("[1]", "not a JSON object"), ("\"text\"", "not a JSON object"),
        ("3", "not a JSON object"),
        ("{\"text\": 5}", "`text` is not a string"), ("{\"tokens\": \"a b\"}", "`tokens` is not a list of strings"),
        ("{\"tokens\": [1]}", "`tokens` is not a list of strings"), ("{\"tokens\": [\"a\", \"\"]}", "an empty string among `tokens`"),
        ("{\"text\": \"a\"", "broken JSON"), ("{\"text\": \"a\"} x", "broken JSON"), ("{\"text\": \"\\ud800\"}", "broken JSON"),
        ("{\"text\": \"a\"}, {\"text\": \"b\"}", "broken JSON"), ("text", "broken JSON"), ("{\"text\": \"\\udc00\\ud800\"}", "broken JSON"),
    ]

    @Test(arguments: 0..<faults.count) func namesTheLineOfAFault(index: Int) throws {
        let (line, words) = Self.faults[index]
        let error = #expect(throws: ShardPreparationError.self) {
            try prepare("{\"text\": \"fine\"}\n\n" + line + "\n{\"text\": \"never read\"}\n")
        }
        #expect(error?.line == 2)
        #expect(error?.what.contains(words) == true, "\(String(describing: error))")
        #expect(error?.inputError(file: "c.jsonl", firstLine: 101).description.hasPrefix("c.jsonl, line 103: ") == true)
    }

    @Test func invalidUTF8IsRefused() {
        let preparer = ShardPreparer(model: model, schema: .spacy2, minLength: 1, maxLength: 10)
        for bad: [UInt8] in [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]] {
            let error = #expect(throws: ShardPreparationError.self) {
                try Self.prepare(Array("{\"text\": \"a\"}\n{\"text\": \"a".utf8) + bad + Array("\"}\n".utf8), preparer)
            }
            #expect(error?.line == 1)
        }
    }

    @Test func carriageReturnsAndAMissingLastLineFeedAreFine() throws {
        let shard = try prepare("{\"text\": \"a b\"}\r\n\r\n{\"text\": \"\\ud83d\\ude00 c\"}")
        #expect(Array(shard.lines) == [0, 2])
        #expect(shard.word(shard.word(ofToken: 2)).orth == id("😀"))
    }

    /// What a preparer learned from one shard must not show in the next.
    @Test func shardsDoNotDependOnWhatCameBefore() throws {
        let first = Array("{\"text\": \"don't say (word) word, 5km\"}\n".utf8)
        let second = Array("{\"text\": \"word n't don't new (word)\"}\n{\"tokens\": [\"not\"]}\n".utf8)
        let preparer = ShardPreparer(model: model, schema: .spacy2, minLength: 1, maxLength: 100)
        let fresh = ShardPreparer(model: model, schema: .spacy2, minLength: 1, maxLength: 100)
        _ = try first.withUnsafeBytes { try preparer.prepare(jsonl: $0) }
        #expect(throws: ShardPreparationError.self) {
            try Array("{\"text\": \"x y\"}\n{".utf8).withUnsafeBytes { try preparer.prepare(jsonl: $0) }
        }
        let (after, alone) = try second.withUnsafeBytes { (try preparer.prepare(jsonl: $0), try fresh.prepare(jsonl: $0)) }
        #expect(after == alone)
    }

    @Test func aLongRunWithoutSpacesIsTokenized() throws {
        let run = String(repeating: "ab-", count: 100_000)
        let shard = try prepare("{\"text\": \"\(run)\"}", max: 1 << 30)
        #expect(shard.tokens.count == 200_000)
    }

    @Test func anEmptyShardIsEmpty() throws {
        #expect(try prepare("").documentCount == 0)
        #expect(try prepare("\n \n\t\n").documentCount == 0)
    }
}
