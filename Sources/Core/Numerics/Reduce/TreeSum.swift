// Additions along the tree. In: what stands for nodes. Out: their sum, in the tree's order whatever the order of arrival.
import Base

/// What stands for a node of the tree in a sum.
package enum TreeOperand<Value> {
    /// Its sum has arrived.
    case value(Value)
    /// It has arrived and is empty: it is skipped, not added as zeros.
    case absent
    /// It is the sum of its children.
    case children
}

/// The additions that give one node's sum, as a list for a small stack machine: made once, run for every block of floats.
struct TreeProgram {
    /// `level` is a place on the stack: 0 is the output.
    enum Instruction: Equatable {
        /// level = operand
        case load(Int, level: Int)
        /// level = operand + operand
        case pair(Int, Int, level: Int)
        /// level += operand
        case add(Int, level: Int)
        /// level += level + 1
        case merge(level: Int)

        var level: Int {
            switch self {
            case .load(_, let level), .pair(_, _, let level), .add(_, let level), .merge(let level): level
            }
        }
    }

    private(set) var instructions: [Instruction] = []
    /// Places on the stack besides the output.
    private(set) var depth = 0
    /// Whether the first instruction consumes operand 0: then the output may be in its place.
    var readsFirstOperandFirst: Bool {
        switch instructions.first {
        case .load(0, level: 0), .pair(0, _, level: 0): true
        default: false
        }
    }

    private indirect enum Step {
        case load(Int)
        case add(Step, Step)
    }

    /// - Parameter operands: receives what is added, in the order of the instructions' numbers.
    /// - Returns: nil when everything below the node is absent.
    init?<Value>(_ tree: ReductionTree, _ node: TreeNode, operands: inout [Value], _ operand: (TreeNode) -> TreeOperand<Value>) {
        func step(_ node: TreeNode) -> Step? {
            switch operand(node) {
            case .value(let value):
                operands.append(value)
                return .load(operands.count - 1)
            case .absent: return nil
            case .children:
                guard node.level > 0 else { return nil }
                let (left, right) = tree.children(of: node)
                let first = step(left)
                let second = right.flatMap(step)
                guard let first else { return second }
                guard let second else { return first }
                return .add(first, second)
            }
        }
        guard let root = step(node) else { return nil }
        compile(root, level: 0)
    }

    private mutating func compile(_ step: Step, level: Int) {
        depth = max(depth, level)
        switch step {
        case .load(let a): instructions.append(.load(a, level: level))
        case .add(.load(let a), .load(let b)): instructions.append(.pair(a, b, level: level))
        // The sum of two floats does not depend on their order.
        case .add(let rest, .load(let a)), .add(.load(let a), let rest):
            compile(rest, level: level)
            instructions.append(.add(a, level: level))
        case .add(let a, let b):
            compile(a, level: level)
            compile(b, level: level + 1)
            instructions.append(.merge(level: level))
        }
    }

    /// Runs the additions for `length` floats: operand k is at `operands[k]`.
    /// - Parameters:
    ///   - scratch: `depth` places of `stride` floats.
    ///   - rounds: every sum is rounded to bfloat16; operands are already.
    @inline(__always)
    func run(operands: UnsafePointer<Floats>, length: Int, out: MutableFloats, scratch: MutableFloats, stride: Int, rounds: Bool) {
        func place(_ level: Int) -> MutableFloats { level == 0 ? out : scratch + (level - 1) * stride }
        for instruction in instructions {
            switch instruction {
            case .load(let a, let level):
                place(level).update(from: operands[a], count: length)
                continue
            case .pair(let a, let b, let level):
                let (target, a, b) = (place(level), operands[a], operands[b])
                forChunks(length) { start, count in store(load(a, start, count) + load(b, start, count), target, start, count) }
            case .add(let a, let level): Numerics.add(operands[a], to: place(level), count: length)
            case .merge(let level): Numerics.add(Floats(place(level + 1)), to: place(level), count: length)
            }
            // Each of these is one node of the tree.
            if rounds { BFloat16.round(place(instruction.level), count: length) }
        }
    }
}

/// Adds dense buffers along the tree.
package enum TreeSum {
    /// Floats summed at a time: an operand is read from memory in pieces of 32 KB, and sums on the stack stay in the second-level cache.
    static let block = 8192
    /// The same if every operand must be widened first.
    static let halfBlock = 2048

    /// Writes the sum of the given nodes, which cover `node`, to `out` (count floats each). Additions follow the tree, so that the bits
    /// depend neither on the order nor on the grouping of what was sent.
    /// - Parameter rounds: the sum of every node is rounded to bfloat16; leaves are already.
    /// - Returns: false when every node was absent; `out` is then zero.
    @discardableResult
    package static func sum(
        _ tree: ReductionTree, _ node: TreeNode, count: Int, into out: UnsafeMutablePointer<Float>, rounds: Bool = false,
        operand: (TreeNode) -> TreeOperand<UnsafePointer<Float>>
    ) -> Bool {
        var operands: [UnsafePointer<Float>] = []
        guard let program = TreeProgram(tree, node, operands: &operands, operand) else {
            out.update(repeating: 0, count: count)
            return false
        }
        var scratch = [Float](repeating: 0, count: max(1, block * program.depth))
        scratch.withUnsafeMutableBufferPointer { scratch in
            operands.withUnsafeMutableBufferPointer { operands in
                guard let stack = scratch.baseAddress, let pointers = operands.baseAddress else { return }
                var start = 0
                while start < count {
                    let length = min(block, count - start)
                    program.run(operands: pointers, length: length, out: out + start, scratch: stack, stride: block, rounds: rounds)
                    for index in operands.indices { operands[index] += length }
                    start += length
                }
            }
        }
        return true
    }
}
