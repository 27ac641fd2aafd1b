import TestSupport
import Testing

@testable import Model
@testable import Numerics

@Suite struct AdamTests {
    /// The definition in double precision, for one layer.
    struct Naive {
        var w, m, v, a: [Double]
        var t = 0.0

        mutating func step(_ sum: [Double], _ settings: OptimizerSpec, words: Double) {
            t += 1
            let gradient = settings.gradientScale == .words ? sum.map { $0 / words } : sum
            let learnRate = settings.learnRate.rate(update: UInt64(t) - 1)
            var g = zip(gradient, w).map { $0 + (settings.l2IsWeightDecay ? 0 : settings.l2) * $1 }
            let norm = g.reduce(0) { $0 + $1 * $1 }.squareRoot()
            if settings.gradClip > 0, norm >= settings.gradClip { g = g.map { $0 * settings.gradClip / norm } }
            var (power1, power2) = (1.0, 1.0)
            for _ in 0..<Int(t) { (power1, power2) = (power1 * settings.beta1, power2 * settings.beta2) }
            let rate = learnRate * (1 - power2).squareRoot() / (1 - power1)
            let decay = min((1 + t) / (10 + t), 0.9999)
            for i in g.indices {
                m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g[i]
                v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g[i] * g[i]
                w[i] -= rate * m[i] / (v[i].squareRoot() + settings.epsilon)
                if settings.l2IsWeightDecay { w[i] -= learnRate * settings.l2 * w[i] }
                if settings.averages { a[i] -= (1 - decay) * (a[i] - w[i]) }
            }
        }
    }

    struct Case: Sendable {
        var l2 = 1e-6
        var clip = 1.0
        var isDecoupled = false
        var averages = true
        var scale = OptimizerSpec.GradientScale.sum
        var block = OptimizerSpec.Block.layer
        var rate = OptimizerSpec.LearnRate.constant(0.001)
    }

    @Test(arguments: [
        Case(l2: 0, clip: 0), Case(l2: 1e-2), Case(clip: 0.01), Case(l2: 0.01, isDecoupled: true, scale: .words, block: .parameter),
        Case(l2: 0.1, clip: 1e-4, isDecoupled: true, averages: false, scale: .words, block: .parameter),
        Case(l2: 0.1, averages: false, rate: .planned(values: [0, 0.001, 0.004, 0.002], rest: 0.0005)),
    ]) func equalsTheDefinition(_ item: Case) {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.vectorWidth) = (12, 2, 20, 9)
        var spec = ModelSpec.spacy2(settings)
        (spec.optimizer.l2, spec.optimizer.gradClip, spec.optimizer.l2IsWeightDecay) = (item.l2, item.clip, item.isDecoupled)
        (spec.optimizer.averages, spec.optimizer.gradientScale) = (item.averages, item.scale)
        (spec.optimizer.block, spec.optimizer.learnRate) = (item.block, item.rate)
        let layout = ParameterLayout(spec: spec)
        #expect(layout.layers.count == (item.block == .layer ? 13 : layout.tensors.count))
        let state = OptimizerState(count: layout.count)
        layout.initialize(state.parameters, seed: 3)
        var random = SplitMix64(state: 2)
        var naive = layout.layers.map { layer in
            let zeros = [Double](repeating: 0, count: layer.range.count)
            return Naive(w: layer.range.map { Double(state.parameters[$0]) }, m: zeros, v: zeros, a: zeros)
        }
        let optimizer = AdamOptimizer(layout: layout, settings: spec.optimizer)
        for _ in 0..<30 {
            // Layers of different scale: some are clipped and others not. Some elements stay zero, as untouched rows do.
            var gradient = [Float](repeating: 0, count: layout.count)
            for (index, layer) in layout.layers.enumerated() {
                let scale: Float = [1, 1e-3, 1e-6][index % 3]
                for place in layer.range where Int.random(in: 0..<3, using: &random) > 0 {
                    gradient[place] = scale * Float.random(in: -1...1, using: &random)
                }
                naive[index].step(layer.range.map { Double(gradient[$0]) }, spec.optimizer, words: 37)
            }
            optimizer.step(gradient: gradient, words: 37, state: state)
        }
        #expect(state.step == 30)
        for (index, layer) in layout.layers.enumerated() {
            func error(_ buffer: UnsafePointer<Float>, _ reference: [Double]) -> Double {
                relativeError(layer.range.map { buffer[$0] }, reference)
            }
            #expect(error(state.parameters, naive[index].w) < 1e-5, "\(layer.name)")
            #expect(error(state.moment1, naive[index].m) < 1e-5, "\(layer.name)")
            #expect(error(state.moment2, naive[index].v) < 1e-4, "\(layer.name)")
            #expect(error(state.averages, naive[index].a) < 1e-5, "\(layer.name)")
        }
    }

    @Test func aZeroGradientStillCountsAndMoves() {
        let layout = ParameterLayout(spec: .spacy2(TrainingSettings()))
        let state = OptimizerState(count: layout.count)
        layout.initialize(state.parameters, seed: 3)
        let before = state.parameters[0]
        AdamOptimizer(layout: layout, settings: ModelSpec.spacy2(TrainingSettings()).optimizer)
            .step(gradient: [Float](repeating: 0, count: layout.count), words: 1, state: state)
        #expect(state.step == 1)
        #expect(state.parameters[0] != before)
    }

    @Test func environmentOverrides() throws {
        let settings = try OptimizerSettings(environment: [
            "learn_rate": "0.5", "SPACY_OPTIMIZER_B1": "0.8", "optimizer_B1": "0.7", "L2_penalty": "0",
        ])
        #expect((settings.learnRate, settings.beta1, settings.beta2, settings.l2) == (0.5, 0.8, 0.999, 0))
        for (name, value) in [("optimizer_B2", "1"), ("optimizer_eps", "x"), ("grad_norm_clip", "-1"), ("SPACY_LEARN_RATE", "nan")] {
            #expect { try OptimizerSettings(environment: [name: value]) } throws: { "\($0)".contains("\(name)=\(value)") }
        }
    }
}
