// The lanes of one update on this host. In: gradients as they are finished, in any order. Out: sums of nodes, in the tree's order.
import Base

/// Gradients of one shape that are reused. Any thread may take and return them.
package final class GradientPool: @unchecked Sendable {
    package let coding: GradientCoding
    private let lock = ThreadLock()
    private var free: [GradientBuffer] = []

    package init(coding: GradientCoding) { self.coding = coding }

    /// The one that was returned last: it may still be in the caches. It is overwritten by the next gradient.
    package func take() -> GradientBuffer {
        let buffer = lock.withLock { free.popLast() }
        return buffer ?? GradientBuffer(coding: coding)
    }

    package func give(_ buffer: GradientBuffer) { lock.withLock { free.append(buffer) } }
}

/// Adds the gradients of one update as its lanes are finished, on the threads that finish them, so that few are in memory at a time and
/// nothing waits for the last one. A node's sum has the same bits whichever lanes came first: additions follow the tree.
package final class LaneSums: @unchecked Sendable {
    private enum Value {
        /// No token of its lanes was selected.
        case absent
        case sum(GradientBuffer)
    }

    /// The state of a node.
    package enum Finding {
        /// No lane below it selected a token.
        case empty
        /// Valid as long as the sums exist.
        case sum(GradientSum)
        /// These lanes below it are missing: they were not computed, or are part of a larger node.
        case missing([LaneID])
    }

    private let tree: ReductionTree
    private let pool: GradientPool
    private let lock = ThreadLock()
    private var values: [TreeNode: Value] = [:]
    private var targets: [TreeNode] = []
    /// Level of the nodes that are computed at once: the passes below begin there.
    private let groupLevel: UInt8

    /// Levels of the tree that are added in one pass: gradients go through memory, and a pass over eight of them moves less than seven
    /// passes over two.
    private static let levels: UInt8 = 3

    /// - Parameter groupLevel: of the nodes whose lanes are computed together (`LaneGroups`).
    package init(tree: ReductionTree, pool: GradientPool, groupLevel: UInt8 = 0) {
        (self.tree, self.pool, self.groupLevel) = (tree, pool, groupLevel)
    }

    deinit { for case .sum(let buffer) in values.values { pool.give(buffer) } }

    /// The nodes whose sums will be asked for. Nodes below one may be added; the node's own last addition is left to the caller, who can
    /// write the payload at the same time.
    package func expect(_ nodes: [TreeNode]) { lock.withLock { targets = nodes } }

    /// The largest node around a lane that may be computed at once: one that will be asked for, or below one.
    /// - Parameter isWanted: whether a lane can be part of it.
    package func group(around lane: LaneID, isWanted: (LaneID) -> Bool) -> TreeNode {
        lock.lock()
        defer { lock.unlock() }
        for level in stride(from: groupLevel, to: 0, by: -1) {
            let node = TreeNode(level: level, index: UInt16(lane.rawValue >> Int(level)))
            if targets.contains(where: { isAt(node, orBelow: $0) }), tree.lanes(below: node).allSatisfy(isWanted) { return node }
        }
        return TreeNode(lane: lane)
    }

    private func isAt(_ node: TreeNode, orBelow other: TreeNode) -> Bool {
        other.level >= node.level && node.index >> (other.level - node.level) == other.index
    }

    /// Takes the finished gradient of a lane or of a node, and computes the sums that it completes.
    /// - Parameters:
    ///   - gradient: from the pool, which gets it back when it is no longer needed.
    ///   - isAbsent: the lanes selected no token: there is no gradient in the buffer.
    package func add(_ finished: TreeNode, _ gradient: GradientBuffer, isAbsent: Bool) {
        lock.lock()
        defer { lock.unlock() }
        var node = finished
        let isKnown = values[node] != nil
        if isAbsent || isKnown { pool.give(gradient) }
        guard !isKnown else { return }
        values[node] = isAbsent ? .absent : .sum(gradient)
        while let (parent, operands) = takeComplete(above: node) {
            lock.unlock()
            let sum = merge(parent, operands)
            lock.lock()
            values[parent] = sum
            node = parent
        }
    }

    /// Takes out the sums that cover the next higher node at which sums are made, if all its lanes are there and it is below a node that
    /// will be asked for.
    private func takeComplete(above node: TreeNode) -> (parent: TreeNode, operands: [TreeNode: Value])? {
        let level = node.level < groupLevel ? groupLevel : groupLevel + ((node.level - groupLevel) / Self.levels + 1) * Self.levels
        guard level < tree.root.level else { return nil }
        let parent = TreeNode(level: level, index: node.index >> (level - node.level))
        // A lane that is added a second time is already in that sum.
        guard values[parent] == nil, targets.contains(where: { $0.level > level && isAt(parent, orBelow: $0) }),
            let nodes = tree.cover(parent, have: { values[$0] != nil })
        else { return nil }
        return (parent, Dictionary(uniqueKeysWithValues: nodes.compactMap { node in values.removeValue(forKey: node).map { (node, $0) } }))
    }

    /// The sum of a node, in the buffer of its first operand.
    private func merge(_ node: TreeNode, _ operands: [TreeNode: Value]) -> Value {
        let buffers = operands.ascending(\.key).compactMap { entry -> GradientBuffer? in
            if case .sum(let buffer) = entry.value { buffer } else { nil }
        }
        guard let first = buffers.first else { return .absent }
        guard buffers.count > 1, let sum = sum(node, operands) else { return .sum(first) }
        sum.write(overFirst: first)
        for buffer in buffers.dropFirst() { pool.give(buffer) }
        return .sum(first)
    }

    private func sum(_ node: TreeNode, _ operands: [TreeNode: Value]) -> GradientSum? {
        GradientSum(pool.coding, tree, node) { node in
            switch operands[node] {
            case .absent: .absent
            case .sum(let buffer): .value(buffer.view)
            case nil: .children
            }
        }
    }

    /// The sum of a node whose lanes have all been added.
    package func sum(of node: TreeNode) -> Finding {
        lock.lock()
        defer { lock.unlock() }
        guard tree.cover(node, have: { values[$0] != nil }) != nil else {
            return .missing(tree.lanes(below: node).filter { lane in !isCovered(lane, within: node) })
        }
        return sum(node, values).map(Finding.sum) ?? .empty
    }

    private func isCovered(_ lane: LaneID, within node: TreeNode) -> Bool {
        (0...node.level).contains { values[TreeNode(level: $0, index: UInt16(lane.rawValue >> Int($0)))] != nil }
    }
}
