// The sum of gradients of one node. In: gradients, dense or as received. Out: the dense sum, or the payload of the node.
import Base
import Model

/// A gradient without its zero table rows. It borrows memory that must outlive it.
package struct GradientView {
    /// Bit i % 64 of word i / 64: row i of the tables is present; all others are +0.0.
    let bitmap: UnsafePointer<UInt64>
    /// The first row that is present if packed, else row 0.
    let rows: UnsafeRawPointer
    /// Every other float of the layout.
    let rest: UnsafeRawPointer
    /// The rows that are present are contiguous, in this precision; nil: every row has its place, in float32.
    let packing: WirePrecision?

    var bytesPerFloat: Int { packing?.bytesPerFloat ?? 4 }

    /// The `count` floats at `pointer`, a part of this view; in `room` if they must be widened.
    @inline(__always)
    func floats(at pointer: UnsafeRawPointer, count: Int, room: MutableFloats) -> Floats {
        guard packing == .bf16 else { return pointer.assumingMemoryBound(to: Float.self) }
        BFloat16.widen(pointer.assumingMemoryBound(to: UInt16.self), to: room, count: count)
        return Floats(room)
    }
}

/// Adds gradients along the tree, without touching rows that none of them has. The bits are those of the dense sum.
package struct GradientSum {
    package let coding: GradientCoding
    private let program: TreeProgram
    private let views: [GradientView]
    /// Rows that at least one operand has.
    let union: [UInt64]

    /// Gradients that are added.
    package var operandCount: Int { views.count }

    /// - Returns: nil when everything below the node is absent.
    package init?(_ coding: GradientCoding, _ tree: ReductionTree, _ node: TreeNode, operand: (TreeNode) -> TreeOperand<GradientView>) {
        var views: [GradientView] = []
        guard let program = TreeProgram(tree, node, operands: &views, operand) else { return nil }
        (self.coding, self.program, self.views) = (coding, program, views)
        union = (0..<coding.bitmapWords).map { word in views.reduce(0) { $0 | $1.bitmap[word] } }
    }

    /// Where floats `range` of the sum are already, addressed like the whole layout: those of a single gradient, after the tables, need not
    /// be copied. Else nil.
    package func direct(_ range: Range<Int>) -> UnsafePointer<Float>? {
        let tableCount = coding.rows * coding.width
        guard views.count == 1, coding.precision == .float32, range.lowerBound >= tableCount else { return nil }
        return views[0].rest.assumingMemoryBound(to: Float.self) - tableCount
    }

    /// Writes floats `range` of the sum's layout to `out`, which is addressed like the whole layout. Where the range covers tables, it
    /// begins and ends at table rows. Several threads may write ranges at the same time.
    package func write(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        let tableCount = coding.rows * coding.width
        withScratch { scratch in
            let rows = min(range.lowerBound, tableCount) / coding.width..<min(range.upperBound, tableCount) / coding.width
            var next = rows.lowerBound
            func zero(upTo row: Int) { (out + next * coding.width).update(repeating: 0, count: (row - next) * coding.width) }
            forRows(rows, scratch) { row, few in
                zero(upTo: row)
                if !add(few, to: out + row * coding.width) { run(coding.width, scratch, out: out + row * coding.width) }
                next = row + 1
            }
            zero(upTo: rows.upperBound)
            forRest(max(range.lowerBound, tableCount) - tableCount..<max(range.upperBound, tableCount) - tableCount, scratch) {
                run($1, scratch, out: out + tableCount + $0)
            }
        }
    }

    /// Writes the payload of the sum (see `GradientCoding`) to `out`, which has room for `coding.maximumBytes` and is aligned to 8 bytes.
    /// `PayloadEncoding` does the same on several threads.
    /// - Returns: the payload's length in bytes.
    package func encode(into out: UnsafeMutableRawBufferPointer) -> Int {
        let encoding = PayloadEncoding(self, into: out, parts: 1)
        encoding.encode(part: 0)
        return encoding.finish()
    }

    /// Writes those of the given rows that are not all +0.0 to `target`, one after another, and sets their bits.
    /// - Returns: how many rows those are.
    func encodeRows(_ range: Range<Int>, to target: UnsafeMutableRawPointer, bitmap: UnsafeMutablePointer<UInt64>) -> Int {
        let bytesPerRow = coding.width * coding.precision.bytesPerFloat
        var count = 0
        withScratch { scratch in
            forRows(range, scratch) { row, few in
                // A row that is present may still be zero: a gradient has only one payload.
                guard !coding.isZero(encode(row: few, scratch, to: target + count * bytesPerRow)) else { return }
                bitmap[row >> 6] |= 1 << UInt64(row & 63)
                count += 1
            }
        }
        return count
    }

    /// Writes the given range of the floats after the tables to their places in `target`, which holds all of these.
    func encodeRest(_ range: Range<Int>, to target: UnsafeMutableRawPointer) {
        withScratch { scratch in
            forRest(range, scratch) { encode($1, scratch, to: target + $0 * coding.precision.bytesPerFloat) }
        }
    }

    /// Writes the sum into `buffer`, which is the memory of its first operand.
    func write(overFirst buffer: GradientBuffer) {
        withScratch { scratch in
            forRows(0..<coding.rows, scratch) { row, few in
                let out = buffer.floats + row * coding.width
                if !add(few, to: out) { runInPlace(coding.width, scratch, out: out) }
            }
            let rest = buffer.floats + coding.rows * coding.width
            forRest(0..<coding.restCount, scratch) { runInPlace($1, scratch, out: rest + $0) }
        }
        buffer.hold(rows: union)
    }

    /// A row that one or two of several operands have.
    private struct FewOperands {
        var first: Floats?
        var second: Floats?
        var count = 0
    }

    /// Adds a row's operands, if they are one or two: all others have +0.0, so that the tree has no say, but a sum of -0.0 becomes +0.0.
    /// - Returns: whether that was the case. `out` may be an operand's memory.
    @inline(__always)
    private func add(_ few: FewOperands, to out: MutableFloats) -> Bool {
        guard few.count < 3, few.count < views.count, coding.precision == .float32, let first = few.first else { return false }
        if let second = few.second {
            forChunks(coding.width) { start, length in
                store((load(first, start, length) + load(second, start, length)) + Float8.zero, out, start, length)
            }
        } else {
            forChunks(coding.width) { start, length in store(load(first, start, length) + Float8.zero, out, start, length) }
        }
        return true
    }

    /// As `encode`, for a row.
    @inline(__always)
    private func encode(row few: FewOperands, _ scratch: Scratch, to target: UnsafeMutableRawPointer) -> Floats {
        let out = target.assumingMemoryBound(to: Float.self)
        return add(few, to: out) ? Floats(out) : encode(coding.width, scratch, to: target)
    }

    /// As `run`, where `out` is the first operand's memory.
    @inline(__always)
    private func runInPlace(_ length: Int, _ scratch: Scratch, out: MutableFloats) {
        guard !program.readsFirstOperandFirst else { return run(length, scratch, out: out) }
        run(length, scratch, out: scratch.sum)
        out.update(from: scratch.sum, count: length)
    }

    /// Memory for one block of the sum.
    private struct Scratch {
        /// The operands' floats of the current block.
        let pointers: UnsafeMutablePointer<Floats>
        /// Places of the stack machine, then one for each operand that must be widened, then one for a sum; `stride` floats each.
        let floats: MutableFloats
        let stride: Int
        let depth: Int
        let operands: Int

        func room(ofOperand index: Int) -> MutableFloats { floats + (depth + index) * stride }
        var sum: MutableFloats { floats + (depth + operands) * stride }
    }

    @inline(__always)
    private func run(_ length: Int, _ scratch: Scratch, out: MutableFloats) {
        program.run(
            operands: scratch.pointers, length: length, out: out, scratch: scratch.floats, stride: scratch.stride,
            rounds: coding.precision == .bf16)
    }

    /// Writes the sum of the current block in the format in which it travels.
    /// - Returns: the sum.
    @inline(__always) @discardableResult
    private func encode(_ length: Int, _ scratch: Scratch, to target: UnsafeMutableRawPointer) -> Floats {
        guard coding.precision == .bf16 else {
            let out = target.assumingMemoryBound(to: Float.self)
            run(length, scratch, out: out)
            return Floats(out)
        }
        run(length, scratch, out: scratch.sum)
        BFloat16.narrow(Floats(scratch.sum), to: target.assumingMemoryBound(to: UInt16.self), count: length)
        return Floats(scratch.sum)
    }

    /// Calls `body` for each row that some operand has, with the operands' pointers at the row, or at zeros for those that do not have it;
    /// and with the first two that have it.
    @inline(__always)
    private func forRows(_ rows: Range<Int>, _ scratch: Scratch, _ body: (Int, FewOperands) -> Void) {
        guard !rows.isEmpty else { return }
        let width = coding.width
        let zeros = [Float](repeating: 0, count: width)
        zeros.withUnsafeBufferPointer { zeros in
            guard let zero = zeros.baseAddress else { return }
            var cursors = views.map { view in
                view.rows + (view.packing == nil ? 0 : coding.rank(of: rows.lowerBound, in: view.bitmap) * width * view.bytesPerFloat)
            }
            for word in rows.lowerBound >> 6...(rows.upperBound - 1) >> 6 {
                // Most words are zero: few rows are touched.
                var bits = union[word]
                if word == rows.lowerBound >> 6 { bits &= ~0 << UInt64(rows.lowerBound & 63) }
                while bits != 0 {
                    let row = word << 6 + bits.trailingZeroBitCount
                    guard row < rows.upperBound else { return }
                    let bit = bits & ~(bits &- 1)
                    bits ^= bit
                    var few = FewOperands()
                    for index in views.indices {
                        if views[index].bitmap[word] & bit == 0 {
                            scratch.pointers[index] = zero
                            continue
                        }
                        if views[index].packing != nil {
                            scratch.pointers[index] = views[index].floats(
                                at: cursors[index], count: width, room: scratch.room(ofOperand: index))
                            cursors[index] += width * views[index].bytesPerFloat
                        } else {
                            scratch.pointers[index] = cursors[index].assumingMemoryBound(to: Float.self) + row * width
                        }
                        if few.count == 0 { few.first = scratch.pointers[index] }
                        if few.count == 1 { few.second = scratch.pointers[index] }
                        few.count += 1
                    }
                    body(row, few)
                }
            }
        }
    }

    /// Calls `body(start, length)` for the blocks of a range after the tables, with the operands' pointers at the block.
    @inline(__always)
    private func forRest(_ range: Range<Int>, _ scratch: Scratch, _ body: (Int, Int) -> Void) {
        var start = range.lowerBound
        while start < range.upperBound {
            let length = min(scratch.stride, range.upperBound - start)
            for index in views.indices {
                let view = views[index]
                scratch.pointers[index] = view.floats(
                    at: view.rest + start * view.bytesPerFloat, count: length, room: scratch.room(ofOperand: index))
            }
            body(start, length)
            start += length
        }
    }

    private func withScratch(_ body: (Scratch) -> Void) {
        let stride = max(coding.precision == .bf16 ? TreeSum.halfBlock : TreeSum.block, coding.width)
        // Only halves need room: floats are added where they are.
        let rooms = coding.precision == .bf16 ? views.count : 0
        let places = program.depth + rooms + 1
        withUnsafeTemporaryAllocation(of: Floats.self, capacity: views.count) { pointers in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: stride * places) { floats in
                guard let pointers = pointers.baseAddress, let floats = floats.baseAddress else { return }
                body(Scratch(pointers: pointers, floats: floats, stride: stride, depth: program.depth, operands: rooms))
            }
        }
    }
}
