// One lane's documents for any update. In: the lane's mapped shards, the plan. Out: the documents of (epoch, update), in order.
import Base
import Shards

/// Reads a lane. The next update is found quickly; any other jump goes through the epoch's order from its start.
public final class LaneReader {
    /// A shard, the corpus line of its first record, and the documents of it that are held out.
    public struct Source {
        /// The documents.
        public var shard: PreparedShard
        /// Number of the shard's first line in the corpus, from 0.
        public var firstLine: UInt64
        let heldOut: Set<UInt32>

        /// - Parameter heldOut: indices of the shard's documents.
        public init(shard: PreparedShard, firstLine: UInt64, heldOut: [UInt32] = []) {
            self.shard = shard
            self.firstLine = firstLine
            self.heldOut = Set(heldOut)
        }

        func view(_ document: Int) -> DocumentView {
            DocumentView(key: firstLine + UInt64(shard.lines[document]), shard: shard, index: document)
        }

        fileprivate func words(_ document: Int) -> UInt64 { UInt64(shard.starts[document + 1] - shard.starts[document]) }
    }

    /// The lane's number.
    public let lane: LaneID
    private let sources: [Source]
    private let seed: UInt64
    private let plan: UpdatePlan
    private var epoch: UInt64?
    private var order: LaneOrder
    /// The update that comes next in this epoch, and its first document, if known.
    private var position: UInt64 = 0
    private var ahead: DocumentPlace?
    private var wordsBefore: UInt64 = 0

    /// - Parameter sources: the lane's shards, in the order of the corpus.
    public init(lane: LaneID, sources: [Source], seed: UInt64, plan: UpdatePlan) {
        self.lane = lane
        self.sources = sources
        self.seed = seed
        self.plan = plan
        order = Self.order(seed, 0, lane, sources.count, plan)
    }

    private static func order(_ seed: UInt64, _ epoch: UInt64, _ lane: LaneID, _ shards: Int, _ plan: UpdatePlan) -> LaneOrder {
        LaneOrder(
            seed: seed, epoch: epoch, lane: lane, shards: shards, windowShards: LaneOrder.windowShards(lanes: plan.laneWords.count),
            shuffles: plan.shuffles)
    }

    /// Words of the lane that are trained on.
    public var words: UInt64 {
        sources.reduce(0) { sum, source in
            sum + UInt64(source.shard.tokens.count) - source.heldOut.reduce(0) { $0 + source.words(Int($1)) }
        }
    }

    /// The documents of the lane that are held out, in the corpus's order.
    package var heldOut: [DocumentView] { sources.flatMap { source in source.heldOut.sorted().map { source.view(Int($0)) } } }

    /// The documents that end in the update's part of the lane; there may be none.
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
            if source.heldOut.contains(place.document) { continue }
            let length = source.words(document)
            guard plan.update(ofDocumentEndingAt: wordsBefore + length, lane: lane) == position else {
                ahead = place
                break
            }
            ahead = nil
            wordsBefore += length
            body?(source.view(document))
        }
        position += 1
    }
}
