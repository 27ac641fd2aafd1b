// Bulk transfer in chunks with back-pressure. In: wanted blobs, chunks as they arrive. Out: requests, at most a window of them in flight.
import Base

/// A blob that one side wants in full.
package struct Wanted: Equatable, Sendable {
    package var blob: BlobID
    /// Its size in bytes.
    package var total: UInt64
    /// Vector rows, for `.rows`.
    package var rows: [UInt32]

    package init(blob: BlobID, total: UInt64, rows: [UInt32] = []) {
        self.blob = blob
        self.total = total
        self.rows = rows
    }
}

/// The fetches of one side from one peer. Chunks may arrive in any order, twice or never.
package struct FetchQueue: Sendable, Equatable {
    struct Request: Sendable, Equatable {
        var time: Milliseconds
        var repeats = 0

        /// The wait doubles with every repetition: a slow link must not be filled with copies of what is already in flight.
        func isOverdue(_ now: Milliseconds, _ retry: Milliseconds) -> Bool { now >= time + retry << min(3, repeats) }
    }

    struct Item: Sendable, Equatable {
        var wanted: Wanted
        var nextOffset: UInt64 = 0
        var underWay: [UInt64: Request] = [:]
        var received: UInt64 = 0
    }

    /// What became of a chunk.
    package enum Receipt: Equatable, Sendable {
        /// Not requested, or it had already arrived.
        case unexpected
        case stored
        /// It was the blob's last chunk.
        case finished
    }

    private var items: [Item] = []
    /// Bytes per request, except for a blob's last one.
    private let piece: Int

    package init(piece: Int = WireLimits.chunk) { self.piece = piece }

    package var isEmpty: Bool { items.isEmpty }
    /// Bytes that have not arrived yet.
    package var missingBytes: UInt64 {
        items.reduce(0) { sum, item in
            let (next, overflow) = sum.addingReportingOverflow(item.wanted.total - item.received)
            return overflow ? .max : next
        }
    }

    package func contains(_ blob: BlobID) -> Bool { items.contains { $0.wanted.blob == blob } }

    /// Adds a blob, unless it is there already. An empty blob needs no fetch and is not added.
    package mutating func add(_ wanted: Wanted) {
        guard wanted.total > 0, !contains(wanted.blob) else { return }
        items.append(Item(wanted: wanted))
    }

    package mutating func remove(_ blob: BlobID) { items.removeAll { $0.wanted.blob == blob } }

    /// Requests to send now: first those whose chunk is overdue, then new ones up to the window.
    package mutating func pump(now: Milliseconds, retry: Milliseconds) -> [FetchRequest] {
        var requests: [FetchRequest] = []
        var outstanding = items.reduce(0) { $0 + $1.underWay.count }
        for index in items.indices {
            for (offset, asked) in items[index].underWay.ascending(\.key) where asked.isOverdue(now, retry) {
                items[index].underWay[offset] = Request(time: now, repeats: asked.repeats + 1)
                requests.append(request(items[index].wanted, offset))
            }
            while outstanding < WireLimits.window, items[index].nextOffset < items[index].wanted.total {
                let offset = items[index].nextOffset
                items[index].nextOffset = offset + min(items[index].wanted.total - offset, UInt64(piece))
                items[index].underWay[offset] = Request(time: now)
                outstanding += 1
                requests.append(request(items[index].wanted, offset))
            }
        }
        return requests
    }

    private func request(_ wanted: Wanted, _ offset: UInt64) -> FetchRequest {
        FetchRequest(
            blob: wanted.blob, offset: offset, length: UInt32(min(UInt64(piece), wanted.total - offset)), rows: wanted.rows)
    }

    /// Records a chunk of `count` bytes. Its total and length must be those that were requested.
    package mutating func receive(_ chunk: Chunk, count: Int) -> Receipt {
        guard let index = items.firstIndex(where: { $0.wanted.blob == chunk.blob }) else { return .unexpected }
        let total = items[index].wanted.total
        guard chunk.total == total, items[index].underWay[chunk.offset] != nil,
            UInt64(count) == min(UInt64(piece), total - chunk.offset)
        else { return .unexpected }
        items[index].underWay[chunk.offset] = nil
        items[index].received += UInt64(count)
        guard items[index].received == total else { return .stored }
        items.remove(at: index)
        return .finished
    }
}
