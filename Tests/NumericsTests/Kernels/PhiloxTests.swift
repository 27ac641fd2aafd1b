import Testing

@testable import Base
@testable import Numerics

@Suite struct PhiloxTests {
    /// Known answers published with Random123 (kat_vectors, philox4x32 10).
    @Test func knownAnswers() {
        let zero = Philox(key0: 0, key1: 0).block(0, 0, 0, 0)
        #expect(zero == (0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8))
        let ones = Philox(key0: .max, key1: .max).block(.max, .max, .max, .max)
        #expect(ones == (0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD))
        let pi = Philox(key0: 0xA409_3822, key1: 0x299F_31D0).block(0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344)
        #expect(pi == (0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1))
    }

    @Test func fillGivesTheBlocks() {
        let philox = Philox(seed: 3, purpose: .headMask, layer: 2, update: 9)
        let (item, index): (UInt64, UInt32) = (0xFEDC_BA98_7654_3210, 0x8000_0001)
        var words = [UInt32](repeating: 0, count: 48)
        words.withUnsafeMutableBufferPointer { philox.fill($0.baseAddress!, groups: 3, item: item, index: index) }
        for counter in 0..<12 {
            let block = philox.block(UInt32(truncatingIfNeeded: item), UInt32(item >> 32), index, UInt32(counter))
            let first = 16 * (counter / 4) + 2 * (counter % 4)
            #expect((words[first], words[first + 1], words[first + 8], words[first + 9]) == block)
        }
    }

    @Test func murmurHash3KnowsSpacysRows() {
        #expect(murmurHash3(0, seed: 6) == (4_240_174_366, 42_694_408, 2_331_920_106, 2_207_510_633))
    }

    @Test(arguments: [1, 8, 96, 255, 256, 300, 600]) func keptUnitsHaveTheRateAndTheirPlaces(width: Int) {
        let dropout = Dropout(rate: 0.2)
        let philox = Philox(seed: 1, purpose: .mixerMask)
        var plane = [UInt32](repeating: 0, count: planeWords(width: width))
        var kept = 0
        let rounds = 20_000 / width + 1
        for item in 0..<UInt64(rounds) {
            plane.withUnsafeMutableBufferPointer {
                dropout.keep(philox, item: item, index: 7, width: width, plane: $0.baseAddress!)
            }
            for unit in 0..<width {
                let isKept = plane[8 * (unit / 256) + unit % 8] >> UInt32((unit / 8) % 32) & 1 == 1
                kept += isKept ? 1 : 0
                // From the definition: one block for eight units.
                let chunk = unit / 8
                let counter = UInt32(4 * (chunk / 4) + unit % 8 / 2)
                let block = philox.block(UInt32(item), 0, 7, counter)
                let word = [block.0, block.1, block.2, block.3][2 * (chunk / 2 % 2) + unit % 2]
                let bits = chunk % 2 == 0 ? word & 0xFFFF : word >> 16
                #expect(isKept == (bits >= 13107))
            }
        }
        let share = Double(kept) / Double(rounds * width)
        #expect(abs(share - 0.8) < 0.015)
        #expect(dropout.scale == 1.25)
        #expect(!Dropout(rate: 0).isOn)
    }
}
