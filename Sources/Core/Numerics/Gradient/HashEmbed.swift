// Hash embeddings, once per distinct id. In: a table, four of its rows per id. Out: their sums; backward, the table's gradient.
import Model

/// thinc's `hash_embed.py` (7) and `hashembed.py` (8) for one attribute.
final class HashEmbed: InputLayer {
    private let part: InputPart
    private let index: Int
    private let table: Int

    /// - Parameter index: of the part.
    init(_ part: InputPart, index: Int, layout: ParameterLayout) {
        (self.part, self.index) = (part, index)
        table = layout.offset(part.tensor)
    }

    func carve(_ batch: MicroBatchContent, _ carver: inout Arena.Carver) {}

    func forward(_ pass: Pass, _ parts: [PartBuffers]) {
        let (feature, wanted) = (pass.batch.parts[index], parts[index].wanted)
        pass.measure(.hashEmbed, bytes: wanted.count * part.width * 4 * 5) {
            feature.rows.withUnsafeBufferPointer { rows in
                withFactors(feature.factors) { factors in
                    guard let rows = rows.baseAddress else { return }
                    TableRows.forward(
                        table: pass.parameters + table, width: part.width, rows: rows, ids: wanted.ids, count: wanted.count,
                        factors: factors, output: wanted.output)
                }
            }
        }
    }

    func backward(_ pass: Pass, _ parts: [PartBuffers]) {
        let feature = pass.batch.parts[index]
        pass.measure(.hashEmbed, bytes: feature.count * part.width * 4 * 9) {
            feature.rows.withUnsafeBufferPointer { rows in
                withFactors(feature.factors) { factors in
                    guard let rows = rows.baseAddress else { return }
                    add(pass, parts[index].dOutput, rows, factors)
                }
            }
        }
    }

    /// Adds each lane's gradient: the first one's rows are in their places, those of the others one after another.
    private func add(_ pass: Pass, _ dOutput: Floats, _ rows: UnsafePointer<UInt32>, _ factors: Floats?) {
        let feature = pass.batch.parts[index]
        feature.places.withUnsafeBufferPointer { places in
            for lane in pass.gradients.indices {
                var (rows, target) = (rows, pass.gradients[lane] + table)
                if lane > 0, part.isSparse, let places = places.baseAddress {
                    (rows, target) = (places, pass.others[lane - 1].rows(table: index))
                }
                let (first, end) = (feature.laneStarts[lane], feature.laneStarts[lane + 1])
                TableRows.backward(
                    dOutput: dOutput + first * part.width, width: part.width, rows: rows + 4 * first, count: end - first, factors: factors,
                    dTable: target)
            }
        }
    }
}
