// Lanes' gradients of one matrix of weights. In: each lane's product. Out: their sum, in the tree's order.
import Base
import CKernels

/// Rows of several lanes, one lane after another.
struct LaneRows {
    /// Where each lane's rows begin, and the end.
    let starts: [Int]
    /// How often the two last sums are added after each lane's own.
    let merges: [Int32]

    subscript(lane: Int) -> Range<Int> { starts[lane]..<starts[lane + 1] }

    /// Places that sums need besides the first.
    static func places(_ merges: [Int32]) -> Int {
        var (place, most) = (-1, 0)
        for count in merges {
            place += 1
            most = max(most, place)
            place -= Int(count)
        }
        return most
    }

    /// Calls `body` with the lanes as kernels need them, unless there is only one or one has no row.
    /// - Returns: what `body` returns, or false.
    func withKernelLanes(_ body: (UnsafePointer<t2v_lanes>) -> Bool) -> Bool {
        guard merges.count > 1, merges.indices.allSatisfy({ !self[$0].isEmpty }) else { return false }
        return starts.withUnsafeBufferPointer { starts in
            merges.withUnsafeBufferPointer { merges in
                var lanes = t2v_lanes(count: merges.count, starts: starts.baseAddress, merges: merges.baseAddress)
                return body(&lanes)
            }
        }
    }
}

/// Adds matrices as lanes follow each other, with a few of them in memory. Owned by one thread; the memory is kept.
final class LaneMatrixSum {
    private var memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    private var capacity = 64

    deinit { memory.deallocate() }

    /// Writes the sum to `target` (rows, columns).
    /// - Parameters:
    ///   - stride: floats from row to row.
    ///   - merges: see `LaneRows`.
    ///   - product: writes lane `lane`'s matrix, with the same stride, to `target`.
    func add(
        rows: Int, columns: Int, stride: Int, merges: [Int32], into target: MutableFloats,
        product: (_ lane: Int, _ target: MutableFloats) -> Void
    ) {
        reserve(4 * rows * stride * LaneRows.places(merges))
        let room = memory.assumingMemoryBound(to: Float.self)
        func sum(_ place: Int) -> MutableFloats { place == 0 ? target : room + (place - 1) * rows * stride }
        var place = -1
        for lane in merges.indices {
            place += 1
            product(lane, sum(place))
            for _ in 0..<merges[lane] {
                place -= 1
                for row in 0..<rows { Numerics.add(Floats(sum(place + 1)) + row * stride, to: sum(place) + row * stride, count: columns) }
            }
        }
    }

    private func reserve(_ byteCount: Int) {
        guard byteCount > capacity else { return }
        memory.deallocate()
        memory = LargeMemory.allocate(byteCount: byteCount)
        capacity = byteCount
    }
}
