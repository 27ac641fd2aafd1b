// What the micro-batches of an update have in common. In: the ids of one part of the mixer's input. Out: each id's output and its product
// with the mixer's columns, computed once.
import Base

/// Outputs and products of the ids that this engine has met with one version of the parameters. A suffix or a shape occurs in every lane,
/// so that the later lanes of a thread find most of them here.
///
/// Only for products whose rows do not depend on each other: then the bits are those of a micro-batch alone.
final class EmbeddingStore {
    private let width: Int
    private let wide: Int
    private var table = UniqueTable()
    private var version: UInt64?
    /// Dropout on the outputs, which is the same in all lanes of an update.
    private var factors: [Float] = []
    private var capacity = 0
    /// (capacity, width) and (capacity, wide).
    private(set) var outputs: MutableFloats
    private(set) var products: MutableFloats
    /// Ids of the current micro-batch that are new: they have the last places, in this order.
    private(set) var fresh: [Int32] = []
    /// Where each id of the current micro-batch is.
    private(set) var places: [Int32] = []

    /// The most ids that are kept: at 256 wide they take 16 MB.
    private static let most = 4096

    /// - Parameters:
    ///   - width: floats of an output.
    ///   - wide: floats of a product.
    init(width: Int, wide: Int) {
        (self.width, self.wide) = (width, wide)
        outputs = .allocate(capacity: 0)
        products = .allocate(capacity: 0)
    }

    deinit {
        UnsafeMutableRawPointer(outputs).deallocate()
        UnsafeMutableRawPointer(products).deallocate()
    }

    /// Finds the ids of a micro-batch, and makes places for those that are new.
    /// - Returns: the first new place; nil if there are too many ids, or if one has several vectors.
    func find(_ part: MicroBatchContent.Part, version: UInt64) -> Int? {
        // A vector's rows are a list of any length.
        guard part.count <= Self.most, part.starts.isEmpty || part.rows.count == part.count else { return nil }
        if self.version != version || factors != part.factors || table.count + part.count > Self.most {
            table.clear()
            (self.version, factors) = (version, part.factors)
        }
        let (first, four) = (table.count, part.rows.count > part.count)
        fresh.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        part.rows.withUnsafeBufferPointer { rows in
            for id in 0..<part.count {
                let (place, isNew) =
                    four
                    ? table.number(Self.pair(rows[4 * id], rows[4 * id + 1]), Self.pair(rows[4 * id + 2], rows[4 * id + 3]))
                    : table.number(UInt64(rows[id]))
                places.append(place)
                if isNew { fresh.append(Int32(id)) }
            }
        }
        reserve(table.count, keeping: first)
        return first
    }

    private static func pair(_ high: UInt32, _ low: UInt32) -> UInt64 { UInt64(high) << 32 | UInt64(low) }

    /// Copies the outputs of the current micro-batch's ids.
    func copyOutputs(to target: MutableFloats) {
        for (id, place) in places.enumerated() { (target + id * width).update(from: outputs + Int(place) * width, count: width) }
    }

    private func reserve(_ count: Int, keeping kept: Int) {
        guard count > capacity else { return }
        capacity = min(Self.most, max(count, 2 * capacity))
        outputs = Self.grown(outputs, keeping: kept * width, capacity: capacity * width)
        products = Self.grown(products, keeping: kept * wide, capacity: capacity * wide)
    }

    private static func grown(_ old: MutableFloats, keeping kept: Int, capacity: Int) -> MutableFloats {
        let new = LargeMemory.allocate(byteCount: 4 * capacity).assumingMemoryBound(to: Float.self)
        new.update(from: old, count: kept)
        UnsafeMutableRawPointer(old).deallocate()
        return new
    }
}
