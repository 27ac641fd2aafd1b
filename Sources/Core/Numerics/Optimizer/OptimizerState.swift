// What the optimizer carries from update to update. In: initial parameters or a checkpoint. Out: parameters, moments, averages.
import Base

/// Parameters, Adam's moments and the averages as flat buffers in the order of `ParameterLayout`. Fresh buffers are zero.
///
/// Owned by one thread at a time (the coordinator's); a checkpoint takes a copy.
package final class OptimizerState: @unchecked Sendable {
    /// Floats in each buffer.
    package let count: Int
    /// Updates applied so far: thinc's `nr_update`, which is the same for every layer.
    package var step: UInt64 = 0
    /// Version `step` of the weights: in this object's memory, or where `adopt` put it.
    package private(set) var parameters: UnsafeMutablePointer<Float>
    private let ownParameters: UnsafeMutablePointer<Float>
    /// Running means of the gradient.
    package let moment1: UnsafeMutablePointer<Float>
    /// Running means of its square.
    package let moment2: UnsafeMutablePointer<Float>
    /// What `modelN.bin` holds.
    package let averages: UnsafeMutablePointer<Float>

    /// Zeroed buffers of `count` floats, each on a 64-byte boundary.
    package init(count: Int) {
        self.count = count
        func buffer() -> UnsafeMutablePointer<Float> {
            let bytes = max(count, 1) * MemoryLayout<Float>.stride
            let memory = LargeMemory.allocate(byteCount: bytes).bindMemory(to: Float.self, capacity: max(count, 1))
            memory.initialize(repeating: 0, count: count)
            return memory
        }
        ownParameters = buffer()
        parameters = ownParameters
        moment1 = buffer()
        moment2 = buffer()
        averages = buffer()
    }

    /// From now on the parameters are those at `parameters`, in memory that lives as long as it is used here.
    package func adopt(parameters: UnsafeMutablePointer<Float>) { self.parameters = parameters }

    deinit {
        for buffer in [ownParameters, moment1, moment2, averages] { UnsafeMutableRawPointer(buffer).deallocate() }
    }
}
