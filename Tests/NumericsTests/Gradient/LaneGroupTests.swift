// Lanes that are computed together, by one thread or several, against lanes one by one. In: random documents. Out: the same bits.
import Dispatch
import Synchronization
import TestSupport
import Testing

@testable import Base
@testable import Model
@testable import Numerics

@Suite struct LaneGroupTests {
    /// None, one or several threads that wait, each time another number.
    private final class Others: IdleThreads {
        private let calls = Atomic(0)
        private let sharedParts = Atomic(0)
        var shared: Int { sharedParts.load(ordering: .relaxed) }
        var idleCount: Int { calls.add(1, ordering: .relaxed).newValue % 6 }

        func share(parts: Int, _ body: @escaping (Int) -> Void) {
            sharedParts.add(parts, ordering: .relaxed)
            nonisolated(unsafe) let body = body
            DispatchQueue.concurrentPerform(iterations: parts) { body($0) }
        }
    }

    /// The sum of the lanes below a node: each lane's gradient by itself, added along the tree; all at once; and all at once on several
    /// threads.
    private static func check(
        _ fixture: Fixture, _ lanes: [[Int]], wordsPerLane: Int = 1000, node: TreeNode, tree: ReductionTree, _ comment: Comment
    ) {
        let coding = GradientCoding(layout: fixture.layout)
        let (engine, builder, others) = (fixture.engine(wordsPerLane: wordsPerLane), fixture.builder(), Others())
        let helped = fixture.engine(wordsPerLane: wordsPerLane, idle: others)
        let pool = GradientPool(coding: coding)
        for update in [11, 12] as [UInt64] {
            let batches = lanes.map { documents in
                let batch = MicroBatch()
                builder.build(documents.map { fixture.documents[$0] }, epoch: 3, update: update, into: batch)
                return batch
            }
            let sums = LaneSums(tree: tree, pool: pool)
            sums.expect([node])
            var expected: [ContributionStatistics] = []
            for (lane, batch) in zip(tree.lanes(below: node), batches) {
                let buffer = pool.take()
                expected.append(engine.gradient(of: batch, parameters: fixture.parameters, version: update, into: buffer))
                sums.add(TreeNode(lane: lane), buffer, isAbsent: batch.selectedCount == 0)
            }
            guard case .sum(let sum) = sums.sum(of: node) else {
                Issue.record("no lane has a selected token: \(comment)")
                continue
            }
            for engine in [engine, helped] {
                let buffer = pool.take()
                let found = engine.gradient(
                    of: batches, node: node, tree: tree, parameters: fixture.parameters, version: update, into: buffer)
                #expect(found == expected, comment)
                let together = LaneSums(tree: tree, pool: pool)
                together.expect([node])
                together.add(node, buffer, isAbsent: false)
                guard case .sum(let same) = together.sum(of: node) else { return }
                #expect(payload(same, coding) == payload(sum, coding), comment)
            }
        }
        #expect(others.shared > 0)
    }

    private static func payload(_ sum: GradientSum, _ coding: GradientCoding) -> [UInt8] {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: coding.maximumBytes, alignment: 64)
        defer { bytes.deallocate() }
        return Array(bytes[..<sum.encode(into: bytes)])
    }

    private static let joined = SpecGradientTests.cases.filter { !$0.spec.convolvesWords }

    private static let arithmetics = [Arithmetic.native, .bf16].filter(\.isPossibleHere)

    /// Six of seven lanes in two nodes; the second lane has no document.
    @Test(arguments: joined, arithmetics) func equalLanesOneByOne(_ item: SpecGradientTests.Case, arithmetic: Arithmetic) throws {
        var spec = item.spec
        spec.arithmetic = arithmetic
        let fixture = try Fixture(
            spec: spec, lengths: [9, 1, 14, 2, 30, 5, 8], vocabulary: 25, seed: 9, isFloret: item.isFloret)
        let tree = ReductionTree(lanes: 7)
        Self.check(fixture, [[0, 1], [], [2], [3, 4]], node: TreeNode(level: 2, index: 0), tree: tree, "four lanes")
        Self.check(fixture, [[5, 0], [6], [4, 2, 3]], node: TreeNode(level: 2, index: 1), tree: tree, "three lanes")
        Self.check(fixture, [[0], [1], [2], [3], [4], [5], [6]], node: tree.root, tree: tree, "seven lanes")
    }

    /// Rows in several blocks and slabs; all sorted by their winners, some of a level, or none.
    @Test(
        arguments: [
            [300, 200, 250, 180], [150, 140, 130, 120, 160, 110, 155, 145], [1300, 40, 500], [30, 30, 30, 30, 30, 30, 31],
        ], [1000, 200, 20])
    func equalLanesOfManyRows(lengths: [Int], wordsPerLane: Int) throws {
        var spec = SpecGradientTests.cases[6].spec
        (spec.maskProbability, spec.width) = (0.15, 33)
        spec.encoder.convolutions = .init(repeating: .init(activation: .maxout, pieces: 3, dropout: true), count: 3)
        let tree = ReductionTree(lanes: lengths.count)
        for arithmetic in Self.arithmetics {
            spec.arithmetic = arithmetic
            let fixture = try Fixture(spec: spec, lengths: lengths, vocabulary: 170, seed: 4)
            Self.check(
                fixture, lengths.indices.map { [$0] }, wordsPerLane: wordsPerLane, node: tree.root, tree: tree,
                "\(lengths), \(wordsPerLane), \(arithmetic)")
        }
    }

    @Test func groupsLeaveEnoughForEachThread() {
        var spec = Self.joined[0].spec
        spec.arithmetic = .native
        func level(_ lanes: Int, _ threads: Int, _ words: Int) -> UInt8 {
            LaneGroups.level(lanes: lanes, threads: threads, wordsPerLane: words, spec: spec, precision: .float32)
        }
        #expect(
            level(64, 1, 188) == 3 && level(64, 1, 47) == 4 && level(4096, 1, 1) == 4 && level(64, 8, 47) == 1 && level(128, 64, 94) == 0)
        // A single thread computes a small update at once.
        #expect(level(2, 1, 1500) == 1 && level(3, 1, 1000) == 2 && level(4, 1, 1024) == 2 && level(2, 2, 1500) == 0)
        #expect(level(4, 1, 3000) == 0 && level(64, 2, 600) == 1 && level(64, 2, 1100) == 0 && level(1, 1, 1) == 0)
        // Two threads share the last group's products.
        #expect(level(4, 2, 750) == 1 && level(4, 2, 1025) == 0 && level(3, 2, 700) == 0 && level(8, 2, 100) == 2 && level(8, 3, 100) == 0)
        #expect(LaneGroups.level(lanes: 64, threads: 1, wordsPerLane: 47, spec: spec, precision: .bf16) == 0)
        #expect(LaneGroups.level(lanes: 64, threads: 1, wordsPerLane: 47, spec: Self.joined[0].spec, precision: .float32) == 0)
    }
}
