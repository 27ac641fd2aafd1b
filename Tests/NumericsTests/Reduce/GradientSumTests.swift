import Foundation
import Testing

@testable import Base
@testable import Model
@testable import Numerics
@testable import Transport

@Suite struct GradientSumTests {
    private static let layout: ParameterLayout = {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.vectorWidth) = (12, 1, 70, 5)
        return ParameterLayout(spec: .spacy2(settings))
    }()
    private static let coding = GradientCoding(layout: layout)
    private static let halves = GradientCoding(layout: layout, precision: .bf16)

    /// One gradient, dense, with the bitmap of the rows that may be other than +0.0.
    private final class Dense {
        let floats: UnsafeMutablePointer<Float>
        let bitmap: UnsafeMutablePointer<UInt64>

        init(seed: UInt64, lane: Int, rounds: Bool = false) {
            let coding = GradientSumTests.coding
            floats = .allocate(capacity: coding.count)
            floats.initialize(repeating: 0, count: coding.count)
            bitmap = .allocate(capacity: coding.bitmapWords)
            bitmap.initialize(repeating: 0, count: coding.bitmapWords)
            let random = Philox(seed: seed, purpose: .select, layer: lane)
            for row in 0..<coding.rows where random.bits(UInt64(row), 1) % 3 == 0 {
                bitmap[row >> 6] |= 1 << UInt64(row & 63)
                // Every seventh row that was touched is zero nevertheless.
                guard random.bits(UInt64(row), 2) % 7 != 0 else { continue }
                for i in row * coding.width..<(row + 1) * coding.width { floats[i] = Self.value(random, i) }
            }
            for i in coding.rows * coding.width..<coding.count { floats[i] = Self.value(random, i) }
            if rounds { BFloat16.round(floats, count: coding.count) }
        }

        deinit {
            floats.deallocate()
            bitmap.deallocate()
        }

        private static func value(_ random: Philox, _ i: Int) -> Float {
            let bits = random.bits(UInt64(i), 3)
            if bits % 11 < 2 { return bits % 11 == 0 ? -0.0 : 0 }
            return Float(Int32(truncatingIfNeeded: bits)) * Float(sign: .plus, exponent: Int(bits >> 40 % 40) - 40, significand: 1)
        }

        var view: GradientView { GradientSumTests.coding.view(dense: floats, bitmap: bitmap) }
    }

    private static func encode(_ sum: GradientSum) -> MessageBuffer { encode(sum, coding) }

    private static func encode(_ sum: GradientSum, _ coding: GradientCoding) -> MessageBuffer {
        let room = MessageBuffer(byteCount: coding.maximumBytes)
        let length = sum.encode(into: room.bytes)
        let out = MessageBuffer(byteCount: length)
        out.bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room.bytes)[..<length]))
        return out
    }

    private static func written(_ sum: GradientSum?) -> [UInt32] {
        var out = [Float](repeating: .nan, count: coding.count)
        out.withUnsafeMutableBufferPointer { out in
            guard let base = out.baseAddress else { return }
            // By layers, as the optimizer asks for it.
            for layer in layout.layers.reversed() { sum?.write(layer.range, to: base) }
        }
        return out.map(\.bitPattern)
    }

    /// Leaves and sums, dense and as payloads, in any grouping: the bits are those of the dense sum, whatever is sent.
    @Test(arguments: [WirePrecision.float32, .bf16]) func sparseSumsHaveTheBitsOfDenseOnes(precision: WirePrecision) throws {
        let (coding, rounds) = precision == .bf16 ? (Self.halves, true) : (Self.coding, false)
        for lanes in 1...9 {
            let tree = ReductionTree(lanes: lanes)
            let leaves = (0..<lanes).map { $0 % 5 == 3 ? nil : Dense(seed: UInt64(lanes), lane: $0, rounds: rounds) }
            var expected = [Float](repeating: .nan, count: coding.count)
            TreeSum.sum(tree, tree.root, count: coding.count, into: &expected, rounds: rounds) { node in
                guard node.level == 0 else { return .children }
                return leaves[Int(node.index)].map { .value(UnsafePointer($0.floats)) } ?? .absent
            }
            let leaf: (TreeNode) -> TreeOperand<GradientView> = { node in
                guard node.level == 0 else { return .children }
                return leaves[Int(node.index)].map { .value($0.view) } ?? .absent
            }
            #expect(Self.written(GradientSum(coding, tree, tree.root, operand: leaf)) == expected.map(\.bitPattern))
            for round in 0..<6 as Range<UInt64> {
                let random = Philox(seed: round, purpose: .select)
                let held = (0..<lanes).filter { random.bits(UInt64($0)) % 2 == 0 }
                let others = (0..<lanes).filter { !held.contains($0) }
                var payloads: [TreeNode: MessageBuffer?] = [:]
                for node in tree.maximalNodes(covering: held.map { LaneID($0) }) + others.map({ TreeNode(lane: LaneID($0)) }) {
                    payloads[node] = .some(GradientSum(coding, tree, node, operand: leaf).map { Self.encode($0, coding) })
                }
                var views: [TreeNode: TreeOperand<GradientView>] = [:]
                for (node, payload) in payloads {
                    views[node] = try payload.map { .value(try coding.view(payload: UnsafeRawBufferPointer($0.bytes))) } ?? .absent
                }
                let sum = GradientSum(coding, tree, tree.root) { views[$0] ?? .children }
                #expect(Self.written(sum) == expected.map(\.bitPattern), "\(lanes) lanes, \(held) together")
                withExtendedLifetime(payloads) {}
            }
        }
    }

    /// The plain definition, one float at a time: lanes are rounded, and each node's sum again.
    @Test func halvesAreRoundedAtEveryNode() throws {
        func nearest(_ value: Float) -> Float {
            let (low, bits) = (Float(bitPattern: value.bitPattern & 0xFFFF_0000), value.bitPattern)
            guard value.isFinite, low != value else { return value }
            let high = Float(bitPattern: (bits & 0xFFFF_0000) + 0x10000)
            let (below, above) = (abs(Double(value) - Double(low)), abs(Double(high) - Double(value)))
            return below == above ? (bits & 0x10000 == 0 ? low : high) : below < above ? low : high
        }
        let raw = (0..<3).map { Dense(seed: 9, lane: $0) }
        let rounded = (0..<3).map { Dense(seed: 9, lane: $0, rounds: true) }
        let tree = ReductionTree(lanes: 3)
        let found = Self.written(
            GradientSum(Self.halves, tree, tree.root) { $0.level == 0 ? .value(rounded[Int($0.index)].view) : .children })
        for i in 0..<Self.coding.count {
            let lanes = raw.map { nearest($0.floats[i]) }
            #expect(found[i] == nearest(nearest(lanes[0] + lanes[1]) + lanes[2]).bitPattern)
        }
        // Half of the floats' bytes are sent.
        let sum = try #require(GradientSum(Self.halves, tree, TreeNode(lane: 0)) { _ in .value(rounded[0].view) })
        let whole = try #require(GradientSum(Self.coding, tree, TreeNode(lane: 0)) { _ in .value(rounded[0].view) })
        let bitmap = Self.coding.bitmapBytes
        #expect(2 * (Self.encode(sum, Self.halves).bytes.count - bitmap) == Self.encode(whole).bytes.count - bitmap)
    }

    @Test func nothingBelowIsNoSum() {
        let tree = ReductionTree(lanes: 2)
        #expect(GradientSum(Self.coding, tree, tree.root) { $0.level == 0 ? .absent : .children } == nil)
    }

    /// A gradient has only one payload: zero rows are left out even if they were touched.
    @Test func zeroRowsDoNotTravel() throws {
        let tree = ReductionTree(lanes: 1)
        let dense = Dense(seed: 3, lane: 0)
        let payload = Self.encode(try #require(GradientSum(Self.coding, tree, tree.root) { _ in .value(dense.view) }))
        let bitmap = payload.bytes.assumingMemoryBound(to: UInt64.self)
        for row in 0..<Self.coding.rows {
            let isThere = bitmap[row >> 6] & (1 << UInt64(row & 63)) != 0
            let bits = (0..<Self.coding.width).map { dense.floats[row * Self.coding.width + $0].bitPattern }
            #expect(isThere == bits.contains { $0 != 0 })
        }
    }

    @Test func payloadsThatDoNotFitAreRefused() throws {
        let tree = ReductionTree(lanes: 1)
        let dense = Dense(seed: 4, lane: 0)
        let payload = Self.encode(try #require(GradientSum(Self.coding, tree, tree.root) { _ in .value(dense.view) }))
        let whole = UnsafeRawBufferPointer(payload.bytes)
        for length in [0, 1, Self.coding.bitmapBytes - 1, Self.coding.bitmapBytes, whole.count - 4, whole.count - 1] {
            #expect(throws: WireError.self) { try Self.coding.view(payload: UnsafeRawBufferPointer(rebasing: whole[..<length])) }
        }
        // A bit for a row more or less than there are floats, and one past the last row.
        for bit in [0, Self.coding.rows - 1, Self.coding.rows, Self.coding.bitmapBytes * 8 - 1] {
            payload.bytes[bit >> 3] ^= 1 << UInt8(bit & 7)
            #expect(throws: WireError.self) { try Self.coding.view(payload: whole) }
            payload.bytes[bit >> 3] ^= 1 << UInt8(bit & 7)
        }
        _ = try Self.coding.view(payload: whole)
    }
}
