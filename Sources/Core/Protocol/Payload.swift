// What a message brought besides its header. In: a frame that the shell holds. Out: its name and figures; machines read no bytes.
import Base

/// A payload frame as the machines know it.
package struct Payload: Sendable, Equatable {
    package var buffer: BufferID
    /// Its bytes.
    package var count: Int
    package var hash: UInt64
    /// Why the bytes cannot be what the header calls them, although they came undamaged; nil while nothing is wrong.
    package var fault: String?

    package init(buffer: BufferID, count: Int, hash: UInt64, fault: String? = nil) {
        self.buffer = buffer
        self.count = count
        self.hash = hash
        self.fault = fault
    }
}
