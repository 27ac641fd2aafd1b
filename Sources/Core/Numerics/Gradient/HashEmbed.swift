// Hash embeddings, once per distinct id. In: a table, four of its rows per id. Out: their sums; backward, the table's gradient.
import Model

/// thinc's `hash_embed.py` (7) and `hashembed.py` (8) for one attribute.
final class HashEmbed: InputLayer {
    private let part: InputPart
    private let index: Int
    private let table: Int
    private let lists: RowLists
    /// Sums of lanes that are added later.
    private var room: MutableFloats?

    /// - Parameter index: of the part.
    init(_ part: InputPart, index: Int, layout: ParameterLayout) {
        (self.part, self.index) = (part, index)
        table = layout.offset(part.tensor)
        lists = RowLists(rows: part.rows)
    }

    func carve(_ batch: MicroBatchContent, _ carver: inout Arena.Carver) {
        room = carver.floats(LaneRows.places(batch.merges) * part.width)
    }

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
        guard let room else { return }
        let (feature, dOutput) = (pass.batch.parts[index], parts[index].dOutput)
        pass.measure(.hashEmbed, bytes: feature.count * part.width * 4 * 7) {
            mask(dOutput, rows: feature.count, width: part.width, factors: feature.factors)
            feature.rows.withUnsafeBufferPointer { rows in
                guard let rows = rows.baseAddress else { return }
                TableRows.backward(
                    dOutput: dOutput, width: part.width, rows: rows, lanes: pass.lanes(feature.laneStarts), lists: lists, room: room,
                    dTable: pass.gradient + table)
            }
        }
    }
}
