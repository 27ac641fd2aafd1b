// One optimizer step. In: the reduced gradient sum. Out: parameters, moments and averages of the next version.

/// thinc 7's Adam (`optimizers.pyx`, `ops.pyx` of 7.0 and 7.4): per layer L2, clipping to a norm, Adam with the bias correction folded
/// into the learn rate, running averages. Two passes over memory; the gradient is read only.
public struct AdamOptimizer: Sendable {
    /// Their floats, in the layout's order.
    public let layers: [Range<Int>]
    private let settings: OptimizerSettings

    /// An optimizer for buffers in the order of `layout`.
    public init(layout: ParameterLayout, settings: OptimizerSettings) {
        layers = layout.layers.map(\.range)
        self.settings = settings
    }

    /// Applies update `state.step + 1`. A zero gradient still moves: L2 and the moments act.
    /// - Parameter gradient: `state.count` floats, un-normalized sums.
    public func step(gradient: UnsafePointer<Float>, state: OptimizerState) {
        let norms = layers.indices.map { norm(layer: $0, gradient: gradient, state: state) }
        let step = begin(state)
        for layer in layers.indices {
            apply(step, layer: layer, norm: norms[layer], gradient: gradient, state: state, next: state.parameters)
        }
    }

    /// Norm of a layer's gradient with its decay. Not a finite number: the update must not be applied, and nothing was written.
    /// - Parameters:
    ///   - layer: its index in the layout.
    ///   - gradient: stands for all layers; read in the layer's range.
    public func norm(layer: Int, gradient: UnsafePointer<Float>, state: OptimizerState) -> Double {
        decayedNorm(gradient, state.parameters, layers[layer])
    }

    /// Numbers of one update that all layers share.
    public struct Step: Sendable {
        let rate: Float
        let averaging: Float
    }

    /// Begins update `state.step + 1`; `apply` it to every layer.
    public func begin(_ state: OptimizerState) -> Step {
        state.step += 1
        let time = Double(state.step)
        let (fix1, fix2) = (1 - power(settings.beta1, state.step), 1 - power(settings.beta2, state.step))
        let decay = min(Float((1 + time) / (10 + time)), 0.9999)
        return Step(rate: Float(settings.learnRate * fix2.squareRoot() / fix1), averaging: 1 - decay)
    }

    /// One layer of an update. Layers do not touch each other: several threads may apply them at the same time.
    /// - Parameters:
    ///   - layer: its index in the layout.
    ///   - norm: the layer's, a finite number.
    ///   - gradient: stands for all layers; read in the layer's range.
    ///   - next: where the next version of the parameters goes; may be `state.parameters`.
    public func apply(
        _ step: Step, layer: Int, norm: Double, gradient: UnsafePointer<Float>, state: OptimizerState, next: UnsafeMutablePointer<Float>
    ) {
        let range = layers[layer]
        let clip = settings.gradientNormClip
        let scale = clip > 0 && norm >= clip ? Float(clip / norm) : 1
        apply(gradient, state, range, scale: scale, step: step, next: next)
    }

    /// base^exponent by squaring; the C library's pow differs in the last bit among versions.
    private func power(_ base: Double, _ exponent: UInt64) -> Double {
        var (result, square, rest) = (1.0, base, exponent)
        while rest > 0 {
            if rest & 1 == 1 { result *= square }
            square *= square
            rest >>= 1
        }
        return result
    }

    /// Norm of gradient + L2 * weights. Blocks are summed in float lanes, the blocks in double.
    private func decayedNorm(_ gradient: Floats, _ weights: Floats, _ layer: Range<Int>) -> Double {
        let l2 = Float8(repeating: Float(settings.l2))
        var total = 0.0
        var start = layer.lowerBound
        while start < layer.upperBound {
            let length = min(4096, layer.upperBound - start)
            let (g, w) = (gradient + start, weights + start)
            // Two accumulators hide the latency of the additions.
            var (even, odd) = (Float8.zero, Float8.zero)
            var index = 0
            while index &+ 16 <= length {
                let first = load(g, index, 8).addingProduct(l2, load(w, index, 8))
                let second = load(g, index &+ 8, 8).addingProduct(l2, load(w, index &+ 8, 8))
                even.addProduct(first, first)
                odd.addProduct(second, second)
                index &+= 16
            }
            forChunks(length &- index) { offset, count in
                let value = load(g, index &+ offset, count).addingProduct(l2, load(w, index &+ offset, count))
                even.addProduct(value, value)
            }
            total += Double(laneSum(even + odd))
            start += length
        }
        return total.squareRoot()
    }

    private func apply(
        _ gradient: Floats, _ state: OptimizerState, _ layer: Range<Int>, scale: Float, step: Step, next: MutableFloats
    ) {
        let (beta1, beta2) = (Float(settings.beta1), Float(settings.beta2))
        let l2 = Float8(repeating: Float(settings.l2))
        let scale = Float8(repeating: scale)
        let (b1, b2) = (Float8(repeating: beta1), Float8(repeating: beta2))
        // thinc takes 1 - beta in float32.
        let (c1, c2) = (Float8(repeating: 1 - beta1), Float8(repeating: 1 - beta2))
        let epsilon = Float8(repeating: Float(settings.epsilon))
        let (rate, averaging) = (Float8(repeating: step.rate), Float8(repeating: step.averaging))
        let (g, w) = (gradient + layer.lowerBound, state.parameters + layer.lowerBound)
        let (m, v) = (state.moment1 + layer.lowerBound, state.moment2 + layer.lowerBound)
        let (a, target) = (state.averages + layer.lowerBound, next + layer.lowerBound)
        forChunks(layer.count) { start, length in
            let weight = load(w, start, length)
            let value = load(g, start, length).addingProduct(l2, weight) * scale
            let first = (load(m, start, length) * b1).addingProduct(value, c1)
            let second = (load(v, start, length) * b2).addingProduct(value * value, c2)
            store(first, m, start, length)
            store(second, v, start, length)
            let next = weight - rate * (first / (second.squareRoot() + epsilon))
            store(next, target, start, length)
            let average = load(a, start, length)
            store(average - averaging * (average - next), a, start, length)
        }
    }
}
