// One optimizer step. In: the reduced gradient sum. Out: parameters, moments and averages of the next version.
import Model

/// thinc's Adam (7.0 and 7.4 `optimizers.pyx`, `ops.pyx`; 8 `optimizers.py`, Adam.v1), per block: the sum's scale, decay in the gradient or
/// decoupled, clipping to a norm, Adam with the bias correction folded into the learn rate, running averages or none. Two passes over
/// memory; the gradient is read only.
package struct AdamOptimizer: Sendable {
    /// Their floats, in the layout's order.
    package let layers: [Range<Int>]
    private let settings: OptimizerSpec
    /// Decay that is part of the gradient.
    private let gradientDecay: Float

    /// An optimizer for buffers in the order of `layout`.
    package init(layout: ParameterLayout, settings: OptimizerSpec) {
        layers = layout.layers.map(\.range)
        self.settings = settings
        gradientDecay = settings.l2IsWeightDecay ? 0 : Float(settings.l2)
    }

    /// Applies update `state.step + 1`. A zero gradient still moves: L2 and the moments act.
    /// - Parameters:
    ///   - gradient: `state.count` floats, un-normalized sums.
    ///   - words: all tokens of the update, selected or not.
    package func step(gradient: UnsafePointer<Float>, words: UInt64, state: OptimizerState) {
        let step = begin(state, words: words)
        let norms = layers.map { norm(squares: squares(step, $0, gradient: gradient, state: state)) }
        for layer in layers.indices {
            apply(step, layer: layer, layers[layer], norm: norms[layer], gradient: gradient, state: state, next: state.parameters)
        }
        finish(step, state)
    }

    /// Floats of a layer whose squares are summed as floats: part of what defines a norm's bits.
    package static let normBlock = 4096

    /// Sums of squares of part of a layer's gradient as the step sees it, one for each `normBlock` floats: threads may share a layer.
    /// - Parameters:
    ///   - range: floats of the layout that are in one layer; begins a multiple of `normBlock` after the layer's first, and ends at such a
    ///     multiple or with the layer.
    ///   - gradient: of all layers; only the range is read.
    package func squares(_ step: Step, _ range: Range<Int>, gradient: UnsafePointer<Float>, state: OptimizerState) -> [Double] {
        stride(from: range.lowerBound, to: range.upperBound, by: Self.normBlock).map { start in
            Double(
                squares(gradient + start, state.parameters + start, count: min(Self.normBlock, range.upperBound - start), scale: step.scale)
            )
        }
    }

    /// Norm of a layer's gradient, from the sums of all its blocks in their order. If it is not finite, the update must not be applied;
    /// nothing has been written.
    package func norm(squares: [Double]) -> Double { squares.reduce(0, +).squareRoot() }

    /// Numbers of one update that all layers share.
    package struct Step: Sendable {
        /// Counted from 1.
        let number: UInt64
        let rate: Float
        let averaging: Float
        /// Of the gradient's sum.
        let scale: Float
        /// What decoupled decay subtracts from a weight.
        let decay: Float
    }

    /// Begins update `state.step + 1`; after this its norms are checked, and it is applied to every layer and finished. Changes nothing.
    /// - Parameter words: all tokens of the update, selected or not.
    package func begin(_ state: OptimizerState, words: UInt64) -> Step {
        let learnRate = settings.learnRate.rate(update: state.step)
        let number = state.step + 1
        let time = Double(number)
        let (fix1, fix2) = (1 - power(settings.beta1, number), 1 - power(settings.beta2, number))
        let decay = min(Float((1 + time) / (10 + time)), 0.9999)
        return Step(
            number: number, rate: Float(learnRate * fix2.squareRoot() / fix1), averaging: 1 - decay,
            scale: settings.gradientScale == .words && words > 0 ? 1 / Float(words) : 1,
            decay: settings.l2IsWeightDecay ? Float(learnRate * settings.l2) : 0)
    }

    /// Every layer has been applied.
    package func finish(_ step: Step, _ state: OptimizerState) { state.step = step.number }

    /// Part of a layer in an update. No float affects another: several threads may apply any parts at the same time.
    /// - Parameters:
    ///   - layer: its index in the layout.
    ///   - range: floats of the layout that are in the layer.
    ///   - norm: the layer's, a finite number.
    ///   - gradient: of all layers; only the layer's range is read.
    ///   - next: where the next version of the parameters goes; may be `state.parameters`.
    package func apply(
        _ step: Step, layer: Int, _ range: Range<Int>, norm: Double, gradient: UnsafePointer<Float>, state: OptimizerState,
        next: UnsafeMutablePointer<Float>
    ) {
        let clip = settings.gradClip
        let clipping = clip > 0 && norm >= clip ? Float(clip / norm) : 1
        switch (settings.l2IsWeightDecay, settings.averages) {
        case (false, true): apply(gradient, state, range, clipping, step, next, isDecoupled: false, averages: true)
        case (false, false): apply(gradient, state, range, clipping, step, next, isDecoupled: false, averages: false)
        case (true, true): apply(gradient, state, range, clipping, step, next, isDecoupled: true, averages: true)
        case (true, false): apply(gradient, state, range, clipping, step, next, isDecoupled: true, averages: false)
        }
    }

    /// base^exponent by squaring; the C library's pow differs in the last bit between versions.
    private func power(_ base: Double, _ exponent: UInt64) -> Double {
        var (result, square, rest) = (1.0, base, exponent)
        while rest > 0 {
            if rest & 1 == 1 { result *= square }
            square *= square
            rest >>= 1
        }
        return result
    }

    /// Sum of the squares of gradient * scale + L2 * weights, in float lanes. Without L2 in the gradient weights are not read: they would
    /// come from memory.
    private func squares(_ gradient: Floats, _ weights: Floats, count: Int, scale: Float) -> Float {
        let (l2, scale) = (Float8(repeating: gradientDecay), Float8(repeating: scale))
        guard gradientDecay != 0 else { return squares(count) { start, length in load(gradient, start, length) * scale } }
        return squares(count) { start, length in
            (load(gradient, start, length) * scale).addingProduct(l2, load(weights, start, length))
        }
    }

    @inline(__always)
    private func squares(_ count: Int, _ value: (_ start: Int, _ length: Int) -> Float8) -> Float {
        // Two accumulators hide the latency of the additions.
        var (even, odd) = (Float8.zero, Float8.zero)
        var index = 0
        while index &+ 16 <= count {
            let (first, second) = (value(index, 8), value(index &+ 8, 8))
            even.addProduct(first, first)
            odd.addProduct(second, second)
            index &+= 16
        }
        forChunks(count &- index) { offset, length in
            let rest = value(index &+ offset, length)
            even.addProduct(rest, rest)
        }
        return laneSum(even + odd)
    }

    /// How many floats ahead memory is asked for.
    private static let prefetched = 512

    /// The flags are constants at every call, so that each case has its own loop.
    @inline(__always)
    private func apply(
        _ gradient: Floats, _ state: OptimizerState, _ layer: Range<Int>, _ clipping: Float, _ step: Step, _ next: MutableFloats,
        isDecoupled: Bool, averages: Bool
    ) {
        let (beta1, beta2) = (Float(settings.beta1), Float(settings.beta2))
        let (l2, scale) = (Float8(repeating: gradientDecay), Float8(repeating: step.scale))
        let (clipping, decay) = (Float8(repeating: clipping), Float8(repeating: step.decay))
        let (b1, b2) = (Float8(repeating: beta1), Float8(repeating: beta2))
        // thinc takes 1 - beta in float32.
        let (c1, c2) = (Float8(repeating: 1 - beta1), Float8(repeating: 1 - beta2))
        let epsilon = Float8(repeating: Float(settings.epsilon))
        let (rate, averaging) = (Float8(repeating: step.rate), Float8(repeating: step.averaging))
        let (g, w) = (gradient + layer.lowerBound, state.parameters + layer.lowerBound)
        let (m, v) = (state.moment1 + layer.lowerBound, state.moment2 + layer.lowerBound)
        let (a, target) = (state.averages + layer.lowerBound, next + layer.lowerBound)
        forChunks(layer.count) { start, length in
            // Parts are short, and the CPU finds each stream anew.
            prefetch(g, start &+ Self.prefetched)
            prefetch(w, start &+ Self.prefetched)
            prefetch(m, start &+ Self.prefetched)
            prefetch(v, start &+ Self.prefetched)
            if averages { prefetch(a, start &+ Self.prefetched) }
            prefetch(target, start &+ Self.prefetched)
            let weight = load(w, start, length)
            let value = (load(g, start, length) * scale).addingProduct(l2, weight) * clipping
            let first = (load(m, start, length) * b1).addingProduct(value, c1)
            let second = (load(v, start, length) * b2).addingProduct(value * value, c2)
            store(first, m, start, length)
            store(second, v, start, length)
            var next = weight - rate * (first / (second.squareRoot() + epsilon))
            if isDecoupled { next -= decay * next }
            store(next, target, start, length)
            if averages {
                let average = load(a, start, length)
                store(average - averaging * (average - next), a, start, length)
            }
        }
    }
}
