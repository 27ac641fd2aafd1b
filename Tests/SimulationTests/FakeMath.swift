// Arithmetic of the simulated run. In: a seed. Out: gradients, parameters and the course of the undisturbed run.
@testable import Base
@testable import Numerics
@testable import Protocol

/// The bytes of a payload frame, by meaning.
struct Parcel {
    var count: Int
    /// A gradient or parameters.
    var values: [Float] = []
    /// Which bytes of which blob.
    var blob: BlobID?
    var offset: UInt64 = 0
    var isDamaged = false

    init(values: [Float]) {
        self.values = values
        count = values.count * 4
    }

    init(blob: BlobID, offset: UInt64, count: Int, values: [Float] = []) {
        self.values = values
        self.blob = blob
        self.offset = offset
        self.count = count
    }

    /// What the receiver's shell computes over the bytes that arrived.
    var hash: UInt64 { FakeMath.hash(values) }

    /// The parcel with a flipped bit.
    var damaged: Parcel {
        var copy = self
        copy.isDamaged = true
        if let first = values.first { copy.values[0] = Float(bitPattern: first.bitPattern ^ 1) }
        return copy
    }
}

/// A run whose whole history follows from a seed.
struct FakeMath {
    let seed: UInt64
    let tree: ReductionTree
    /// Parameters of version 0...updates of the undisturbed run of one worker.
    private(set) var versions: [[Float]] = []

    static let width = 3

    init(seed: UInt64, lanes: Int, updates: Int) {
        self.seed = seed
        tree = ReductionTree(lanes: lanes)
        var random = SeededGenerator(seed: seed ^ 0xA11CE)
        versions = [(0..<Self.width).map { _ in Float(random.pick(-1000...1000)) / 7 }]
        for update in 0..<updates {
            let parameters = versions[update]
            let leaves = (0..<LaneID(lanes)).map { gradient(update: UInt64(update), lane: $0, parameters) }
            versions.append(step(parameters, sum(tree.root, leaves.enumerated().reduce(into: [:]) { $0[LaneID($1.offset)] = $1.element })))
        }
    }

    static func hash(_ values: [Float]) -> UInt64 { values.withUnsafeBytes { Digest64.hash($0) } }

    /// Tokens selected and words of a lane's micro-batch; sometimes nothing is selected, or there are no words at all.
    func figures(update: UInt64, lane: LaneID) -> (selected: UInt64, words: UInt64, loss: Double) {
        let bits = SeededGenerator.mix(seed ^ SeededGenerator.mix(update << 16 | UInt64(lane.rawValue)))
        let selected = bits % 7 == 0 ? 0 : bits >> 8 % 40 + 1
        return (selected, selected * 5 + bits >> 32 % 9, selected == 0 ? 0 : Double(bits >> 40) / 1000)
    }

    /// The part of a version that is scored.
    static func averages(_ parameters: [Float]) -> [Float] { parameters.map { $0 * 0.5 + 3 } }

    /// What a lane's held-out documents give: the same words in every evaluation, a loss that depends on the parameters.
    func score(lane: LaneID, _ averages: [Float]) -> (selected: UInt64, words: UInt64, loss: Double) {
        let bits = SeededGenerator.mix(seed ^ SeededGenerator.mix(0x4E1D << 16 | UInt64(lane.rawValue)))
        let selected = bits % 3 == 0 ? 0 : bits >> 8 % 40 + 1
        let loss = Double(SeededGenerator.mix(bits ^ Self.hash(averages)) >> 40) / 1000
        return (selected, selected * 5 + bits >> 32 % 9, selected == 0 ? 0 : loss)
    }

    /// nil if nothing is selected. Magnitudes differ wildly, so that a sum in another order has other bits.
    func gradient(update: UInt64, lane: LaneID, _ parameters: [Float]) -> [Float]? {
        guard figures(update: update, lane: lane).selected > 0 else { return nil }
        var random = SeededGenerator(seed: seed ^ Self.hash(parameters) ^ update << 20 ^ UInt64(lane.rawValue))
        return (0..<Self.width).map { _ in
            let scale = Float(sign: .plus, exponent: random.pick(-12...12), significand: 1)
            return Float(random.pick(-1_000_000...1_000_000)) / 3e5 * scale
        }
    }

    /// The sum below a node over the given lanes; nil if all are absent.
    func sum(_ node: TreeNode, _ leaves: [LaneID: [Float]?]) -> [Float]? {
        let nodes = leaves.reduce(into: [TreeNode: [Float]?]()) { $0[TreeNode(lane: $1.key)] = $1.value }
        return sum(node, nodes: nodes)
    }

    func sum(_ node: TreeNode, nodes: [TreeNode: [Float]?]) -> [Float]? {
        var owners: [TreeNode: UnsafeMutablePointer<Float>] = [:]
        defer { for pointer in owners.values { pointer.deallocate() } }
        for (node, values) in nodes {
            guard let values else { continue }
            let pointer = UnsafeMutablePointer<Float>.allocate(capacity: Self.width)
            pointer.initialize(from: values, count: Self.width)
            owners[node] = pointer
        }
        var out = [Float](repeating: 0, count: Self.width)
        let any = out.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return false }
            return TreeSum.sum(tree, node, count: Self.width, into: base) { node in
                if let pointer = owners[node] { return .value(UnsafePointer(pointer)) }
                return nodes[node] == nil ? .children : .absent
            }
        }
        return any ? out : nil
    }

    /// The next parameters: an update without any gradient is a step too.
    func step(_ parameters: [Float], _ sum: [Float]?) -> [Float] {
        (0..<Self.width).map { parameters[$0] * 0.75 - 0.125 * (sum?[$0] ?? 0) + 1 }
    }
}
