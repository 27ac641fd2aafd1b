// Which documents belong to which update. In: words per lane, batch size, seed. Out: for every epoch and update, a lane's documents in
// order.
import Base

extension FixedWidthInteger where Self: BinaryInteger {
    /// self * factor / divisor, rounded down, without overflow on the way; for values that are not negative, and if the quotient fits.
    func scaled(by factor: Self, over divisor: Self) -> Self {
        let product = UInt64(self).multipliedFullWidth(by: UInt64(factor))
        return Self(UInt64(divisor).dividingFullWidth(product).quotient)
    }
}

/// The division of an epoch into updates.
public struct UpdatePlan: Codable, Sendable, Equatable {
    /// Kept words T_l of each lane.
    public var laneWords: [UInt64]
    /// Updates of one epoch: ceil(kept words / batch size).
    public var updatesPerEpoch: UInt64
    /// Whether each epoch has an order of its own; otherwise every epoch has that of the files.
    public var shuffles: Bool

    /// - Parameter batchSize: words of an update, on average.
    public init(laneWords: [UInt64], batchSize: Int, shuffles: Bool = true) {
        self.laneWords = laneWords
        self.shuffles = shuffles
        let words = laneWords.reduce(0, +)
        updatesPerEpoch = (words + UInt64(batchSize) - 1) / UInt64(batchSize)
    }

    /// Kept words of the corpus.
    public var words: UInt64 { laneWords.reduce(0, +) }

    /// The epoch's update that takes a lane's document whose last word is the lane's word number `end` (counted from 1 in shuffled order):
    /// the u with u*T/U < end <= (u+1)*T/U.
    public func update(ofDocumentEndingAt end: UInt64, lane: LaneID) -> UInt64 {
        let product = end.multipliedFullWidth(by: updatesPerEpoch)
        let (low, borrow) = product.low.subtractingReportingOverflow(1)
        return laneWords[lane.rawValue].dividingFullWidth((borrow ? product.high - 1 : product.high, low)).quotient
    }
}

/// A document's place: a shard of the lane's list and a document of that shard.
public struct DocumentPlace: Equatable, Sendable {
    /// Its place in the lane's list.
    public var shard: UInt32
    /// Counted from the shard's first kept document.
    public var document: UInt32
}

/// The shuffled order of one lane in one epoch, produced window by window.
public struct LaneOrder: Sendable {
    /// Shards of one lane that are shuffled together: 64 of at most 16 MiB of text over all lanes, about 600 MB prepared, so that what one
    /// host reads at a time stays in memory; but at least 4. A lane with fewer is shuffled as a whole.
    public static func windowShards(lanes: Int) -> Int { max(4, 64 / lanes) }
    let seed: UInt64
    let epoch: UInt64
    let lane: LaneID
    /// The lane's shards in this epoch's order.
    private let shardOrder: [UInt32]
    private let windowShards: Int
    private let shuffles: Bool
    private var nextShard = 0
    private var window: [DocumentPlace] = []
    private var cursor = 0

    /// - Parameter windowShards: see `windowShards(lanes:)`.
    public init(seed: UInt64, epoch: UInt64, lane: LaneID, shards: Int, windowShards: Int, shuffles: Bool = true) {
        (self.seed, self.epoch, self.lane, self.windowShards, self.shuffles) = (seed, epoch, lane, windowShards, shuffles)
        var order = (0..<UInt32(shards)).map { $0 }
        if shuffles { shuffle(&order, Philox(seed: seed, purpose: .shuffleShards, layer: lane.rawValue, update: epoch), item: 0) }
        shardOrder = order
    }

    /// The next document, or nil at the end of the epoch. `documents` gives a shard's number of documents.
    public mutating func next(documents: (Int) -> Int) -> DocumentPlace? {
        while cursor == window.count {
            guard nextShard < shardOrder.count else { return nil }
            let end = min(shardOrder.count, nextShard + windowShards)
            window.removeAll(keepingCapacity: true)
            for shard in shardOrder[nextShard..<end] {
                for document in 0..<documents(Int(shard)) { window.append(DocumentPlace(shard: shard, document: UInt32(document))) }
            }
            let generator = Philox(seed: seed, purpose: .shuffleDocuments, layer: lane.rawValue, update: epoch)
            if shuffles { shuffle(&window, generator, item: UInt64(nextShard) << 32) }
            nextShard = end
            cursor = 0
        }
        cursor += 1
        return window[cursor - 1]
    }
}

/// Fisher-Yates with numbers that are keyed by place, not drawn from a stream.
func shuffle<T>(_ values: inout [T], _ generator: Philox, item: UInt64) {
    guard values.count > 1 else { return }
    for i in stride(from: values.count - 1, to: 0, by: -1) {
        values.swapAt(i, Int(generator.integer(below: UInt64(i + 1), item &+ UInt64(i))))
    }
}
