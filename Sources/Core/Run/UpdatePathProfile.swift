// `make profile`: what an update costs besides its gradients. In: made-up documents. Out: milliseconds on both sides.
import Base
import Model
import Numerics
import Protocol
import Transport

/// Time of one update from the lanes' gradients to the next parameters, without the network: two workers, each with half of the lanes.
package struct UpdatePathProfile: Sendable {
    /// Of one worker: the last additions of its lanes, encoding, hash. Additions made as lanes finish are part of the step's profile.
    package var contributionSeconds: Double
    /// Bytes of its payload.
    package var contributionBytes: Int
    /// Of the coordinator: add two contributions along the tree, clip, Adam, averages, the next broadcast and its hash.
    package var stepSeconds: Double
    package var parameterCount: Int

    /// Updates before those that are measured: they touch the memory of two versions for the first time.
    private static let warmUp = 2

    /// Medians of the given number of updates, in CPU time of all threads.
    package static func measure(lanes: Int, wordsPerLane: Int, updates: Int, spec: ModelSpec) throws(InputError) -> UpdatePathProfile {
        let count = max(2, lanes)
        let canned = try CannedCorpus(lanes: count, words: wordsPerLane, spec: spec)
        let settings = {
            var settings = TrainingSettings(); settings.lanes = count; return settings
        }()
        let training = TrainingState(settings: settings, spec: canned.spec, sharesMemory: true)
        let coding = training.coding
        let engine = GradientEngine(spec: canned.spec, layout: training.layout, vectors: canned, wordsPerLane: wordsPerLane)
        let builder = MicroBatchBuilder(
            spec: canned.spec, seed: 0, randomWords: canned.randomWords, maskWord: canned.maskWord, vectorRows: CannedCorpus.vectorRows)
        let batch = MicroBatch()
        let tree = ReductionTree(lanes: settings.lanes)
        let (left, right) = tree.children(of: tree.root)
        let pool = GradientPool(coding: coding)
        let sums = LaneSums(tree: tree, pool: pool)
        sums.expect([left, right].compactMap { $0 })
        for (lane, documents) in canned.lanes(count, words: wordsPerLane).enumerated() {
            let gradient = pool.take()
            builder.build(documents, epoch: 0, update: 0, into: batch)
            _ = engine.gradient(of: batch, parameters: training.buffers.parameters, into: gradient)
            sums.add(TreeNode(lane: LaneID(lane)), gradient, isAbsent: batch.selectedCount == 0)
        }
        var nodes: [(node: TreeNode, contribution: Contribution, payload: (any PayloadBytes)?)] = []
        var contributionTimes: [Double] = []
        var bytes = 0
        for node in [left, right].compactMap({ $0 }) {
            guard case .sum(let sum) = sums.sum(of: node) else { continue }
            let buffer = MessageBuffer(byteCount: coding.maximumBytes)
            for update in 0..<warmUp + updates {
                let time = seconds {
                    bytes = sum.encode(into: buffer.bytes)
                    blackHole(Digest64.hash(blocks: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.bytes)[..<bytes])))
                }
                if update >= warmUp { contributionTimes.append(time) }
            }
            let contribution = Contribution(
                run: 1, roster: 0, update: 0, parameterHash: 0, node: node, selected: 1, words: 1,
                losses: tree.lanes(below: node).map { _ in 1 }, hash: 0)
            let payload = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.bytes)[..<bytes])
            nodes.append((node, contribution, ZMQMessage(sharing: payload, ownedBy: buffer)))
        }
        var stepTimes: [Double] = []
        var broadcast = training.broadcast()
        for update in 0..<warmUp + updates {
            var failure: (any Error)?
            let time = seconds {
                do { try training.apply(nodes) } catch { failure = error }
                broadcast = training.broadcast()
            }
            if let failure { throw InputError("\(failure)", at: "profile", remedy: "") }
            if update >= warmUp { stepTimes.append(time) }
        }
        withExtendedLifetime(sums) {}
        blackHole(broadcast.hash)
        return UpdatePathProfile(
            contributionSeconds: median(contributionTimes), contributionBytes: bytes, stepSeconds: median(stepTimes),
            parameterCount: training.layout.count)
    }

    /// Keeps the compiler from optimizing away the computation of the value.
    @inline(never)
    private static func blackHole(_ value: UInt64) {}

    private static func seconds(_ body: () -> Void) -> Double {
        let start = ThreadClock.processSeconds()
        body()
        return ThreadClock.processSeconds() - start
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    /// Two lines.
    package var description: String {
        func milliseconds(_ seconds: Double) -> String { "\((seconds * 1e3).fixed(2)) ms" }
        return """
            worker, per update: last sums, encoding and hash \(milliseconds(contributionSeconds)), \(contributionBytes / 1000) kB
            coordinator, per update: 2 contributions added, clip, Adam, averages, next broadcast and hash \(milliseconds(stepSeconds)), \
            \(parameterCount) parameters
            """
    }
}
