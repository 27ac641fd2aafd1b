// floret: rows of words. In: words and settings. Out: the rows that the real spaCy 3.8.18 finds (Vectors._get_ngrams, _get_ngram_hashes).
import Testing

@testable import Base
@testable import Text

@Suite("floret rows") struct FloretRowsTests {
    /// Settings, a word, how many rows spaCy finds and their fold m = (31 m + row) mod 2^61.
    struct Case: Sendable {
        var floret: FloretRows
        var word: String
        var count: Int
        var fold: UInt64

        init(
            _ minimum: Int, _ maximum: Int, _ hashes: Int, _ seed: UInt32, _ begin: String, _ end: String, _ rows: Int,
            _ word: String, _ count: Int, _ fold: UInt64
        ) {
            floret = FloretRows(minimum: minimum, maximum: maximum, hashCount: hashes, seed: seed, begin: begin, end: end, rows: rows)
            (self.word, self.count, self.fold) = (word, count, fold)
        }
    }

    static let cases = [
        Case(2, 3, 2, 2166136261, "<", ">", 1000, "ab", 12, 1168311512733351689),
        Case(2, 3, 2, 2166136261, "<", ">", 1000, "a", 8, 9035494879662),
        Case(2, 3, 2, 2166136261, "<", ">", 1000, "naïve", 24, 226448965104588184),
        Case(2, 3, 2, 2166136261, "<", ">", 1000, "日本語", 16, 703921166776351557),
        Case(2, 3, 2, 2166136261, "<", ">", 1000, "jumpingjumpingjumping", 88, 881722907612179366),
        Case(2, 3, 2, 2166136261, "<", ">", 1000, "😀😀", 12, 491131588419800500),
        Case(4, 5, 4, 0, "<", ">", 77, "ab", 8, 1012319563822),
        Case(4, 5, 4, 0, "<", ">", 77, "a", 4, 1164311),
        Case(4, 5, 4, 0, "<", ">", 77, "naïve", 32, 831195467919856224),
        Case(4, 5, 4, 0, "<", ">", 77, "日本語", 16, 973396565252673359),
        Case(4, 5, 4, 0, "<", ">", 77, "jumpingjumpingjumping", 160, 183616453119674746),
        Case(4, 5, 4, 0, "<", ">", 77, "😀😀", 8, 1676817654394),
        Case(0, 0, 1, 5, "<<", "", 50, "ab", 6, 1301672065),
        Case(0, 0, 1, 5, "<<", "", 50, "a", 5, 15207312),
        Case(0, 0, 1, 5, "<<", "", 50, "naïve", 9, 27690529015584),
        Case(0, 0, 1, 5, "<<", "", 50, "日本語", 7, 3964183108),
        Case(0, 0, 1, 5, "<<", "", 50, "jumpingjumpingjumping", 25, 1702951964732492590),
        Case(0, 0, 1, 5, "<<", "", 50, "😀😀", 6, 528684988),
        Case(3, 3, 3, 9, "<", ">", 100000, "ab", 9, 82221952393898318),
        Case(3, 3, 3, 9, "<", ">", 100000, "a", 6, 521730880608),
        Case(3, 3, 3, 9, "<", ">", 100000, "naïve", 18, 1060798053479902637),
        Case(3, 3, 3, 9, "<", ">", 100000, "日本語", 12, 2201693391362688905),
        Case(3, 3, 3, 9, "<", ">", 100000, "jumpingjumpingjumping", 66, 2052221731792562395),
        Case(3, 3, 3, 9, "<", ">", 100000, "😀😀", 9, 36742015242323038),
    ]

    @Test("rows are spaCy's", arguments: cases)
    func rows(_ example: Case) {
        let rows = Array(example.word.utf8).withUnsafeBufferPointer { example.floret.rows(of: $0) }
        var fold: UInt64 = 0
        for row in rows {
            let product = fold.multipliedFullWidth(by: 31)
            let (low, carry) = product.low.addingReportingOverflow(UInt64(row))
            let high: UInt64 = product.high + (carry ? 1 : 0)
            fold = (UInt64(1) << 61).dividingFullWidth((high, low)).remainder
        }
        #expect(rows.count == example.count)
        #expect(fold == example.fold)
    }

    @Test("the empty word has no rows, and the hash has its known value")
    func edges() {
        let floret = FloretRows(minimum: 2, maximum: 3, hashCount: 2, seed: 2_166_136_261, begin: "<", end: ">", rows: 10)
        #expect(floret.rows(of: UnsafeBufferPointer(start: nil, count: 0)) == [])
        let hash = Array("<ab>".utf8).withUnsafeBufferPointer { murmurHash3($0, seed: 2_166_136_261) }
        #expect(hash.0 == 3_044_746_486 && hash.1 == 2_353_617_422)
    }
}
