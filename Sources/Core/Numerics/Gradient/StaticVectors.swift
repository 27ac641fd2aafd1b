// Static vectors as input. In: rows of the vectors table. Out: their projections; backward, the projection's gradient.
import Model

/// Vector times W^T, once per distinct vector (thinc's `static_vectors.py` 7, spaCy 3.8 `ml/staticvectors.py`). A word with many rows has
/// their mean. The gradient is the exact one: a word without a vector gives none.
final class StaticVectors: InputLayer {
    private let part: InputPart
    private let index: Int
    private let weights: Int
    private let table: any VectorRows
    /// (U, M): the vectors, and room for those whose outputs are wanted if these are not all.
    private var rows: MutableFloats?
    private var chosen: MutableFloats?

    init(_ part: InputPart, index: Int, layout: ParameterLayout, vectors: any VectorRows) {
        (self.part, self.index, table) = (part, index, vectors)
        weights = layout.offset(part.tensor)
    }

    func carve(_ batch: MicroBatchContent, _ carver: inout Arena.Carver) {
        rows = carver.floats(batch.parts[index].count * table.width)
        chosen = carver.floats(batch.parts[index].count * table.width)
    }

    func forward(_ pass: Pass, _ parts: [PartBuffers]) {
        guard let rows, let chosen else { return }
        let (feature, wanted, size) = (pass.batch.parts[index], parts[index].wanted, table.width)
        pass.measure(.gather, bytes: 8 * (feature.count + wanted.count) * size) {
            for word in 0..<feature.count {
                let (start, end) = (Int(feature.starts[word]), Int(feature.starts[word + 1]))
                table.mean(feature.rows[start..<end], into: rows + word * size)
            }
            for (place, id) in (wanted.ids ?? []).enumerated() {
                (chosen + place * size).update(from: rows + Int(id) * size, count: size)
            }
        }
        pass.multiply(.vectorsProduct, m: wanted.count, n: part.width, k: size) {
            pass.weights.timesTransposed(
                m: wanted.count, n: part.width, k: size, wanted.ids == nil ? rows : chosen, lda: size, offset: weights, ldb: size,
                wanted.output, ldc: part.width)
        }
        mask(wanted.output, rows: wanted.count, width: part.width, factors: feature.factors)
    }

    func backward(_ pass: Pass, _ parts: [PartBuffers]) {
        guard let rows else { return }
        let (buffer, size) = (parts[index], table.width)
        mask(buffer.dOutput, rows: buffer.count, width: part.width, factors: pass.batch.parts[index].factors)
        pass.multiply(.vectorsProduct, m: part.width, n: size, k: buffer.count) {
            pass.transposedTimes(
                m: part.width, n: size, starts: pass.batch.parts[index].laneStarts, buffer.dOutput, lda: part.width, rows, ldb: size,
                offset: weights, stride: size)
        }
    }
}

extension VectorRows {
    /// Writes the vector of a word with these rows: a copy of one, the mean of many, summed in float32 as (1 / count) * row in their order
    /// (spaCy 3.8 `vectors.pyx`, `get_batch`), zeros for none.
    func mean(_ rows: some Collection<some FixedWidthInteger>, into target: MutableFloats) {
        if rows.count == 1, let only = rows.first {
            target.update(from: pointer(row: Int(only)), count: width)
            return
        }
        target.update(repeating: 0, count: width)
        let factor = 1 / Float(max(1, rows.count))
        for row in rows {
            let source = pointer(row: Int(row))
            forChunks(width) { start, length in
                store(load(target, start, length) + load(source, start, length) * factor, target, start, length)
            }
        }
    }
}
