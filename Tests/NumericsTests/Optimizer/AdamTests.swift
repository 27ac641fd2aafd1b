import TestSupport
import Testing

@testable import Numerics

@Suite struct AdamTests {
    /// The definition in double precision, one layer.
    struct Naive {
        var w, m, v, a: [Double]
        var t = 0.0

        mutating func step(_ gradient: [Double], _ settings: OptimizerSettings) {
            t += 1
            var g = zip(gradient, w).map { $0 + settings.l2 * $1 }
            let norm = g.reduce(0) { $0 + $1 * $1 }.squareRoot()
            if settings.gradientNormClip > 0, norm >= settings.gradientNormClip { g = g.map { $0 * settings.gradientNormClip / norm } }
            var (power1, power2) = (1.0, 1.0)
            for _ in 0..<Int(t) { (power1, power2) = (power1 * settings.beta1, power2 * settings.beta2) }
            let rate = settings.learnRate * (1 - power2).squareRoot() / (1 - power1)
            let decay = min((1 + t) / (10 + t), 0.9999)
            for i in g.indices {
                m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g[i]
                v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g[i] * g[i]
                w[i] -= rate * m[i] / (v[i].squareRoot() + settings.epsilon)
                a[i] -= (1 - decay) * (a[i] - w[i])
            }
        }
    }

    @Test(arguments: [(0.0, 0.0), (1e-2, 1.0), (1e-6, 0.01)]) func equalsTheDefinition(l2: Double, clip: Double) {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.vectorWidth) = (12, 2, 20, 9)
        (settings.optimizer.l2, settings.optimizer.gradientNormClip) = (l2, clip)
        let layout = ParameterLayout(settings: settings)
        let state = OptimizerState(count: layout.count)
        layout.initialize(state.parameters, seed: 3)
        var random = SplitMix64(state: 2)
        var naive = layout.layers.map { layer in
            let zeros = [Double](repeating: 0, count: layer.range.count)
            return Naive(w: layer.range.map { Double(state.parameters[$0]) }, m: zeros, v: zeros, a: zeros)
        }
        let optimizer = AdamOptimizer(layout: layout, settings: settings.optimizer)
        for _ in 0..<30 {
            // Layers of different scale: some are clipped and others not. Some elements stay zero, as untouched rows do.
            var gradient = [Float](repeating: 0, count: layout.count)
            for (index, layer) in layout.layers.enumerated() {
                let scale: Float = [1, 1e-3, 1e-6][index % 3]
                for place in layer.range where Int.random(in: 0..<3, using: &random) > 0 {
                    gradient[place] = scale * Float.random(in: -1...1, using: &random)
                }
                naive[index].step(layer.range.map { Double(gradient[$0]) }, settings.optimizer)
            }
            optimizer.step(gradient: gradient, state: state)
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
        let layout = ParameterLayout(settings: TrainingSettings())
        let state = OptimizerState(count: layout.count)
        layout.initialize(state.parameters, seed: 3)
        let before = state.parameters[0]
        AdamOptimizer(layout: layout, settings: OptimizerSettings())
            .step(gradient: [Float](repeating: 0, count: layout.count), state: state)
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
