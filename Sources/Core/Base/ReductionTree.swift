// The one fixed binary tree over lanes. In: which nodes have arrived. Out: which of them to add, and in which order.

/// A node of the reduction tree: the lanes from `index << level` to `(index + 1) << level`, without those past the last lane.
package struct TreeNode: Hashable, Sendable, Comparable {
    /// 0 for a leaf.
    package var level: UInt8
    package var index: UInt16

    package init(level: UInt8, index: UInt16) {
        self.level = level
        self.index = index
    }

    /// The leaf of one lane, which is below `maximumLanes`.
    package init(lane: LaneID) { self.init(level: 0, index: UInt16(lane.rawValue)) }

    /// By first lane, then by level: the order in which a depth-first walk meets them.
    package static func < (a: TreeNode, b: TreeNode) -> Bool {
        let (firstA, firstB) = (Int(a.index) << a.level, Int(b.index) << b.level)
        return firstA == firstB ? a.level > b.level : firstA < firstB
    }
}

/// The reduction tree over lanes 0..<lanes.
package struct ReductionTree: Sendable, Equatable {
    /// The largest number of lanes that a run may have: a node's index fits 16 bits, a level 8.
    package static let maximumLanes = 4096
    package let lanes: Int

    package init(lanes: Int) {
        precondition(lanes >= 1 && lanes <= Self.maximumLanes)
        self.lanes = lanes
    }

    /// The node that covers every lane.
    package var root: TreeNode {
        var level: UInt8 = 0
        while 1 << Int(level) < lanes { level += 1 }
        return TreeNode(level: level, index: 0)
    }

    /// Whether the node has a place in this tree; nodes from the wire are asked this first.
    package func contains(_ node: TreeNode) -> Bool {
        node.level <= root.level && Int(node.index) << Int(node.level) < lanes
    }

    /// The lanes below a node.
    package func lanes(below node: TreeNode) -> Range<LaneID> {
        let first = Int(node.index) << Int(node.level)
        return LaneID(first)..<LaneID(min(lanes, first + 1 << Int(node.level)))
    }

    /// The two nodes below; the right one is nil where it has no lane.
    package func children(of node: TreeNode) -> (left: TreeNode, right: TreeNode?) {
        let left = TreeNode(level: node.level - 1, index: node.index * 2)
        let right = TreeNode(level: node.level - 1, index: node.index * 2 + 1)
        return (left, contains(right) ? right : nil)
    }

    /// The fewest nodes that cover exactly `held`: what a holder of these lanes sends.
    package func maximalNodes(covering held: some Sequence<LaneID>) -> [TreeNode] {
        let held = Set(held)
        return cover(root) { node in lanes(below: node).allSatisfy(held.contains) } ?? partial(root, held)
    }

    private func partial(_ node: TreeNode, _ held: Set<LaneID>) -> [TreeNode] {
        if lanes(below: node).allSatisfy(held.contains) { return [node] }
        guard node.level > 0 else { return [] }
        let (left, right) = children(of: node)
        return partial(left, held) + (right.map { partial($0, held) } ?? [])
    }

    /// How some lanes below a node are added one after another: how often the two last sums are added after each lane's own.
    /// - Parameter present: ascending; the others are skipped.
    package func merges(of present: [LaneID], below node: TreeNode) -> [Int32] {
        var counts: [Int32] = []
        _ = addMerges(node, Set(present), &counts)
        return counts
    }

    private func addMerges(_ node: TreeNode, _ present: Set<LaneID>, _ counts: inout [Int32]) -> Bool {
        guard node.level > 0 else {
            let isPresent = lanes(below: node).contains(where: present.contains)
            if isPresent { counts.append(0) }
            return isPresent
        }
        let (left, right) = children(of: node)
        let isLeft = addMerges(left, present, &counts)
        guard let right, addMerges(right, present, &counts) else { return isLeft }
        if isLeft { counts[counts.count - 1] += 1 }
        return true
    }

    /// Nodes that `have` accepts and that cover each lane below `node` exactly once, in tree order; nil when some lane is missing.
    /// A node nearer the root is preferred: it stands for the same sum.
    package func cover(_ node: TreeNode, have: (TreeNode) -> Bool) -> [TreeNode]? {
        if have(node) { return [node] }
        guard node.level > 0 else { return nil }
        let (left, right) = children(of: node)
        guard let first = cover(left, have: have) else { return nil }
        guard let right else { return first }
        guard let second = cover(right, have: have) else { return nil }
        return first + second
    }
}
