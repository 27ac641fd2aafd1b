// The payload of a message. In: a frame that the shell holds. Out: its name, size and hash; the state machines do not read its bytes.
import Base

/// A payload frame as the state machines see it.
package struct Payload: Sendable, Equatable {
    package var buffer: BufferID
    /// Its bytes.
    package var count: Int
    package var hash: UInt64
    /// Why the bytes cannot be what the header says, although they arrived undamaged; nil if nothing is wrong.
    package var fault: String?

    package init(buffer: BufferID, count: Int, hash: UInt64, fault: String? = nil) {
        self.buffer = buffer
        self.count = count
        self.hash = hash
        self.fault = fault
    }
}
