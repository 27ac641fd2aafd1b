// Memory of one compute thread. In: sizes of a micro-batch. Out: buffers that live until the next one.
import Base

/// One block of memory that a step carves into buffers; it grows with the largest micro-batch and is not freed in between.
final class Arena {
    private var block = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    private(set) var capacity = 64

    deinit { block.deallocate() }

    /// Runs `carve`, first to count bytes if the block may be too small, then to hand out memory.
    func layout(_ carve: (inout Carver) -> Void) {
        var counter = Carver(base: block, isCounting: true)
        carve(&counter)
        if counter.used > capacity {
            block.deallocate()
            capacity = counter.used + counter.used / 4
            block = LargeMemory.allocate(byteCount: capacity)
        }
        var carver = Carver(base: block, isCounting: false)
        carve(&carver)
    }

    /// Hands out consecutive, 64-byte aligned pieces, or only counts.
    struct Carver {
        let base: UnsafeMutableRawPointer
        let isCounting: Bool
        fileprivate(set) var used = 0

        fileprivate init(base: UnsafeMutableRawPointer, isCounting: Bool) {
            self.base = base
            self.isCounting = isCounting
        }

        mutating func take<T>(_ count: Int, _: T.Type) -> UnsafeMutablePointer<T> {
            let start = isCounting ? 0 : used
            used = (used + count * MemoryLayout<T>.stride + 63) & ~63
            return (base + start).assumingMemoryBound(to: T.self)
        }

        mutating func floats(_ count: Int) -> MutableFloats { take(count, Float.self) }
        mutating func bits(_ count: Int) -> UnsafeMutablePointer<UInt32> { take(count, UInt32.self) }
    }
}
