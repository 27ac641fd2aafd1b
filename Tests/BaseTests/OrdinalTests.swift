// Numbers of lanes and shards: their coding is that of the plain number, so that files and frames of other versions stay readable.
import Base
import Foundation
import Testing

@Suite struct OrdinalTests {
    @Test func jsonIsThePlainNumber() throws {
        struct Entry: Codable, Equatable {
            var lane: LaneID
            var shards: Numbered<ShardID, LaneID>
        }
        let entry = Entry(lane: 7, shards: [2, 0])
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let text = try encoder.encode(entry)
        #expect(String(decoding: text, as: UTF8.self) == #"{"lane":7,"shards":[2,0]}"#)
        #expect(try JSONDecoder().decode(Entry.self, from: text) == entry)
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(Entry.self, from: Data(#"{"lane":"7","shards":[]}"#.utf8)) }
    }

    @Test func isShownAsItsNumber() {
        #expect("\(LaneID(3)) \([1, 2] as [ShardID]) \((0..<4) as Range<LaneID>)" == "3 [1, 2] 0..<4")
    }

    @Test func elementsAreFoundByNumber() {
        var words: Numbered<ShardID, String> = ["a", "b"]
        words[1] += "c"
        #expect(words.append("d") == 2 && words.elements == ["a", "bc", "d"])
        #expect(words.indices == 0..<3 && words.endIndex == 3 && words.firstIndex(of: "d") == 2)
    }
}
