// Several lanes in one micro-batch. In: their micro-batches. Out: one in which each has its rows, words and ids, one lane after another.

extension MicroBatchContent {
    /// Begins the first lane, of an empty micro-batch or of one that is that lane.
    mutating func beginLanes() {
        uniqueStarts.append(0)
        for index in parts.indices { parts[index].laneStarts.append(0) }
        for index in levels.indices { levels[index].laneStarts.append(0) }
    }

    /// Ends a lane: whatever is there and was not in a lane yet belongs to it.
    mutating func endLane(merges count: Int32) {
        merges.append(count)
        uniqueStarts.append(uniqueCount)
        for index in parts.indices { parts[index].laneStarts.append(parts[index].count) }
        for index in levels.indices { levels[index].laneStarts.append(rowCount(level: index)) }
    }

    /// Joins lanes of the same update. Nothing is shared between them but the masks that an update has once.
    /// - Precondition: the first convolution does not go through unique words.
    /// - Parameter merges: the order of their sum.
    mutating func join(_ lanes: [MicroBatch], merges: [Int32]) {
        guard let first = lanes.first else { return }
        clear(depth: first.content.levels.count - 1, parts: first.content.parts.count)
        (epoch, update) = (first.epoch, first.update)
        for index in parts.indices { parts[index].factors = first.content.parts[index].factors }
        let uniques = lanes.reduce(0) { $0 + $1.content.uniqueCount }
        ofWord.append(contentsOf: repeatElement(0, count: parts.count * uniques))
        beginLanes()
        for (lane, count) in zip(lanes, merges) {
            add(lane.content, of: uniques)
            endLane(merges: count)
        }
    }

    private mutating func add(_ lane: MicroBatchContent, of uniques: Int) {
        let (rowsBelow, ownWords) = (levels.indices.map { rowCount(level: $0) }, Int32(uniqueCount))
        for (index, part) in lane.parts.enumerated() { add(part, index, of: lane, uniques: uniques) }
        words.append(lane.words, after: ownWords)
        for (index, level) in lane.levels.enumerated() {
            if index > 0 { levels[index].starts.append(level.starts, after: Int32(rowsBelow[index - 1])) }
            levels[index].outside.append(level.outside, after: Int32(rowsBelow[index]))
            levels[index].kept.append(contentsOf: level.kept)
        }
        targetStarts.append(lane.targetStarts, after: Int32(targetRows.count))
        targetRows.append(contentsOf: lane.targetRows)
        targetBytes.append(contentsOf: lane.targetBytes)
        headKept.append(contentsOf: lane.headKept)
        documentCount += lane.documentCount
        wordCount += lane.wordCount
        selectedCount += lane.selectedCount
        uniqueCount += lane.uniqueCount
    }

    private mutating func add(_ part: Part, _ index: Int, of lane: MicroBatchContent, uniques: Int) {
        let (ids, target) = (Int32(parts[index].count), index * uniques + uniqueCount)
        ofWord.withUnsafeMutableBufferPointer { ofWord in
            lane.ofWord.withUnsafeBufferPointer { own in
                let first = index * lane.uniqueCount
                for word in 0..<lane.uniqueCount { ofWord[target + word] = moved(own[first + word], by: ids) }
            }
        }
        if !part.starts.isEmpty {
            // The end of the last lane's lists is the start of this one's.
            if !parts[index].starts.isEmpty { parts[index].starts.removeLast() }
            parts[index].starts.append(part.starts, after: Int32(parts[index].rows.count))
        }
        parts[index].rows.append(contentsOf: part.rows)
        parts[index].count += part.count
    }
}

/// An index behind `count` others; negative numbers are none.
@inline(__always)
private func moved(_ index: Int32, by count: Int32) -> Int32 { index < 0 ? index : index + count }

extension [Int32] {
    /// Appends indices of what follows `count` others.
    fileprivate mutating func append(_ indices: [Int32], after count: Int32) {
        append(contentsOf: indices.lazy.map { moved($0, by: count) })
    }
}
