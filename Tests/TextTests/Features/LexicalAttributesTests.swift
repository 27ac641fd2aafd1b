import Foundation
import Testing

@testable import Shards
@testable import Text

/// Expected values were printed by spaCy 2.3.9 and Python 3.11.
@Suite struct LexicalAttributesTests {
    private func bytes<T>(_ text: String, _ body: (UnsafeBufferPointer<UInt8>) throws -> T) rethrows -> T {
        try Array(text.utf8).withUnsafeBufferPointer(body)
    }

    @Test(arguments: [
        ("Apple's", "Xxxxx'x"), ("U.S.A.", "X.X.X."), ("\u{e9}t\u{e9}12\u{b2}\u{bd}\u{2167}", "xxxddd\u{bd}\u{2167}"), ("\u{1c5}a", "xx"),
        ("\u{4e2d}\u{6587}", "xx"), ("-------", "----"), ("aaaaaBBBBB11111", "xxxxXXXXdddd"), ("\u{aa}\u{2b0}", "xx"),
        ("\u{1f600}\u{1f44d}\u{1f3fd}", "\u{1f600}\u{1f44d}\u{1f3fd}"), ("e\u{301}t", "x\u{301}x"), ("[MASK]", "[XXXX]"), ("dx", "xx"),
        ("", ""),
        (String(repeating: "x", count: 99), "xxxx"), (String(repeating: "\u{e9}", count: 99), "xxxx"),
        (String(repeating: "\u{e9}", count: 100), "LONG"),
    ])
    func shape(word: String, expected: String) {
        #expect(bytes(word) { LexicalAttributes.shape($0) } == Array(expected.utf8))
    }

    @Test(arguments: [
        ("\u{391}\u{3a3}", "\u{3b1}\u{3c2}"), ("\u{3a3}\u{391}", "\u{3c3}\u{3b1}"), ("\u{391}\u{3a3}.", "\u{3b1}\u{3c2}."),
        ("\u{391}\u{3a3}\u{301}", "\u{3b1}\u{3c2}\u{301}"), ("\u{391}\u{3a3}\u{391}", "\u{3b1}\u{3c3}\u{3b1}"), ("1\u{3a3}", "1\u{3c3}"),
        ("\u{130}I", "i\u{307}i"), ("\u{1e9e}", "\u{df}"), ("\u{391}\u{3a3}\u{2019}\u{391}", "\u{3b1}\u{3c3}\u{2019}\u{3b1}"),
        ("\u{1c5}", "\u{1c6}"),
        ("\u{39f}\u{394}\u{3a5}\u{3a3}\u{3a3}\u{395}\u{3a5}\u{3a3}", "\u{3bf}\u{3b4}\u{3c5}\u{3c3}\u{3c3}\u{3b5}\u{3c5}\u{3c2}"),
        ("A\u{ad}\u{3a3}", "a\u{ad}\u{3c2}"), ("[MASK]", "[mask]"),
    ])
    func lower(word: String, expected: String) {
        #expect(bytes(word) { LexicalAttributes.lower($0) } == Array(expected.utf8))
    }

    @Test func prefixAndSuffixCountCodePoints() {
        for (word, prefix, suffix) in [
            ("[MASK]", "[", "SK]"), ("ab", "a", "ab"), ("e\u{301}t\u{e9}", "e", "\u{301}t\u{e9}"),
            ("\u{1f468}\u{200d}\u{1f469}x", "\u{1f468}", "\u{200d}\u{1f469}x"),
        ] {
            #expect(bytes(word) { Array(LexicalAttributes.prefix($0)) } == Array(prefix.utf8))
            #expect(bytes(word) { Array(LexicalAttributes.suffix($0)) } == Array(suffix.utf8))
        }
    }

    @Test(
        arguments: [
            ("apple", 8_566_208_034_543_834_098), ("coffee", 3_197_928_453_018_144_401), ("n't", 2_043_519_015_752_540_944),
            ("\u{e9}t\u{e9}", 416_107_850_921_971_791), ("", 0), ("12345678", 9_871_996_032_675_327_904),
            ("123456789", 2_056_675_840_866_671_865),
            ("mark", 423), ("_", 12_398_297_404_960_798_361), ("MORPH", 10_568_659_993_881_296_800), ("ENT_ID", 453), ("IDX", 454),
            ("Animacy_anim", 104),
            ("IS_OOV", 3_620_734_432_439_346_497), ("IS_OOV_DEPRECATED", 13),
        ] as [(String, UInt64)])
    func ids(word: String, expected: UInt64) {
        #expect(StringIDs(.spacy23).id(word) == expected)
    }

    @Test func symbolsDifferByVersion() {
        let (old, new) = (StringIDs(.spacy21), StringIDs(.spacy38))
        #expect(
            [old.id("ENT_ID"), old.id("IS_OOV"), old.id("IS_OOV_DEPRECATED"), old.id("IDX")] == [
                10_176_681_505_651_466_493, 13, 15_184_475_722_801_545_503, 11_580_349_482_641_876_976,
            ])
        #expect(
            [new.id("_"), new.id("MORPH"), new.id("ENT_ID"), new.id("IDX"), new.id("DEPRECATED001"), new.id("Animacy_anim")] == [
                456, 453, 454, 455, 104, 7_589_320_764_769_347_631,
            ])
        #expect(
            SymbolVersion.spacy21.names.count == 452 && SymbolVersion.spacy23.names.count == 454 && SymbolVersion.spacy38.names.count == 456
        )
        for version in [SymbolVersion.spacy21, .spacy23, .spacy38] { #expect(StringIDs(version).id("mark") == 423) }
    }

    @Test func maskedWordHasItsFeatures() throws {
        let features = try TestModel().open().lexicon
        let word = bytes("[MASK]") { features.features($0) }
        let ids = StringIDs(.spacy23)
        #expect(
            word
                == WordAttributes(
                    orth: ids.id("[MASK]"), norm: ids.id("[mask]"), prefix: ids.id("["), suffix: ids.id("SK]"), shape: ids.id("[XXXX]"),
                    row: -1))
    }

    /// Totals over all code points, counted by Python 3.11.7 (Unicode 14.0.0).
    @Test func tablesCoverUnicode14() {
        var counts = [Int](repeating: 0, count: 5)
        for code in 0..<UInt32(CharacterTables.codePointCount) {
            for bit in 0..<5 where CharacterTables.flags[Int(code)] & (1 << bit) != 0 { counts[bit] += 1 }
        }
        #expect(counts == [131_756, 1_951, 788, 29, 1_791])
        #expect(CharacterTables.lowerPairs.count == 1_433)
        #expect(CharacterTables.lowerOf[0x130] == 0x69)
        #expect(CharacterTables.equivalentCases.count == 50)
    }
}
