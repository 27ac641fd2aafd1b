import TestSupport
import Testing

@testable import Base
@testable import Model
@testable import Numerics
@testable import Shards

@Suite struct ObjectiveTests {
    static func word(_ id: UInt64) -> WordFeatures {
        WordFeatures(orth: id, norm: id, prefix: id, suffix: id, shape: id, row: Int32(id % 7))
    }

    @Test func figuresBringWordsBack() throws {
        let schema = FeatureSchema(attributes: ["LOWER", "SPACY"], vectorsAttribute: "ORTH", byteCount: 9)
        #expect(schema.columns == ["ORTH", "LOWER"])
        let words = [
            WordFeatures(ids: [5, .max], rows: [3, 1, 3], bytes: [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            WordFeatures(ids: [6, 0], rows: [], bytes: [UInt8](repeating: 255, count: 9)),
        ]
        let table = RandomWordTable(words: words, counts: [2, 7])
        let back = try #require(RandomWordTable(figures: table.figures, schema: schema))
        #expect(back.counts == [7, 2])
        #expect(back.words.map(\.ids) == [words[1].ids, words[0].ids])
        #expect(back.words[1].rows == [3, 1, 3] && back.words[1].bytes == words[0].bytes)
        for count in 1..<table.figures.count where count != table.figures.count - 10 {
            let cut = RandomWordTable(figures: Array(table.figures.prefix(count)), schema: schema)
            #expect((cut?.words.count ?? 0) < 2, "\(count)")
        }
    }

    @Test func randomWordsFollowTheirCounts() throws {
        let table = RandomWordTable(words: [1, 2, 3, 4].map(Self.word), counts: [10, 0, 60, 30])
        #expect(table.words.map(\.orth) == [3, 4, 1])
        var seen: [UInt64: Int] = [:]
        let philox = Philox(seed: 1, purpose: .select)
        for item in 0..<20_000 as Range<UInt64> {
            seen[table.words[try #require(table.index(bits: philox.bits(item)))].orth, default: 0] += 1
        }
        #expect(abs(Double(seen[3] ?? 0) / 20_000 - 0.6) < 0.02)
        #expect(abs(Double(seen[4] ?? 0) / 20_000 - 0.3) < 0.02)
        #expect(table.index(bits: 0) == 0)
        #expect(table.index(bits: .max) == 2)
        #expect(RandomWordTable(words: [], counts: []).index(bits: 5) == nil)
    }

    @Test func theTableIsLimitedAndDoesNotDependOnTheOrderOfTheInput() {
        let words = (0..<10_050 as Range<UInt64>).map(Self.word)
        let counts = words.map { 1 + $0.orth % 3 }
        let table = RandomWordTable(words: words, counts: counts)
        #expect(table.words.count == 10_000)
        #expect(table == RandomWordTable(words: words.reversed(), counts: counts.reversed()))
    }

    @Test func sharesOfSelectionAndReplacement() throws {
        var settings = TrainingSettings()
        settings.maskProbability = 0.15
        var masking = Masking(seed: 0, probability: 0.15, epoch: 2, randomWords: RandomWordTable(words: [Self.word(9)], counts: [1]))
        var (selected, mask, other, same) = (0, 0, 0, 0)
        for document in 0..<400 as Range<UInt64> {
            masking.draw(document: document, count: 301)
            for token in 0..<301 {
                switch masking.replacement(of: token) {
                case nil: continue
                case .mask: mask += 1
                case .random, .word: other += 1
                case .same: same += 1
                }
                selected += 1
            }
        }
        let total = Double(400 * 301)
        #expect(abs(Double(selected) / total - 0.15) < 0.005)
        #expect(abs(Double(mask) / Double(selected) - 0.8) < 0.015)
        #expect(abs(Double(other) / Double(selected) - 0.1) < 0.01)
        #expect(abs(Double(same) / Double(selected) - 0.1) < 0.01)
    }

    @Test func uniqueTableNumbersAndGrows() {
        var table = UniqueTable()
        for round in 0..<3 as Range<UInt64> {
            table.clear()
            for key in 0..<5000 as Range<UInt64> {
                #expect(table.number(key * 7 + round, key) == (Int32(key), true))
            }
            for key in 0..<5000 as Range<UInt64> {
                #expect(table.number(key * 7 + round, key) == (Int32(key), false))
            }
            #expect(table.count == 5000)
        }
    }

    /// The draw of a token depends on its document and place, not on its neighbours, the lane or the worker.
    @Test func selectionDoesNotDependOnTheBatch() throws {
        var settings = TrainingSettings()
        (settings.width, settings.rows, settings.vectorWidth, settings.depth) = (8, 50, 10, 2)
        let fixture = try Fixture(settings: settings, lengths: [40, 33, 50], vocabulary: 30, seed: 1)
        let whole = fixture.batch()
        var parts: [Int32] = []
        var rows = 0
        for document in fixture.documents {
            let batch = MicroBatch()
            fixture.builder().build([document], epoch: 3, update: 11, into: batch)
            parts += batch.content.targetRows
            rows += batch.content.rowCount(level: 1)
        }
        #expect(whole.content.targetRows == parts)
        #expect(whole.content.rowCount(level: 1) == rows)
        let other = fixture.batch(epoch: 4)
        #expect(other.content.targetRows != whole.content.targetRows)
    }
}
