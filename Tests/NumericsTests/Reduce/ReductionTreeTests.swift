import Testing

@testable import Base
@testable import Numerics

@Suite struct ReductionTreeTests {
    @Test func theRootCoversEveryLane() {
        for lanes in Array(1...70) + [1_023, 1_024, 1_025, 4_095, 4_096] {
            let tree = ReductionTree(lanes: lanes)
            #expect(tree.lanes(below: tree.root) == 0..<LaneID(lanes))
            #expect(tree.contains(tree.root))
            #expect(!tree.contains(TreeNode(level: tree.root.level + 1, index: 0)))
            #expect(!tree.contains(TreeNode(lane: LaneID(lanes))))
            #expect(!tree.contains(TreeNode(level: 0, index: .max)))
            #expect(!tree.contains(TreeNode(level: .max, index: .max)))
        }
    }

    @Test func childrenShareTheirParentsLanes() {
        for lanes in 1...40 {
            let tree = ReductionTree(lanes: lanes)
            for node in Self.nodes(tree) where node.level > 0 {
                let (left, right) = tree.children(of: node)
                let below = Array(tree.lanes(below: left)) + (right.map { Array(tree.lanes(below: $0)) } ?? [])
                #expect(below == Array(tree.lanes(below: node)))
            }
        }
    }

    static func nodes(_ tree: ReductionTree) -> [TreeNode] {
        (0...tree.root.level).flatMap { level in
            (0..<UInt16(tree.lanes)).map { TreeNode(level: level, index: $0) }.filter(tree.contains)
        }
    }

    /// The cover has each lane once and in order; there is none exactly if some lane is not below any node that arrived.
    @Test func aCoverHasEachLaneOnce() {
        var random = Philox(seed: 3, purpose: .select)
        var (found, missing) = (0, 0)
        for round in 0..<20_000 as Range<UInt64> {
            if round % 1_000 == 0 { random = Philox(seed: round, purpose: .select) }
            let tree = ReductionTree(lanes: 1 + Int(random.integer(below: 13, round)))
            let have = Set(Self.nodes(tree).filter { random.bits(round, UInt32($0.level) << 16 | UInt32($0.index)) % 3 == 0 })
            let reached = Set(have.flatMap { Array(tree.lanes(below: $0)) })
            if let cover = tree.cover(tree.root, have: have.contains) {
                found += 1
                #expect(cover.flatMap { Array(tree.lanes(below: $0)) } == Array(0..<LaneID(tree.lanes)))
                #expect(cover.allSatisfy(have.contains))
                #expect(cover == cover.sorted())
            } else {
                missing += 1
                #expect(reached.count < tree.lanes)
            }
        }
        #expect(found > 1_000 && missing > 1_000)
    }

    @Test func aHolderSendsTheFewestNodes() {
        for lanes in 1...10 {
            let tree = ReductionTree(lanes: lanes)
            for bits in 0..<1 << lanes {
                let held = (0..<LaneID(lanes)).filter { bits & 1 << $0.rawValue != 0 }
                let nodes = tree.maximalNodes(covering: held)
                #expect(nodes.flatMap { Array(tree.lanes(below: $0)) } == held)
                for node in nodes where node != tree.root {
                    let parent = TreeNode(level: node.level + 1, index: node.index / 2)
                    #expect(!tree.lanes(below: parent).allSatisfy(held.contains), "\(parent) would do instead of \(node)")
                }
            }
        }
    }
}

@Suite struct TreeSumTests {
    /// Magnitudes differ wildly, so that another order gives other bits; sometimes -0.0 and +0.0.
    private static func leaf(_ seed: UInt64, _ lane: Int, count: Int) -> [Float] {
        let random = Philox(seed: seed, purpose: .select, layer: lane)
        return (0..<count).map { index in
            let bits = random.bits(UInt64(index))
            if bits % 11 < 2 { return bits % 11 == 0 ? -0.0 : 0 }
            let value = Float(Int32(truncatingIfNeeded: bits)) * 0x1p-31
            return value * Float(sign: .plus, exponent: Int(bits >> 40 % 40) - 20, significand: 1)
        }
    }

    /// The sum of a node from what stands for its parts: a value for a node that arrived (nil inside: empty), no entry for its children.
    private static func sum(_ tree: ReductionTree, _ node: TreeNode, _ parts: [TreeNode: [Float]?], count: Int) -> [Float]? {
        var out = [Float](repeating: .nan, count: count)
        let buffers = parts.compactMapValues { values in
            values.map { values in
                let pointer = UnsafeMutablePointer<Float>.allocate(capacity: count)
                pointer.initialize(from: values, count: count)
                return UnsafePointer(pointer)
            }
        }
        defer { for buffer in buffers.values { buffer.deallocate() } }
        let some = out.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map { base in
                TreeSum.sum(tree, node, count: count, into: base) { node in
                    if let buffer = buffers[node] { return .value(buffer) }
                    return parts[node] == nil ? .children : .absent
                }
            } ?? false
        }
        if !some { #expect(out.allSatisfy { $0.bitPattern == 0 }) }
        return some ? out : nil
    }

    /// The definition, written independently.
    private static func plain(_ tree: ReductionTree, _ node: TreeNode, _ leaves: [[Float]?]) -> [Float]? {
        if node.level == 0 { return leaves[Int(node.index)] }
        let (left, right) = tree.children(of: node)
        let (a, b) = (plain(tree, left, leaves), right.flatMap { plain(tree, $0, leaves) })
        guard let a, let b else { return a ?? b }
        return zip(a, b).map { $0 + $1 }
    }

    private static func bits(_ values: [Float]?) -> [UInt32]? { values?.map(\.bitPattern) }

    /// The bits are those of the definition, whatever lanes the workers hold and whoever sends leaves.
    @Test(arguments: [1, 3, 2_047, 2_048, 2_049, 5_000]) func bitsDoNotDependOnTheGrouping(count: Int) {
        for lanes in 1...17 {
            let tree = ReductionTree(lanes: lanes)
            let random = Philox(seed: UInt64(lanes), purpose: .select)
            let leaves: [[Float]?] = (0..<lanes).map { lane in
                random.bits(UInt64(lane)) % 5 == 0 ? nil : Self.leaf(UInt64(lanes), lane, count: count)
            }
            let expected = Self.bits(Self.plain(tree, tree.root, leaves))
            for round in 0..<(count > 100 ? 2 : 8) as Range<UInt64> {
                let workers = 1 + Int(random.integer(below: 4, 100 + round))
                let holder = (0..<lanes).map { Int(random.integer(below: UInt64(workers), 200 + round, UInt32($0))) }
                var parts: [TreeNode: [Float]?] = [:]
                for worker in 0..<workers {
                    let held = (0..<LaneID(lanes)).filter { holder[$0.rawValue] == worker }
                    let nodes =
                        random.bits(300 + round, UInt32(worker)) % 3 == 0
                        ? held.map { TreeNode(lane: $0) } : tree.maximalNodes(covering: held)
                    for node in nodes {
                        let own = tree.lanes(below: node).reduce(into: [:]) { $0[TreeNode(lane: $1)] = .some(leaves[$1.rawValue]) }
                        parts[node] = .some(Self.sum(tree, node, own, count: count))
                    }
                }
                #expect(Self.bits(Self.sum(tree, tree.root, parts, count: count)) == expected, "\(lanes) lanes, \(holder)")
            }
        }
    }

    /// The test above can fail: adding from left to right gives other bits.
    @Test func anotherOrderHasOtherBits() {
        let tree = ReductionTree(lanes: 8)
        let leaves = (0..<8).map { Self.leaf(8, $0, count: 64) }
        let inARow = leaves.dropFirst().reduce(leaves[0]) { zip($0, $1).map { $0 + $1 } }
        #expect(Self.bits(Self.plain(tree, tree.root, leaves)) != Self.bits(inARow))
    }

    @Test func anAbsentNodeIsSkippedAndNotAddedAsZeros() {
        let tree = ReductionTree(lanes: 4)
        let zero = [Float(-0.0)]
        func sum(_ parts: [TreeNode: [Float]?]) -> [UInt32]? { Self.bits(Self.sum(tree, tree.root, parts, count: 1)) }
        let minus = Float(-0.0).bitPattern
        #expect(
            sum([TreeNode(lane: 0): zero, TreeNode(lane: 1): nil, TreeNode(level: 1, index: 1): nil]) == [minus])
        #expect(sum([TreeNode(level: 1, index: 0): nil, TreeNode(level: 1, index: 1): zero]) == [minus])
        #expect(sum([TreeNode(level: 1, index: 0): zero, TreeNode(level: 1, index: 1): zero]) == [minus])
        #expect(sum([TreeNode(level: 1, index: 0): zero, TreeNode(level: 1, index: 1): [0]]) == [0])
        #expect(sum([tree.root: nil]) == nil)
        #expect(sum((0..<4 as Range<LaneID>).reduce(into: [:]) { $0[TreeNode(lane: $1)] = .some(nil) }) == nil)
    }
}
