// spaCy 3's CharacterEmbed. In: one table of 256 rows for each byte of a word. Out: its row for every byte that occurs; backward,
// gradients.
import Model

/// Byte j of a word picks row E[j, byte] (spaCy 3.8 `ml/_character_embed.py`). Each byte is a part of its own: a few dozen distinct values
/// are multiplied with the mixer's columns, however many words there are. The gradient is the exact one: spaCy's NumPy indexing keeps only
/// the last of a document's words with the same byte.
final class CharacterEmbed: InputLayer {
    private let parts: [InputPart]
    private let first: Int
    private let table: Int

    /// - Parameters:
    ///   - parts: its bytes in their order.
    ///   - first: the number of the first one.
    init(_ parts: [InputPart], first: Int, layout: ParameterLayout) {
        (self.parts, self.first) = (parts, first)
        table = layout.offset("embed.chars.E")
    }

    func carve(_ batch: MicroBatchContent, _ carver: inout Arena.Carver) {}

    func forward(_ pass: Pass, _ buffers: [PartBuffers]) {
        for (index, part) in parts.enumerated() {
            let (rows, wanted) = (pass.batch.parts[first + index].rows, buffers[first + index].wanted)
            let source = pass.parameters + table + part.tensorStart
            for place in 0..<wanted.count {
                let row = rows[wanted.ids.map { Int($0[place]) } ?? place]
                (wanted.output + place * part.width).update(from: source + Int(row) * part.width, count: part.width)
            }
        }
    }

    func backward(_ pass: Pass, _ buffers: [PartBuffers]) {
        for (index, part) in parts.enumerated() {
            let (content, dOutput) = (pass.batch.parts[first + index], buffers[first + index].dOutput)
            pass.forLanes(content.laneStarts) { ids, gradient in
                let target = gradient + table + part.tensorStart
                for id in ids { add(dOutput + id * part.width, to: target + Int(content.rows[id]) * part.width, count: part.width) }
            }
        }
    }
}
