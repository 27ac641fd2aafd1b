import Testing

@testable import Base
@testable import Shards
@testable import Text

/// Expected values were printed by the spaCy version that each line names.
@Suite struct NormTests {
    private func norm(_ word: String, _ language: String, _ version: SymbolVersion) -> String {
        let norms = LanguageNorms(language: language, version: version)
        return String(decoding: Array(word.utf8).withUnsafeBufferPointer { norms.norm($0) }, as: UTF8.self)
    }

    @Test func baseNormsComeFirst() {
        for (word, expected) in [
            ("\u{20ac}", "$"), ("\u{2019}S", "'s"), ("\u{2014}", "-"), ("US$", "$"), ("''", "\""), ("us$", "us$"), ("Word", "word"),
        ] {
            #expect(norm(word, "en", .spacy23) == expected)
        }
        #expect(norm("\u{20ac}", "sk", .spacy23) == "$")
        #expect(norm("\u{20ac}", "sk", .spacy21) == "\u{20ac}", "2.1 has no base norms in some languages")
    }

    @Test func version21HasTables() {
        #expect(norm("colour", "en", .spacy21) == "color")
        #expect(norm("Colour", "en", .spacy21) == "color")
        #expect(norm("COLOUR", "en", .spacy21) == "colour")
        #expect(norm("colour", "en", .spacy23) == "colour")
        #expect(norm("da\u{df}", "de", .spacy21) == "dass")
    }

    @Test func languageFunctions() {
        #expect(norm("\u{932}\u{921}\u{93c}\u{915}\u{93f}\u{92f}\u{93e}\u{901}", "hi", .spacy23) == "\u{932}\u{921}\u{93c}\u{915}")
        #expect(norm("\u{20ac}", "hi", .spacy23) == "$")
        #expect(norm("WORD", "hi", .spacy23) == "WORD", "no lower case there")
        #expect(norm("m", "ht", .spacy38) == "mwen")
        #expect(norm("Ki", "ht", .spacy38) == "ki")
        #expect(norm("m", "ht", .spacy23) == "m")
    }

    @Test func tablesOfTheModelWin() throws {
        let id = StringIDs(.spacy23)
        let model = try TestModel(
            lookups: .map([
                MsgpackPair(.string("other"), .array([.null])),
                MsgpackPair(
                    .string("lexeme_norm"),
                    .map([MsgpackPair(.unsigned(id.id("Word")), .string("w")), MsgpackPair(.unsigned(423), .string("M"))])),
            ])
        ).open()
        for (word, expected) in [("Word", "w"), ("word", "word"), ("WORD", "word"), ("mark", "M")] {
            #expect(Array(word.utf8).withUnsafeBufferPointer { model.lexicon.features($0).norm } == id.id(expected))
        }
    }
}
