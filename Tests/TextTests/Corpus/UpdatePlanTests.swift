import Testing

@testable import Base
@testable import Text

@Suite struct UpdatePlanTests {
    /// Documents of a lane by length, in shuffled order.
    private func lengths(_ seed: UInt64, _ lane: Int, _ count: Int) -> [UInt64] {
        let random = Philox(seed: seed, purpose: .select, layer: lane)
        return (0..<count).map { 1 + random.integer(below: 499, UInt64($0)) }
    }

    @Test func everyDocumentHasOneUpdateAndLanesEndTogether() {
        for seed in 0..<200 as Range<UInt64> {
            let random = Philox(seed: seed, purpose: .randomWord)
            let lanes = (0..<1 + Int(random.integer(below: 8, 0))).map { lengths(seed, $0, Int(random.integer(below: 60, 1 + UInt64($0)))) }
            let words = lanes.map { $0.reduce(0, +) }
            let total = words.reduce(0, +)
            guard total > 0 else { continue }
            let batch = 1 + Int(random.integer(below: 3_000, 100))
            let plan = UpdatePlan(laneWords: words, batchSize: batch)
            #expect(plan.updatesPerEpoch == (total + UInt64(batch) - 1) / UInt64(batch) && plan.words == total)
            for (lane, documents) in lanes.enumerated() {
                var (end, last): (UInt64, UInt64) = (0, 0)
                for length in documents {
                    end += length
                    let update = plan.update(ofDocumentEndingAt: end, lane: LaneID(lane))
                    // u * T / U < end <= (u + 1) * T / U, without a division.
                    #expect(update * words[lane] < end * plan.updatesPerEpoch)
                    #expect(end * plan.updatesPerEpoch <= (update + 1) * words[lane])
                    #expect(update >= last, "updates take documents in order")
                    last = update
                }
                if !documents.isEmpty { #expect(last == plan.updatesPerEpoch - 1, "every lane ends in the last update") }
            }
        }
    }

    /// With documents of one word, each update has the batch size, except for the rounding of each lane.
    @Test func theMeanUpdateHasTheBatchSize() {
        let plan = UpdatePlan(laneWords: [7_000, 7_000, 8_000, 8_000], batchSize: 3_000)
        #expect(plan.updatesPerEpoch == 10)
        var words = [UInt64](repeating: 0, count: 10)
        for lane in 0..<4 {
            for end in 1...plan.laneWords[lane] { words[Int(plan.update(ofDocumentEndingAt: end, lane: LaneID(lane)))] += 1 }
        }
        #expect(words == [UInt64](repeating: 3_000, count: 10))
    }

    @Test func tenTerabytesDoNotOverflow() {
        let words: UInt64 = 1 << 41
        let plan = UpdatePlan(laneWords: [words, words - 1], batchSize: 1)
        #expect(plan.updatesPerEpoch == 2 * words - 1)
        #expect(plan.update(ofDocumentEndingAt: words, lane: 0) == plan.updatesPerEpoch - 1)
        #expect(plan.update(ofDocumentEndingAt: words - 1, lane: 1) == plan.updatesPerEpoch - 1)
        #expect(plan.update(ofDocumentEndingAt: 1, lane: 0) == 1)
    }
}

@Suite struct LaneOrderTests {
    private func order(seed: UInt64 = 1, epoch: UInt64 = 0, lane: LaneID = 2, _ documents: [Int]) -> [DocumentPlace] {
        var order = LaneOrder(seed: seed, epoch: epoch, lane: lane, shards: documents.count, windowShards: 16)
        var places: [DocumentPlace] = []
        while let place = order.next(documents: { documents[$0] }) { places.append(place) }
        #expect(order.next(documents: { documents[$0] }) == nil, "nothing follows the end")
        return places
    }

    private func key(_ place: DocumentPlace) -> UInt64 { UInt64(place.shard) << 32 | UInt64(place.document) }

    @Test func anEpochHasEveryDocumentOnce() {
        for documents in [[], [0], [1], [0, 0, 3], [5, 0, 7, 1], (0..<200).map { $0 % 7 }] {
            let expected = documents.enumerated().flatMap { shard, count in (0..<count).map { UInt64(shard) << 32 | UInt64($0) } }
            #expect(order(documents).map(key).sorted() == expected)
        }
    }

    @Test func seedsEpochsAndLanesShuffleEachInItsOwnWay() {
        let documents = [Int](repeating: 10, count: 9)
        let orders = [order(documents), order(seed: 2, documents), order(epoch: 1, documents), order(lane: 3, documents)].map {
            $0.map(key)
        }
        #expect(Set(orders).count == 4)
        #expect(order(documents).map(key) == orders[0])
        #expect(orders[0] != orders[0].sorted())
    }

    /// A lane with few shards is shuffled as a whole, a long one window by window, so that memory does not grow with it.
    @Test func documentsMeetWithinAWindowOfShards() {
        let few = order([Int](repeating: 20, count: 16))
        #expect(Set(few.prefix(100).map(\.shard)).count > 12)
        let many = order([Int](repeating: 20, count: 3 * 16 + 1))
        let windows = stride(from: 0, to: many.count, by: 20 * 16).map { start in
            Set(many[start..<min(many.count, start + 20 * 16)].map(\.shard))
        }
        #expect(LaneOrder.windowShards(lanes: 1) == 64 && LaneOrder.windowShards(lanes: 4) == 16 && LaneOrder.windowShards(lanes: 100) == 4)
        #expect(windows.map(\.count) == [16, 16, 16, 1])
        #expect(windows.reduce(Set()) { $0.union($1) }.count == 49)
    }

    /// A worker that begins in the middle of an epoch skips ahead; one that reads on continues: both see the same documents.
    @Test func theOrderDoesNotDependOnWhoAsksWhen() {
        let documents = (0..<150).map { 1 + $0 % 5 }
        var straight = LaneOrder(seed: 9, epoch: 4, lane: 0, shards: documents.count, windowShards: 16)
        let all = (0..<documents.reduce(0, +)).compactMap { _ in straight.next(documents: { documents[$0] }) }
        var late = LaneOrder(seed: 9, epoch: 4, lane: 0, shards: documents.count, windowShards: 16)
        var copy: LaneOrder?
        var again: [DocumentPlace] = []
        while let place = late.next(documents: { documents[$0] }) {
            again.append(place)
            if again.count == 100 { copy = late }
        }
        #expect(again == all)
        #expect(copy?.next(documents: { documents[$0] }) == all[100])
    }
}
