// Counts of distinct words over shards. In: shards of drawn words. Out: the same counts as from a plain dictionary.
import TestSupport
import Testing

@testable import Base
@testable import Shards
@testable import Text

@Suite struct WordCountsTests {
    private static let schema = FeatureSchema(attributes: ["NORM"], vectorsAttribute: nil, byteCount: 3)

    /// Includes words with equal text and different norms; rows and bytes follow from the ids.
    private func word(_ number: UInt64) -> WordFeatures {
        let (text, norm) = (number / 2, number % 2)
        return WordFeatures(
            ids: [text &* 0x9E37_79B9_7F4A_7C15, norm], rows: [UInt32](repeating: UInt32(text), count: Int(text % 3)),
            bytes: [UInt8(truncatingIfNeeded: text), UInt8(norm), 255])
    }

    private func shard(_ documents: [[UInt64]]) throws -> PreparedShard {
        var builder = PreparedShardBuilder(schema: Self.schema)
        var places: [UInt64: UInt32] = [:]
        for (line, document) in documents.enumerated() {
            var words: [UInt32] = []
            for number in document {
                let place = places[number] ?? builder.add(word: word(number))
                places[number] = place
                words.append(place)
            }
            builder.add(line: line, words: words)
        }
        return try PreparedShard(bytes: builder.finish(), schema: Self.schema)
    }

    /// The simple way: a dictionary, sorted completely whenever there are too many words.
    private struct Plain {
        var counts: [UInt64: UInt64] = [:]
        let limit: Int

        func sorted(_ word: (UInt64) -> WordFeatures) -> [(number: UInt64, count: UInt64)] {
            counts.map { ($0.key, $0.value) }.sorted {
                $0.1 != $1.1 ? $0.1 > $1.1 : word($0.0).ids.lexicographicallyPrecedes(word($1.0).ids)
            }
        }
    }

    @Test(arguments: [10, 150, 20_000]) func asADictionaryCountsThem(limit: Int) throws {
        var random = SplitMix64(state: UInt64(limit))
        var (counts, plain) = (WordCounts(limit: limit), Plain(limit: limit))
        for _ in 0..<12 {
            // Many words once or twice, few often.
            let documents = (0..<20).map { _ in
                (0..<100).map { _ in random.next() % (1 + random.next() % (random.next() % 7 == 0 ? 9_000 : 90)) }
            }
            let heldOut: [UInt32] = random.next() % 2 == 0 ? [] : [3, 11]
            counts.add(try shard(documents), without: heldOut)
            for (index, document) in documents.enumerated() where !heldOut.contains(UInt32(index)) {
                for number in document { plain.counts[number, default: 0] += 1 }
            }
            if plain.counts.count > limit {
                plain.counts = Dictionary(uniqueKeysWithValues: plain.sorted(word).prefix(limit / 2).map { ($0.number, $0.count) })
            }
            for number in [0, 1, 5, 40, 30_000] {
                let (found, expected) = (counts.mostFrequent(number), plain.sorted(word).prefix(number))
                #expect(found.map(\.count) == expected.map(\.count))
                #expect(found.map(\.features) == expected.map { word($0.number) })
                #expect(found.map(\.features.rows) == expected.map { word($0.number).rows })
                #expect(found.map(\.features.bytes) == expected.map { word($0.number).bytes })
            }
        }
    }
}
