// The sum of gradients of one node. In: gradients, dense or as they came over the wire. Out: the dense sum, or the payload of the node.

/// A gradient without its zero table rows. It borrows memory that must outlive it.
public struct GradientView {
    /// Bit i % 64 of word i / 64: row i of the tables is there; all others are +0.0.
    let bitmap: UnsafePointer<UInt64>
    /// The first row that is there if `isPacked`, else row 0.
    let rows: UnsafePointer<Float>
    /// Rows that are there follow each other; else every row has its place.
    let isPacked: Bool
    /// Every other float of the layout.
    let rest: UnsafePointer<Float>
}

/// Adds gradients along the tree, without touching rows that none of them has. The bits are those of the dense sum.
public struct GradientSum {
    private let coding: GradientCoding
    private let program: TreeProgram
    private let views: [GradientView]
    /// Rows that at least one operand has.
    private let union: [UInt64]

    /// - Returns: nil when everything below the node is absent.
    public init?(_ coding: GradientCoding, _ tree: ReductionTree, _ node: TreeNode, operand: (TreeNode) -> TreeOperand<GradientView>) {
        var views: [GradientView] = []
        guard let program = TreeProgram(tree, node, operands: &views, operand) else { return nil }
        (self.coding, self.program, self.views) = (coding, program, views)
        union = (0..<coding.bitmapWords).map { word in views.reduce(0) { $0 | $1.bitmap[word] } }
    }

    /// Writes floats `range` of the sum's layout to `out`, which stands for the whole layout. The range begins and ends at table rows
    /// where it
    /// covers tables. Several threads may write ranges at the same time.
    public func write(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>) {
        let tableCount = coding.rows * coding.width
        withScratch { pointers, scratch in
            let rows = min(range.lowerBound, tableCount) / coding.width..<min(range.upperBound, tableCount) / coding.width
            forRows(rows, pointers) { row, isThere in
                let target = out + row * coding.width
                if isThere {
                    program.run(operands: pointers, length: coding.width, out: target, scratch: scratch, stride: TreeSum.block)
                } else {
                    target.update(repeating: 0, count: coding.width)
                }
            }
            addRest(max(range.lowerBound, tableCount) - tableCount..<max(range.upperBound, tableCount) - tableCount, pointers, scratch) {
                out + tableCount + $0
            }
        }
    }

    /// Writes the payload of the sum (see `GradientCoding`) to `out`, which has room for `coding.maximumBytes` and is aligned to 8 bytes.
    /// - Returns: the payload's length in bytes.
    public func encode(into out: UnsafeMutableRawBufferPointer) -> Int {
        precondition(out.count >= coding.maximumBytes)
        guard let base = out.baseAddress else { return 0 }
        let bitmap = base.assumingMemoryBound(to: UInt64.self)
        bitmap.update(repeating: 0, count: coding.bitmapWords)
        var target = (base + coding.bitmapBytes).assumingMemoryBound(to: Float.self)
        withScratch { pointers, scratch in
            forRows(0..<coding.rows, pointers) { row, isThere in
                guard isThere else { return }
                program.run(operands: pointers, length: coding.width, out: target, scratch: scratch, stride: TreeSum.block)
                // A row that is there may still be zero: a payload has one spelling.
                guard !coding.isZero(target) else { return }
                bitmap[row >> 6] |= 1 << UInt64(row & 63)
                target += coding.width
            }
            addRest(0..<coding.restCount, pointers, scratch) { target + $0 }
        }
        return UnsafeRawPointer(target + coding.restCount) - UnsafeRawPointer(base)
    }

    /// Calls `body` for each row, with the operands' pointers at the row: at zeros for those that have it not.
    @inline(__always)
    private func forRows(_ rows: Range<Int>, _ pointers: UnsafeMutablePointer<Floats>, _ body: (Int, Bool) -> Void) {
        let width = coding.width
        let zeros = [Float](repeating: 0, count: width)
        zeros.withUnsafeBufferPointer { zeros in
            guard let zero = zeros.baseAddress else { return }
            var cursors = views.map { $0.isPacked ? $0.rows + coding.rank(of: rows.lowerBound, in: $0.bitmap) * width : $0.rows }
            for row in rows {
                let (word, bit) = (row >> 6, UInt64(1) << UInt64(row & 63))
                guard union[word] & bit != 0 else {
                    body(row, false)
                    continue
                }
                for index in views.indices {
                    if views[index].bitmap[word] & bit == 0 {
                        pointers[index] = zero
                    } else if views[index].isPacked {
                        pointers[index] = cursors[index]
                        cursors[index] += width
                    } else {
                        pointers[index] = cursors[index] + row * width
                    }
                }
                body(row, true)
            }
        }
    }

    @inline(__always)
    private func addRest(
        _ range: Range<Int>, _ pointers: UnsafeMutablePointer<Floats>, _ scratch: MutableFloats, _ target: (Int) -> MutableFloats
    ) {
        var start = range.lowerBound
        while start < range.upperBound {
            let length = min(TreeSum.block, range.upperBound - start)
            for index in views.indices { pointers[index] = views[index].rest + start }
            program.run(operands: pointers, length: length, out: target(start), scratch: scratch, stride: TreeSum.block)
            start += length
        }
    }

    private func withScratch(_ body: (UnsafeMutablePointer<Floats>, MutableFloats) -> Void) {
        withUnsafeTemporaryAllocation(of: Floats.self, capacity: views.count) { pointers in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, max(TreeSum.block, coding.width) * program.depth)) { scratch in
                guard let pointers = pointers.baseAddress, let scratch = scratch.baseAddress else { return }
                body(pointers, scratch)
            }
        }
    }
}
