// What the mixer's input reads. In: the unique words. Out: distinct ids of every part with their rows, masks, where words occur.
import Base
import Model
import Shards

extension MicroBatchAssembler {
    /// Distinct ids of every part and their rows.
    mutating func listParts(into batch: inout MicroBatchContent) {
        for (index, part) in parts.enumerated() {
            tables[index].clear()
            switch part.source {
            case .column(let column): listIDs(index, part, column: column, mask: .max, into: &batch)
            case .token(let bit): listIDs(index, part, column: unique.columns, mask: bit, into: &batch)
            case .byte(let place): listBytes(index, place, into: &batch)
            case .vectors: listVectors(index, into: &batch)
            }
        }
    }

    /// A hash embedding. With a mask, the id is whether that bit of the token's attributes is set.
    private mutating func listIDs(
        _ index: Int, _ part: InputPart, column: Int, mask: UInt64, into batch: inout MicroBatchContent
    ) {
        let rows = UInt32(part.rows)
        for word in 0..<unique.count {
            let key = unique.keys[word * unique.stride + column]
            let id = mask == .max ? key : (key & mask == 0 ? 0 : 1)
            let (number, isNew) = tables[index].number(id)
            if isNew {
                let keys = murmurHash3(id, seed: part.seed)
                batch.parts[index].count += 1
                batch.parts[index].rows.append(keys.0 % rows)
                batch.parts[index].rows.append(keys.1 % rows)
                batch.parts[index].rows.append(keys.2 % rows)
                batch.parts[index].rows.append(keys.3 % rows)
            }
            batch.ofWord.append(number)
        }
    }

    private mutating func listBytes(_ index: Int, _ place: Int, into batch: inout MicroBatchContent) {
        let byteCount = schemaBytes
        for word in 0..<unique.count {
            let (block, local) = unique.places[word]
            let byte = unique.blocks[Int(block)].bytes[Int(local) * byteCount + place]
            let (number, isNew) = tables[index].number(UInt64(byte))
            if isNew {
                batch.parts[index].count += 1
                batch.parts[index].rows.append(UInt32(byte))
            }
            batch.ofWord.append(number)
        }
    }

    /// Static vectors: words with the same row share it; a floret word has a list of its own.
    private mutating func listVectors(_ index: Int, into batch: inout MicroBatchContent) {
        let last = spec.vectorsInput?.missing == .last ? UInt32(vectorRows - 1) : nil
        batch.parts[index].starts.append(0)
        for word in 0..<unique.count {
            let (block, local) = unique.places[word]
            let rows = unique.blocks[Int(block)].vectorRows(Int(local))
            guard let first = rows.first ?? last else {
                batch.ofWord.append(-1)
                continue
            }
            let key: (UInt64, UInt64) = rows.count > 1 ? (unique.keys[word * unique.stride], 1) : (UInt64(first), 0)
            let (number, isNew) = tables[index].number(key.0, key.1)
            if isNew {
                batch.parts[index].count += 1
                if rows.isEmpty { batch.parts[index].rows.append(first) }
                for row in rows { batch.parts[index].rows.append(row) }
                batch.parts[index].starts.append(Int32(batch.parts[index].rows.count))
            }
            batch.ofWord.append(number)
        }
    }

    /// By unique word, where the first convolution reads it: a counting sort, so in row order within a word.
    mutating func listOccurrences(into batch: inout MicroBatchContent) {
        for start in batch.levels[1].starts {
            for slot in 0..<3 { batch.windows[slot].append(batch.words[Int(start) + slot]) }
        }
        guard batch.sumsByWord else { return }
        fill.removeAll(keepingCapacity: true)
        for _ in 0...batch.uniqueCount { fill.append(0) }
        for slot in 0..<3 {
            for word in batch.windows[slot] { fill[Int(word)] += 1 }
        }
        var total: Int32 = 0
        for word in 0...batch.uniqueCount {
            batch.occurrenceStarts.append(total)
            let count = fill[word]
            fill[word] = total
            total += count
        }
        for _ in 0..<total { batch.occurrences.append(0) }
        for row in batch.windows[1].indices {
            for slot in 0..<3 {
                let word = Int(batch.windows[slot][row])
                batch.occurrences[Int(fill[word])] = UInt32(4 * row + slot)
                fill[word] += 1
            }
        }
    }

    /// One mask for the whole update on each part that has dropout, the same in every lane.
    mutating func drawEmbeddingMasks(into batch: inout MicroBatchContent) {
        guard dropout.isOn else { return }
        for (index, part) in parts.enumerated() where part.dropout {
            let philox = Philox(seed: seed, purpose: .embeddingMask, layer: index, update: batch.update)
            plane.removeAll(keepingCapacity: true)
            dropout.keep(philox, item: 0, index: 0, width: part.width, into: &plane)
            for unit in 0..<part.width {
                let bit = planeBit(plane, unit)
                batch.parts[index].factors.append(bit == 1 ? dropout.scale : 0)
            }
        }
    }
}
