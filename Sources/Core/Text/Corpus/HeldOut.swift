// Which documents are scored and never trained on. In: prepared shards. Out: places of the documents whose content has the smallest hashes.
import Base
import Shards

/// The places of held-out documents: by shard, the indices of documents, ascending. Shards without any are left out.
package struct HeldOutDocuments: Codable, Equatable, Sendable {
    /// Of one shard.
    package struct Part: Codable, Equatable, Sendable {
        package var shard: ShardID
        package var documents: [UInt32]

        package init(shard: ShardID, documents: [UInt32]) { (self.shard, self.documents) = (shard, documents) }
    }

    package var parts: [Part]

    package init(parts: [Part] = []) { self.parts = parts }

    package var count: Int { parts.reduce(0) { $0 + $1.documents.count } }

    /// The documents of a shard; parts are in the order of the shards.
    package func documents(ofShard shard: ShardID) -> [UInt32] {
        var (low, high) = (0, parts.count)
        while low < high {
            let middle = (low + high) / 2
            if parts[middle].shard < shard { low = middle + 1 } else { high = middle }
        }
        return low < parts.count && parts[low].shard == shard ? parts[low].documents : []
    }

    /// Whether the shards exist and are in order, each once, and the documents of each ascend.
    package func isSound(shards: Int) -> Bool {
        guard count <= HeldOutChooser.mostDocuments * 2, zip(parts, parts.dropFirst()).allSatisfy({ $0.shard < $1.shard }) else {
            return false
        }
        return parts.allSatisfy { part in
            (0..<shards).contains(part.shard.rawValue) && zip(part.documents, part.documents.dropFirst()).allSatisfy { $0 < $1 }
        }
    }
}

/// Chooses the documents to hold out: those with the smallest hashes of their content, so that the choice depends on neither shards, lanes
/// nor workers.
/// Documents of equal content stay together: none is trained on while its copy is scored. Memory is bounded whatever the corpus.
package struct HeldOutChooser {
    /// The most documents that are held out.
    package static let mostDocuments = 2_000
    /// Different contents that are remembered: more than needed, since one with too many copies is skipped.
    private static let mostContents = 2 * mostDocuments

    private struct Place {
        var shard: ShardID
        var document: UInt32
    }

    private struct Copies {
        var count = 0
        /// The first ones.
        var places: [Place] = []
    }

    private let fraction: Double
    /// Documents added so far.
    package private(set) var documents = 0
    private var copies: [UInt64: Copies] = [:]
    /// Contents with greater hashes no longer matter.
    private var largest = UInt64.max

    /// - Parameter fraction: of the documents, 0 to 1.
    package init(fraction: Double) { self.fraction = fraction }

    /// Adds the shard with number `shard`. Shards come in the corpus's order.
    package mutating func add(_ prepared: PreparedShard, shard: ShardID) {
        documents += prepared.documentCount
        for document in 0..<prepared.documentCount {
            let hash = Self.hash(prepared, document)
            guard hash <= largest else { continue }
            copies[hash, default: Copies()].count += 1
            if let known = copies[hash], known.places.count < Self.mostDocuments {
                copies[hash]?.places.append(Place(shard: shard, document: UInt32(document)))
            }
            if copies.count >= 2 * Self.mostContents { forgetLargest() }
        }
    }

    /// What is forgotten is greater than all that stays, so the counts of what stays are right.
    private mutating func forgetLargest() {
        let kept = copies.sorted { $0.key < $1.key }.prefix(Self.mostContents)
        largest = kept.last?.key ?? largest
        copies = Dictionary(uniqueKeysWithValues: kept.map { ($0.key, $0.value) })
    }

    /// Hash of what a document says: its words (the ids of their texts) and the spaces between them.
    static func hash(_ shard: PreparedShard, _ document: Int) -> UInt64 {
        var hash = Philox.mix(0x6865_6C64_206F_7574)
        for place in Int(shard.starts[document])..<Int(shard.starts[document + 1]) {
            let space: UInt64 = shard.tokens[place] & PreparedShard.spaceBit == 0 ? 0 : 1
            // ORTH is the first column of every schema.
            hash = Philox.mix(hash &+ 0x9E37_79B9_7F4A_7C15 ^ shard.words.ids[shard.word(ofToken: place)])
            hash = Philox.mix(hash &+ space)
        }
        return hash
    }

    /// The documents to hold out: the fraction rounded, at least 1, at most `mostDocuments`. Contents are taken from the smallest hash on;
    /// one with more copies than there is room for is skipped. If none fits, the one with the fewest copies is taken.
    /// - Returns: nil if nothing would be left to train on.
    package func choose() -> HeldOutDocuments? {
        guard documents > 1 else { return nil }
        let wanted = min(Self.mostDocuments, max(1, Int((fraction * Double(documents)).rounded())))
        var chosen: [Place] = []
        let sorted = copies.sorted { $0.key < $1.key }
        for (_, group) in sorted where chosen.count + group.count <= min(wanted, documents - 1) { chosen += group.places }
        if chosen.isEmpty {
            let rarest = sorted.min { ($0.value.count, $0.key) < ($1.value.count, $1.key) }
            guard let group = rarest?.value, group.count < documents, group.count <= Self.mostDocuments else { return nil }
            chosen = group.places
        }
        let byShard = Dictionary(grouping: chosen, by: \.shard)
        return HeldOutDocuments(
            parts: byShard.sorted { $0.key < $1.key }.map { shard, places in
                .init(shard: shard, documents: places.map(\.document).sorted())
            })
    }
}
