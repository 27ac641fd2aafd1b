// Every intermediate of one gradient. In: a micro-batch's counts. Out: pointers into the arena.
//
// Legend: W width, P pieces, D convolutions, V unique words, U_f distinct ids of feature f, R_i rows of level i, T = R_D selected tokens,
// H head width, M vector width.

/// What a Maxout + LayerNorm layer keeps for its backward pass.
struct LayerTrace {
    /// (rows, O): input of the gain, later unchanged.
    var normalized: MutableFloats
    /// (rows): 1 / deviation.
    var inverse: MutableFloats
    /// (rows, winnerWords).
    var winners: UnsafeMutablePointer<UInt32>
}

/// One embedded attribute: a hash embedding or the static vectors.
struct FeatureBuffers {
    var count = 0
    /// (U, W): the table's output behind its dropout, and its gradient.
    var output: MutableFloats
    var dOutput: MutableFloats
    /// (U, 3 W): the output times its columns of the mixer's weights, and the gradient.
    var product: MutableFloats
    var dProduct: MutableFloats
}

struct StepBuffers {
    /// norm, prefix, suffix, shape and, with static vectors, those.
    var features: [FeatureBuffers]
    /// (U, M) static vectors' rows.
    var vectors: MutableFloats
    var mixer: LayerTrace
    /// (V, W): mixer's output, and its gradient.
    var embedded: MutableFloats
    var dEmbedded: MutableFloats
    /// (V, 3 P W): embeddings times the three window blocks of the first convolution, and the gradient.
    var windowed: MutableFloats
    /// By level 1...D (index 0 is the first convolution).
    var convolutions: [LayerTrace]
    /// (R_i, W), by level 1...D.
    var hidden: [MutableFloats]
    /// (R_i, 3 W) for any level above the first: rows of the level below, side by side.
    var columns: MutableFloats
    /// (R_i, P W) for any level above the first: pre-activations. Also (R_1, W) and (T, 3 H).
    var activations: MutableFloats
    /// (R_i, W) for any level, (V, W) or (T, H): where the winning piece's weights begin.
    var winnerStarts: UnsafeMutablePointer<Int32>
    /// (R_i, W), two in turn.
    var dHidden: (MutableFloats, MutableFloats)
    var head: LayerTrace
    /// (T, H) and its gradient; (T, M) prediction, then its gradient.
    var headOutput: MutableFloats
    var dHeadOutput: MutableFloats
    var prediction: MutableFloats
    /// One row of pre-activations, (max P O).
    var row: MutableFloats

    init(batch: MicroBatchContent, settings: TrainingSettings, profile: Profile, carver: inout Arena.Carver) {
        let (width, depth, pieces) = (settings.width, settings.depth, settings.pieces)
        let wide = profile.mixerPieces * width
        func layer(_ rows: Int, outputs: Int, pieces: Int) -> LayerTrace {
            LayerTrace(
                normalized: carver.floats(rows * outputs), inverse: carver.floats(rows),
                winners: carver.bits(rows * (pieces - 1) * planeWords(width: outputs)))
        }
        let counts = batch.features.map(\.count) + (settings.useVectors ? [batch.vectorRows.count] : [])
        features = counts.map { count in
            FeatureBuffers(
                count: count, output: carver.floats(count * width), dOutput: carver.floats(count * width),
                product: carver.floats(count * wide), dProduct: carver.floats(count * wide))
        }
        vectors = carver.floats(batch.vectorRows.count * settings.vectorWidth)
        let unique = batch.uniqueCount
        mixer = layer(unique, outputs: width, pieces: profile.mixerPieces)
        embedded = carver.floats(unique * width)
        dEmbedded = carver.floats(unique * width)
        windowed = carver.floats(unique * 3 * pieces * width)
        let rows = (0...depth).map { batch.rowCount(level: $0) }
        convolutions = (1...depth).map { layer(rows[$0], outputs: width, pieces: pieces) }
        hidden = (1...depth).map { carver.floats(rows[$0] * width) }
        let (most, second) = (rows[1], depth > 1 ? rows[2] : 0)
        let selected = rows[depth]
        activations = carver.floats(max(second * pieces * width, most * width, selected * profile.headPieces * profile.headWidth))
        columns = carver.floats(second * 3 * width)
        winnerStarts = carver.take(max(most * width, unique * width, selected * profile.headWidth), Int32.self)
        dHidden = (carver.floats(most * width), carver.floats(most * width))
        head = layer(selected, outputs: profile.headWidth, pieces: profile.headPieces)
        headOutput = carver.floats(selected * profile.headWidth)
        dHeadOutput = carver.floats(selected * profile.headWidth)
        prediction = carver.floats(selected * settings.vectorWidth)
        row = carver.floats(max(wide, pieces * width, profile.headPieces * profile.headWidth))
    }
}
