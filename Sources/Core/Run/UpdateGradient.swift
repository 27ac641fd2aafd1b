// The gradient of an update, part by part. In: contributions. Out: their sum, for the norms and again for the step.
import Base
import Numerics

/// A single contribution is used where it is. Only parts with table rows are unpacked, each once for the norms and again for the step, and
/// so no gradient is written and read back. Several contributions are added once: adding them twice takes as long as it saves.
///
/// Several threads may use it at the same time, for different parts.
struct UpdateGradient {
    /// Nil: no contribution has a gradient.
    private let sum: GradientSum?
    private let memory: GradientMemory
    private let isKept: Bool

    init(_ sum: GradientSum?, memory: GradientMemory) {
        (self.sum, self.memory) = (sum, memory)
        isKept = sum.map { $0.operandCount > 1 } ?? false
    }

    /// The first use of a part that begins and ends at table rows where it covers tables.
    /// - Parameter body: gets the gradient, addressed like the whole layout; only `range` is there.
    func first<Value>(_ range: Range<Int>, _ body: (UnsafePointer<Float>) -> Value) -> Value {
        guard let sum, isKept else { return again(range, body) }
        sum.write(range, to: memory.whole)
        return body(memory.whole)
    }

    /// The same for any part of what was used before.
    func again<Value>(_ range: Range<Int>, _ body: (UnsafePointer<Float>) -> Value) -> Value {
        if isKept { return body(memory.whole) }
        if let direct = sum?.direct(range) { return body(direct) }
        let rows = sum?.coding.wholeRows(range) ?? range
        return memory.withRoom(rows) { room in
            if let sum { sum.write(rows, to: room) } else { (room + rows.lowerBound).update(repeating: 0, count: rows.count) }
            return body(room)
        }
    }
}

/// Memory for a whole gradient, and for parts: as many as threads use at a time. Kept for all updates of a run.
final class GradientMemory: @unchecked Sendable {
    let whole: UnsafeMutablePointer<Float>
    private let partCount: Int
    private let lock = ThreadLock()
    private var free: [UnsafeMutablePointer<Float>] = []

    /// - Parameter partCount: the most floats of a part.
    init(count: Int, partCount: Int) {
        whole = LargeMemory.allocate(byteCount: count * 4).bindMemory(to: Float.self, capacity: count)
        self.partCount = partCount
    }

    deinit {
        whole.deallocate()
        for room in free { room.deallocate() }
    }

    /// Room for part of a gradient, addressed like the whole.
    func withRoom<Value>(_ range: Range<Int>, _ body: (UnsafeMutablePointer<Float>) -> Value) -> Value {
        precondition(range.count <= partCount)
        let room = lock.withLock { free.popLast() } ?? .allocate(capacity: partCount)
        defer { lock.withLock { free.append(room) } }
        return body(room - range.lowerBound)
    }
}
