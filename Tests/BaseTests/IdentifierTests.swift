import Foundation
import Testing

@testable import Base

@Suite struct IdentifierTests {
    @Test func keysAndDigestsHaveOneSpelling() throws {
        let key = try #require(CacheKey([UInt8](0..<32)))
        #expect(CacheKey(hex: key.hex) == key && key.hex.hasPrefix("000102"))
        #expect(CacheKey([]) == nil && CacheKey([UInt8](0..<33)) == nil)
        for text in ["", "00", String(repeating: "0", count: 63), String(repeating: "x", count: 64), String(repeating: "０", count: 64)] {
            #expect(CacheKey(hex: text) == nil, "\(text)")
        }
        #expect(ShardDigest(0xAB).hex == "00000000000000ab" && ShardDigest(hex: "00000000000000ab") == ShardDigest(0xAB))
        for text in ["", "ab", "-0000000000000ab", "+0000000000000ab", "00000000000000abc"] {
            #expect(ShardDigest(hex: text) == nil, "\(text)")
        }
        let both = [key]
        #expect(try JSONDecoder().decode([CacheKey].self, from: JSONEncoder().encode(both)) == both)
    }
}
