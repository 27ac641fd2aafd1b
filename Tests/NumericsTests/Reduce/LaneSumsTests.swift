// Sums made as lanes are finished have the bits of a sum made at the end.
import Foundation
import Testing

@testable import Base
@testable import Model
@testable import Numerics
@testable import Transport

@Suite struct LaneSumsTests {
    private static func coding(_ precision: WirePrecision) -> GradientCoding {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.vectorWidth) = (12, 1, 70, 5)
        return GradientCoding(layout: ParameterLayout(spec: .spacy2(settings)), precision: precision)
    }

    private static func bitmap(_ rows: [Int], _ coding: GradientCoding) -> [UInt64] {
        rows.reduce(into: [UInt64](repeating: 0, count: coding.bitmapWords)) { $0[$1 >> 6] |= 1 << UInt64($1 & 63) }
    }

    /// Fills a buffer of the pool as a micro-batch would.
    private static func gradient(_ pool: GradientPool, lane: Int, seed: UInt64) -> GradientBuffer {
        let (buffer, coding) = (pool.take(), pool.coding)
        let random = Philox(seed: seed, purpose: .select, layer: lane)
        func value(_ i: Int) -> Float {
            let bits = random.bits(UInt64(i), 3)
            return bits % 11 < 2 ? (bits % 11 == 0 ? -0.0 : 0) : Float(Int32(truncatingIfNeeded: bits)) * 0x1p-20
        }
        let rows = (0..<coding.rows).filter { random.bits(UInt64($0), 1) % 9 == 0 }
        buffer.hold(rows: bitmap(rows, coding))
        for row in rows {
            for i in row * coding.width..<(row + 1) * coding.width { buffer.floats[i] = value(i) }
        }
        for i in coding.rows * coding.width..<coding.count { buffer.floats[i] = value(i) }
        buffer.round()
        return buffer
    }

    private static func payload(_ sum: GradientSum, _ coding: GradientCoding, parts: Int) -> [UInt8] {
        let room = MessageBuffer(byteCount: coding.maximumBytes)
        let encoding = PayloadEncoding(sum, into: room.bytes, parts: parts)
        for part in (0..<parts).reversed() { encoding.encode(part: part) }
        return Array(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room.bytes)[..<encoding.finish()]))
    }

    private static func isAbsent(_ lane: Int) -> Bool { lane % 5 == 3 }

    /// All lanes kept to the end, and added in one pass.
    private static func expected(_ tree: ReductionTree, _ node: TreeNode, _ pool: GradientPool, seed: UInt64) -> [UInt8]? {
        let leaves = (0..<tree.lanes).map { isAbsent($0) ? nil : gradient(pool, lane: $0, seed: seed) }
        defer { for leaf in leaves { leaf.map(pool.give) } }
        let sum = GradientSum(pool.coding, tree, node) { node in
            node.level > 0 ? .children : leaves[Int(node.index)].map { .value($0.view) } ?? .absent
        }
        return sum.map { payload($0, pool.coding, parts: 1) }
    }

    private static func payload(of node: TreeNode, _ sums: LaneSums, _ coding: GradientCoding, parts: Int) -> [UInt8]? {
        guard case .sum(let sum) = sums.sum(of: node) else { return nil }
        return payload(sum, coding, parts: parts)
    }

    @Test(arguments: [WirePrecision.float32, .bf16], [1, 2, 3, 8, 13, 20, 32])
    func anyOrderGivesTheSameBits(precision: WirePrecision, lanes: Int) {
        let pool = GradientPool(coding: Self.coding(precision))
        let tree = ReductionTree(lanes: lanes)
        for seed in 0..<4 as Range<UInt64> {
            let expected = Self.expected(tree, tree.root, pool, seed: seed)
            let sums = LaneSums(tree: tree, pool: pool)
            sums.expect([tree.root])
            let random = Philox(seed: seed, purpose: .select)
            for lane in (0..<lanes).sorted(by: { random.bits(UInt64($0)) < random.bits(UInt64($1)) }) {
                sums.add(TreeNode(lane: LaneID(lane)), Self.gradient(pool, lane: lane, seed: seed), isAbsent: Self.isAbsent(lane))
            }
            #expect(Self.payload(of: tree.root, sums, pool.coding, parts: 1 + Int(seed)) == expected)
        }
    }

    /// Several threads finish lanes at the same time.
    @Test func threadsGiveTheSameBits() {
        let pool = GradientPool(coding: Self.coding(.float32))
        let tree = ReductionTree(lanes: 32)
        let expected = Self.expected(tree, tree.root, pool, seed: 5)
        for _ in 0..<20 {
            let sums = LaneSums(tree: tree, pool: pool)
            sums.expect([tree.root])
            DispatchQueue.concurrentPerform(iterations: 32) { lane in
                sums.add(TreeNode(lane: LaneID(lane)), Self.gradient(pool, lane: lane, seed: 5), isAbsent: Self.isAbsent(lane))
            }
            #expect(Self.payload(of: tree.root, sums, pool.coding, parts: 2) == expected)
        }
    }

    /// Few gradients are in memory when lanes come in order: the sums of seven times eight, and the last eight.
    @Test func buffersAreUsedAgain() {
        let pool = GradientPool(coding: Self.coding(.float32))
        let tree = ReductionTree(lanes: 64)
        let sums = LaneSums(tree: tree, pool: pool)
        sums.expect([tree.root])
        var buffers: Set<ObjectIdentifier> = []
        for lane in 0..<64 {
            let gradient = Self.gradient(pool, lane: lane, seed: 1)
            buffers.insert(ObjectIdentifier(gradient))
            sums.add(TreeNode(lane: LaneID(lane)), gradient, isAbsent: false)
        }
        #expect(buffers.count == 15)
    }

    /// Nodes that are sent separately are not added; if one that was added is asked for after all, its lanes are named.
    @Test func lanesThatAreAskedForAlone() {
        let pool = GradientPool(coding: Self.coding(.float32))
        let tree = ReductionTree(lanes: 11)
        let sums = LaneSums(tree: tree, pool: pool)
        sums.expect([TreeNode(level: 1, index: 0), TreeNode(lane: 2)])
        for lane in 0..<3 { sums.add(TreeNode(lane: LaneID(lane)), Self.gradient(pool, lane: lane, seed: 2), isAbsent: false) }
        #expect(Self.payload(of: TreeNode(lane: 2), sums, pool.coding, parts: 1) == Self.expected(tree, TreeNode(lane: 2), pool, seed: 2))
        guard case .missing(let missing) = sums.sum(of: tree.root) else { return #expect(Bool(false), "lane 3 was never added") }
        #expect(missing == (3..<11).map { LaneID($0) })

        sums.expect([tree.root])
        for lane in 3..<8 { sums.add(TreeNode(lane: LaneID(lane)), Self.gradient(pool, lane: lane, seed: 2), isAbsent: false) }
        guard case .missing(let gone) = sums.sum(of: TreeNode(lane: 2)) else { return #expect(Bool(false), "lane 2 is part of a sum") }
        #expect(gone == [2])
        sums.add(TreeNode(lane: 2), Self.gradient(pool, lane: 2, seed: 2), isAbsent: false)
        #expect(Self.payload(of: TreeNode(lane: 2), sums, pool.coding, parts: 1) == Self.expected(tree, TreeNode(lane: 2), pool, seed: 2))
    }

    /// Parts leave gaps where rows turn out to be zero; the payload has none.
    @Test(arguments: [1, 2, 3, 5, 16]) func partsGiveOnePayload(parts: Int) throws {
        let pool = GradientPool(coding: Self.coding(.float32))
        let tree = ReductionTree(lanes: 1)
        let buffer = Self.gradient(pool, lane: 0, seed: 3)
        let rows = (0..<pool.coding.rows).filter { $0 % 4 == 1 }
        let old = buffer.view.bitmap
        buffer.hold(rows: Self.bitmap(rows, pool.coding).enumerated().map { $1 | old[$0] })
        for row in rows {
            for i in 0..<pool.coding.width { buffer.floats[row * pool.coding.width + i] = 0 }
        }
        let sum = try #require(GradientSum(pool.coding, tree, tree.root) { _ in .value(buffer.view) })
        #expect(Self.payload(sum, pool.coding, parts: parts) == Self.payload(sum, pool.coding, parts: 1))
        pool.give(buffer)
    }
}
