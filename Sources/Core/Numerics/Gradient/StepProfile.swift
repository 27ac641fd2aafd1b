// `make profile`: where a step's time goes. In: documents, or none for made-up ones. Out: a table by kernel, and the efficiency.
import Base
import Model
import Shards

/// Time by kernel of preparing and computing micro-batches, on one core.
package struct StepProfile: Sendable {
    /// One kernel's part.
    package struct Row: Sendable {
        /// Which one.
        package var kernel: StepKernel
        /// Of one update.
        package var seconds: Double
        /// Floating-point operations of the matrix products of one update.
        package var operations: Double
        /// Bytes read and written, counted once each.
        package var bytes: Double
        /// Of the step's time.
        package var share: Double
    }

    /// In the order of the step.
    package var rows: [Row]
    /// Words of one update: all its lanes.
    package var words: Int
    /// CPU seconds of one update, its lanes one after another, measured without the clocks of `rows`.
    package var seconds: Double
    /// The operations that a step cannot avoid, by the formula of the performance notes: mixer per unique word, first convolution per
    /// unique word, the others per reached row, head per selected token; three times the forward pass.
    package var neededOperations: Double
    /// sgemm at the convolutions' shape, measured in the same run, before and after.
    package var operationsPerSecond: Double

    /// On one core.
    package var wordsPerSecond: Double { Double(words) / seconds }
    /// needed operations / (time * sgemm rate).
    package var efficiency: Double { neededOperations / (seconds * operationsPerSecond) }

    /// Profiles made-up documents with the statistics of reviews: `lanes` micro-batches of `wordsPerLane` words each.
    package static func measure(
        spec: ModelSpec, lanes: Int, threads: Int = 1, wordsPerLane: Int, updates: Int
    ) throws(InputError) -> StepProfile {
        let canned = try CannedCorpus(lanes: lanes, words: wordsPerLane, spec: spec)
        return measure(
            lanes: canned.lanes(lanes, words: wordsPerLane), threads: threads, spec: canned.spec, seed: 0, vectors: canned,
            vectorRows: CannedCorpus.vectorRows, randomWords: canned.randomWords, maskWord: canned.maskWord, updates: updates)
    }

    /// Profiles updates whose lanes hold the given documents.
    /// - Parameter threads: of the worker whose lanes these are; one of them is measured.
    package static func measure(
        lanes: [[DocumentView]], threads: Int, spec: ModelSpec, seed: UInt64, vectors: any VectorRows, vectorRows: Int,
        randomWords: RandomWordTable, maskWord: WordFeatures, updates: Int
    ) -> StepProfile {
        let layout = ParameterLayout(spec: spec)
        let state = OptimizerState(count: layout.count)
        layout.initialize(state.parameters, seed: seed)
        clearOutputs(state.parameters, spec: spec, layout: layout)
        let wordsPerLane = lanes.reduce(0) { $0 + $1.reduce(0) { $0 + $1.tokens.count } } / lanes.count
        let engine = GradientEngine(spec: spec, layout: layout, vectors: vectors, wordsPerLane: wordsPerLane)
        let builder = MicroBatchBuilder(spec: spec, seed: seed, randomWords: randomWords, maskWord: maskWord, vectorRows: vectorRows)
        let pool = GradientPool(coding: GradientCoding(layout: layout))
        let level = LaneGroups.level(
            lanes: lanes.count, threads: threads, wordsPerLane: wordsPerLane, spec: spec, precision: .float32)
        let batches = (0..<1 << Int(level)).map { _ in MicroBatch() }
        func run(update: Int) -> (words: Int, needed: Double) {
            Self.run(engine, builder, lanes, batches, pool, groupLevel: level, state.parameters, update: UInt64(update))
        }
        _ = run(update: 0)
        // First without an account: the clock itself costs time.
        let products = MatrixMultiply(spec.arithmetic)
        let rate = products.operationsPerSecond()
        let start = KernelAccount.now()
        var (words, needed) = (0, 0.0)
        for update in 1...updates {
            let figures = run(update: update)
            words += figures.words
            needed += figures.needed
        }
        let seconds = KernelAccount.now() - start
        let account = KernelAccount()
        engine.account = account
        for update in 1...updates { _ = run(update: update) }
        engine.account = nil
        let count = Double(updates)
        let total = account.entries.values.reduce(0) { $0 + $1.seconds }
        let rows = StepKernel.allCases.compactMap { kernel in
            account.entries[kernel].map {
                Row(
                    kernel: kernel, seconds: $0.seconds / count, operations: $0.operations / count, bytes: $0.bytes / count,
                    share: $0.seconds / total)
            }
        }
        return StepProfile(
            rows: rows, words: words / updates, seconds: seconds / count, neededOperations: needed / count,
            operationsPerSecond: (rate + products.operationsPerSecond()) / 2)
    }

    /// Sets outputs of the head to 0 that a run over texts in English hardly ever aims at (`LiveOutputs`): the profile needs no texts, and
    /// made-up ones have few letters.
    private static func clearOutputs(_ parameters: UnsafeMutablePointer<Float>, spec: ModelSpec, layout: ParameterLayout) {
        guard case .characters(let objective) = spec.objective, LiveOutputs.exist(spec, objective) else { return }
        for name in ["head.output.W", "head.output.b"] {
            guard let tensor = layout.tensor(named: name) else { continue }
            let width = tensor.count / (256 * objective.bytes)
            for output in 0..<256 * objective.bytes where !(0x20...0x7E).contains(output % 256) && output % 256 != 255 {
                (parameters + tensor.offset + output * width).update(repeating: 0, count: width)
            }
        }
    }

    /// One update as a worker with one thread computes it: its words, and the operations that it needs.
    private static func run(
        _ engine: GradientEngine, _ builder: MicroBatchBuilder, _ lanes: [[DocumentView]], _ batches: [MicroBatch], _ pool: GradientPool,
        groupLevel level: UInt8, _ parameters: UnsafePointer<Float>, update: UInt64
    ) -> (words: Int, needed: Double) {
        var (words, needed) = (0, 0.0)
        let tree = ReductionTree(lanes: lanes.count)
        let sums = LaneSums(tree: tree, pool: pool, groupLevel: level)
        sums.expect([tree.root])
        for first in stride(from: 0, to: lanes.count, by: 1 << Int(level)) {
            let node = TreeNode(level: level, index: UInt16(first >> Int(level)))
            let group = tree.lanes(below: node)
            for (lane, batch) in zip(group, batches) {
                engine.account.measure(.prepare, bytes: 0) {
                    builder.build(lanes[lane.rawValue], epoch: update, update: update, into: batch)
                }
                needed += engine.neededOperations(batch.content)
            }
            let (gradient, batches) = (pool.take(), Array(batches[..<group.count]))
            let statistics = engine.gradient(
                of: batches, node: node, tree: tree, parameters: parameters, version: lanes.count > 1 ? update : nil, into: gradient)
            words += statistics.reduce(0) { $0 + $1.wordCount }
            engine.account.measure(.laneSums, bytes: 0) {
                sums.add(node, gradient, isAbsent: statistics.allSatisfy { $0.selectedCount == 0 })
            }
        }
        return (words, needed)
    }

    /// The table, one line per kernel.
    package var description: String {
        func pad(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
        func number(_ value: Double, _ digits: Int) -> String {
            var scale = 1.0
            for _ in 0..<digits { scale *= 10 }
            let whole = Int((value * scale).rounded())
            guard digits > 0 else { return String(whole) }
            let fraction = String(whole % Int(scale))
            return "\(whole / Int(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
        }
        var lines = [pad("ms", 34) + pad("share", 8) + pad("MFLOP", 10) + pad("GFLOP/s", 9) + pad("MB", 9)]
        for row in rows {
            lines.append(
                row.kernel.rawValue + pad(number(row.seconds * 1e3, 3), 34 - row.kernel.rawValue.count)
                    + pad(number(row.share * 100, 1) + "%", 8) + pad(number(row.operations / 1e6, 1), 10)
                    + pad(number(row.operations / row.seconds / 1e9, 1), 9) + pad(number(row.bytes / 1e6, 2), 9))
        }
        lines.append(
            [
                "\(words) words in \(number(seconds * 1e3, 2)) ms: \(number(wordsPerSecond, 0)) words/s;",
                "needed \(number(neededOperations / 1e6, 0)) MFLOP, sgemm \(number(operationsPerSecond / 1e9, 1)) GFLOP/s,",
                "efficiency \(number(efficiency * 100, 1))%",
            ].joined(separator: " "))
        return lines.joined(separator: "\n")
    }
}
