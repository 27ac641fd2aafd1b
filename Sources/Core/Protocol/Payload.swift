// What a message brought besides its header. In: a frame that the shell holds. Out: its name and figures; machines read no bytes.
import Base

/// A payload frame as the machines know it.
public struct Payload: Sendable, Equatable {
    public var buffer: BufferID
    /// Its bytes.
    public var count: Int
    public var hash: UInt64
    /// Why the bytes cannot be what the header calls them, although they came undamaged; nil while nothing is wrong.
    public var fault: String?

    public init(buffer: BufferID, count: Int, hash: UInt64, fault: String? = nil) {
        self.buffer = buffer
        self.count = count
        self.hash = hash
        self.fault = fault
    }
}
