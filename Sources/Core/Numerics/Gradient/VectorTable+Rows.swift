// A mapped vectors table as the rows that the gradient reads. In: a `VectorTable`. Out: pointers into it.
import Shards

extension VectorTable: VectorRows {
    package func pointer(row: Int) -> UnsafePointer<Float> { self.row(row) }
}
