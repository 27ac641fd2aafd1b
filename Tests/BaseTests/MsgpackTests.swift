import TestSupport
import Testing

@testable import Base

/// Decodes `bytes` as one item.
private func decode(_ bytes: [UInt8]) throws -> MsgpackValue {
    try bytes.withUnsafeBytes { try MsgpackValue(decoding: $0, place: "test") }
}

@Suite struct MsgpackTests {
    /// What srsly.msgpack 1.0.7 (use_bin_type=True) writes for {"a": [1, -1, 200, 70000, 2**63, 2**64-1, -129, -2**40, 1.5, True, None],
    /// b"k": b"xy", "é": {}, 5: "x"*40}.
    static let sample: [UInt8] =
        [
            0x84, 0xa1, 0x61, 0x9b, 0x01, 0xff, 0xcc, 0xc8, 0xce, 0x00, 0x01, 0x11, 0x70, 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0,
            0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xd1, 0xff, 0x7f, 0xd3, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0,
            0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc3, 0xc0, 0xc4, 0x01, 0x6b, 0xc4, 0x02, 0x78, 0x79, 0xa2, 0xc3, 0xa9, 0x80,
            0x05, 0xd9, 0x28,
        ] + [UInt8](repeating: 0x78, count: 40)

    @Test func decodesEveryFamily() throws {
        let value = try decode(Self.sample)
        #expect(
            value["a"]
                == .array([
                    .unsigned(1), .negative(-1), .unsigned(200), .unsigned(70000), .unsigned(1 << 63), .unsigned(.max), .negative(-129),
                    .negative(-(1 << 40)), .double(1.5), .bool(true), .null,
                ]))
        #expect(value[.binary([0x6b])] == .binary([0x78, 0x79]))
        #expect(value["k"] == nil, "a bin key is not a str key")
        #expect(value["é"] == .map([]))
        #expect(value[.unsigned(5)]?.string == String(repeating: "x", count: 40))
        #expect(try decode([0xca, 0x3f, 0xc0, 0, 0]) == .float(1.5))
        #expect(try decode([0xd5, 0x07, 1, 2]) == .extended(type: 7, bytes: [1, 2]))
        #expect(try decode([0xc7, 1, 0xff, 9]) == .extended(type: -1, bytes: [9]))
    }

    @Test func everyTruncationIsRefusedWithItsOffset() throws {
        for count in 0..<Self.sample.count {
            let error = #expect(throws: InputError.self) { try decode(Array(Self.sample[..<count])) }
            #expect(error?.description.hasPrefix("test: damaged msgpack at byte ") == true)
        }
        #expect(throws: InputError.self) { try decode(Self.sample + [0]) }
    }

    @Test func skipAndReadValueEndAtTheSamePlaceOnMutatedInput() {
        var generator = SplitMix64(state: 7)
        for _ in 0..<20_000 {
            var bytes = Self.sample
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes.withUnsafeBytes { buffer in
                var reading = MsgpackReader(buffer, place: "test")
                var skipping = MsgpackReader(buffer, place: "test")
                let value = try? reading.readValue()
                let skipped: Void? = try? skipping.skip()
                // skip does not look into strings, so it may accept what readValue refuses, but not vice versa
                if value != nil { #expect(skipped != nil && reading.offset == skipping.offset) }
            }
        }
    }

    @Test func falseCountsAndDeepNestingAreRefused() {
        #expect(throws: InputError.self) { try decode([0xdd, 0xff, 0xff, 0xff, 0xff, 0]) }
        #expect(throws: InputError.self) { try decode([0xdf, 0x7f, 0xff, 0xff, 0xff, 0, 0]) }
        #expect(throws: InputError.self) { try decode([0xdb, 0xff, 0xff, 0xff, 0xff, 0]) }
        #expect(throws: InputError.self) { try decode([UInt8](repeating: 0x91, count: 100_000) + [0]) }
        #expect(throws: InputError.self) { try decode([0xc1]) }
        #expect(throws: InputError.self) { try decode([0xa1, 0xff]) }
    }
}
