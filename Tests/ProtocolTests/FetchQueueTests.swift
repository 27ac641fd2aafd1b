import Testing

@testable import Base
@testable import Protocol

@Suite struct FetchQueueTests {
    private let chunk = UInt64(WireLimits.chunk)

    @Test func asksForEveryByteOnceAndKeepsTheWindow() {
        var queue = FetchQueue()
        queue.add(Wanted(blob: .plan, total: 20 * chunk + 5))
        queue.add(Wanted(blob: .text(1), total: 3))
        queue.add(Wanted(blob: .text(1), total: 3))
        queue.add(Wanted(blob: .text(2), total: 0))
        #expect(queue.missingBytes == 20 * chunk + 8 && !queue.contains(.text(2)))
        var underWay = queue.pump(now: 0, retry: 10)
        var asked = underWay
        #expect(underWay.count == WireLimits.window)
        #expect(queue.pump(now: 9, retry: 10).isEmpty)
        var finished: [BlobID] = []
        while !underWay.isEmpty {
            // Chunks may come in any order.
            let request = underWay.remove(at: underWay.count / 2)
            let total = request.blob == .plan ? 20 * chunk + 5 : 3
            let receipt = queue.receive(Chunk(blob: request.blob, offset: request.offset, total: total), count: Int(request.length))
            #expect(receipt != .unexpected)
            if receipt == .finished { finished.append(request.blob) }
            let more = queue.pump(now: 0, retry: 10)
            asked += more
            underWay += more
            #expect(underWay.count <= WireLimits.window)
        }
        #expect(Set(finished) == [.plan, .text(1)] && finished.count == 2 && queue.isEmpty && queue.missingBytes == 0)
        let plan = asked.filter { $0.blob == .plan }
        #expect(plan.map(\.offset).sorted() == (0...20).map { $0 * chunk })
        #expect(plan.reduce(0) { $0 + UInt64($1.length) } == 20 * chunk + 5)
    }

    @Test func onlyWhatWasAskedForIsTaken() {
        var queue = FetchQueue()
        queue.add(Wanted(blob: .prepared(7), total: chunk + 9))
        #expect(queue.receive(Chunk(blob: .prepared(7), offset: 0, total: chunk + 9), count: Int(chunk)) == .unexpected)
        _ = queue.pump(now: 0, retry: 10)
        func receive(_ blob: BlobID, _ offset: UInt64, _ total: UInt64, _ count: Int) -> FetchQueue.Receipt {
            queue.receive(Chunk(blob: blob, offset: offset, total: total), count: count)
        }
        #expect(receive(.prepared(8), 0, chunk + 9, Int(chunk)) == .unexpected, "another blob")
        #expect(receive(.prepared(7), 0, chunk + 8, Int(chunk)) == .unexpected, "another total")
        #expect(receive(.prepared(7), 1, chunk + 9, Int(chunk)) == .unexpected, "another offset")
        #expect(receive(.prepared(7), .max, chunk + 9, Int(chunk)) == .unexpected)
        #expect(receive(.prepared(7), 0, chunk + 9, 5) == .unexpected, "too short")
        #expect(receive(.prepared(7), 0, chunk + 9, Int(chunk)) == .stored)
        #expect(receive(.prepared(7), 0, chunk + 9, Int(chunk)) == .unexpected, "twice")
        #expect(receive(.prepared(7), chunk, chunk + 9, 9) == .finished)
        #expect(receive(.prepared(7), chunk, chunk + 9, 9) == .unexpected)
    }

    @Test func whatDoesNotComeIsAskedForAgainLessAndLessOften() {
        var queue = FetchQueue()
        queue.add(Wanted(blob: .rows(3), total: 8, rows: [4, 5]))
        var times: [Milliseconds] = []
        for now in 0..<200 as Range<Milliseconds> {
            for request in queue.pump(now: now, retry: 10) {
                #expect(request == FetchRequest(blob: .rows(3), offset: 0, length: 8, rows: [4, 5]))
                times.append(now)
            }
        }
        #expect(times == [0, 10, 30, 70, 150])
        queue.remove(.rows(3))
        #expect(queue.isEmpty && queue.pump(now: 1_000, retry: 10).isEmpty)
    }

    @Test func senselessSizesDoNoHarm() {
        var queue = FetchQueue()
        for number in 0..<3 as Range<ShardID> { queue.add(Wanted(blob: .text(number), total: .max)) }
        #expect(queue.missingBytes == .max)
        #expect(queue.pump(now: .max - 200_000, retry: 10).count == WireLimits.window)
    }
}
