// One lane's documents for any update. In: the lane's mapped shards, the plan. Out: the documents of (epoch, update), in order.

/// Reads a lane. Going on to the next update is quick; any other jump reads the epoch's order from its start.
public final class LaneReader {
    /// A shard and the corpus line of its first record.
    public struct Source {
        /// The documents.
        public var shard: PreparedShard
        /// Number of the shard's first line in the corpus, from 0.
        public var firstLine: UInt64

        /// - Parameter firstLine: counted from 0 over all files.
        public init(shard: PreparedShard, firstLine: UInt64) {
            self.shard = shard
            self.firstLine = firstLine
        }
    }

    /// The lane's number.
    public let lane: Int
    private let sources: [Source]
    private let seed: UInt64
    private let plan: UpdatePlan
    private var epoch: UInt64?
    private var order: LaneOrder
    /// The update that comes next in this epoch, and the first document of it when that is known.
    private var position: UInt64 = 0
    private var ahead: DocumentPlace?
    private var wordsBefore: UInt64 = 0

    /// - Parameter sources: the lane's shards, in the order of the corpus.
    public init(lane: Int, sources: [Source], seed: UInt64, plan: UpdatePlan) {
        self.lane = lane
        self.sources = sources
        self.seed = seed
        self.plan = plan
        order = Self.order(seed, 0, lane, sources.count, plan)
    }

    private static func order(_ seed: UInt64, _ epoch: UInt64, _ lane: Int, _ shards: Int, _ plan: UpdatePlan) -> LaneOrder {
        LaneOrder(
            seed: seed, epoch: epoch, lane: lane, shards: shards, windowShards: LaneOrder.windowShards(lanes: plan.laneWords.count),
            shuffles: plan.shuffles)
    }

    /// Kept words of the lane.
    public var words: UInt64 { sources.reduce(0) { $0 + UInt64($1.shard.tokens.count) } }

    /// The documents that end in the update's part of the lane; none is legal.
    public func documents(epoch: UInt64, update: UInt64) -> [DocumentView] {
        if self.epoch != epoch || update < position { restart(epoch) }
        while position < update { take(nil) }
        var views: [DocumentView] = []
        take { views.append($0) }
        return views
    }

    private func restart(_ epoch: UInt64) {
        self.epoch = epoch
        order = Self.order(seed, epoch, lane, sources.count, plan)
        (position, ahead, wordsBefore) = (0, nil, 0)
    }

    /// Takes the documents of the update at `position`.
    private func take(_ body: ((DocumentView) -> Void)?) {
        while let place = ahead ?? order.next(documents: { sources[$0].shard.documentCount }) {
            let source = sources[Int(place.shard)]
            let document = Int(place.document)
            let length = UInt64(source.shard.starts[document + 1] - source.shard.starts[document])
            guard plan.update(ofDocumentEndingAt: wordsBefore + length, lane: lane) == position else {
                ahead = place
                break
            }
            ahead = nil
            wordsBefore += length
            body?(DocumentView(key: source.firstLine + UInt64(source.shard.lines[document]), shard: source.shard, index: document))
        }
        position += 1
    }
}
