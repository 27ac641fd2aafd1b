// Keys for tests. In: a byte. Out: a cache key.
import Base

extension CacheKey {
    /// A key that repeats one byte.
    public init(repeating byte: UInt8) {
        guard let key = CacheKey([UInt8](repeating: byte, count: CacheKey.byteCount)) else { preconditionFailure("32 bytes are a key") }
        self = key
    }
}
