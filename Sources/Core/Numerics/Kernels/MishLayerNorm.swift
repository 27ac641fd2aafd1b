// Mish, LayerNorm, dropout and residual of one row. In: pre-activations and parameters. Out: activations; backward, gradients.

/// e^x, for x from -87 to 88 (other values are clamped): 2^k times a polynomial of the remainder (Cephes, expf.c), within two units in the
/// last place. Its own function, because the C library's differs between versions in the last bit.
@inline(__always)
func exponential(_ x: Float8) -> Float8 {
    var value = x.replacing(with: Float8(repeating: 88), where: x .> Float8(repeating: 88))
    value = value.replacing(with: Float8(repeating: -87), where: value .< Float8(repeating: -87))
    // 1.5 * 2^23: adding it rounds to a whole number, which is then in the low bits.
    let magic = Float8(repeating: 12_582_912)
    let shifted = magic.addingProduct(value, Float8(repeating: 1.442695041))
    let whole = shifted - magic
    var rest = value.addingProduct(whole, Float8(repeating: -0.693359375))
    rest = rest.addingProduct(whole, Float8(repeating: 2.12194440e-4))
    var sum = Float8(repeating: 1.3981999507e-3).addingProduct(rest, Float8(repeating: 1.9875691500e-4))
    sum = Float8(repeating: 8.3334519073e-3).addingProduct(rest, sum)
    sum = Float8(repeating: 4.1665795894e-2).addingProduct(rest, sum)
    sum = Float8(repeating: 1.6666665459e-1).addingProduct(rest, sum)
    sum = Float8(repeating: 5.0000001201e-1).addingProduct(rest, sum)
    let mantissa = (rest + Float8(repeating: 1)).addingProduct(rest * rest, sum)
    let exponent = unsafeBitCast(shifted, to: UInt8Lanes.self) &<< UInt8Lanes(repeating: 23)
    return unsafeBitCast(unsafeBitCast(mantissa, to: UInt8Lanes.self) &+ exponent, to: Float8.self)
}

/// A Mish followed by LayerNorm and dropout (thinc 8 `mish.py`, `layernorm.py`; `Ops.mish`, `backprop_mish`), one row at a time.
struct MishLayerNorm {
    /// Its bias and LayerNorm, of one piece.
    let norm: MaxoutLayerNorm

    /// out = residual + dropout(LayerNorm(mish(z + bias))), mish(x) = x tanh(log(1 + e^x)), x from 20 on.
    /// - Parameters:
    ///   - input: (O), written: z + bias.
    ///   - inverse: written: 1 / deviation.
    @inline(never)
    func forward(
        z: Floats, residual: Floats?, kept: UnsafePointer<UInt32>?, input: MutableFloats, normalized: MutableFloats,
        inverse: MutableFloats, out: MutableFloats
    ) {
        forChunks(norm.outputs) { start, length in
            let x = load(z, start, length) + load(norm.bias, start, length)
            store(x, input, start, length)
            // With n = e^x: tanh(log(1 + n)) = (n^2 + 2 n) / (n^2 + 2 n + 2).
            let n = exponential(x)
            let two = Float8(repeating: 2)
            let w: Float8 = n * (n + two)
            let curve: Float8 = x * (w / (w + two))
            store(curve.replacing(with: x, where: x .>= Float8(repeating: 20)), normalized, start, length)
        }
        norm.normalize(residual: residual, kept: kept, normalized: normalized, inverse: inverse, out: out)
    }

    /// - Parameters:
    ///   - dOut: (O); the caller handles its residual path.
    ///   - dInput: (O), written: gradient of z. May be `dOut` itself.
    @inline(never)
    func backward(
        dOut: Floats, kept: UnsafePointer<UInt32>?, input: Floats, normalized: Floats, inverse: Floats, dGain: MutableFloats,
        dShift: MutableFloats, dInput: MutableFloats
    ) {
        norm.backward(dOut: dOut, kept: kept, normalized: normalized, inverse: inverse, dGain: dGain, dShift: dShift, dMax: dInput)
        forChunks(norm.outputs) { start, length in
            let x = load(input, start, length)
            let n = exponential(x)
            let four = Float8(repeating: 4)
            let square = n * n
            let outer: Float8 = (x + Float8(repeating: 1)) * four
            let inner: Float8 = n * Float8(repeating: 6).addingProduct(x, four)
            let powers: Float8 = square * (four + n)
            let omega: Float8 = outer + powers + inner
            let delta: Float8 = square + n * Float8(repeating: 2) + Float8(repeating: 2)
            let d = load(dInput, start, length)
            let slope: Float8 = (n / delta) * (omega / delta)
            store((d * slope).replacing(with: d, where: x .>= Float8(repeating: 20)), dInput, start, length)
        }
    }
}
