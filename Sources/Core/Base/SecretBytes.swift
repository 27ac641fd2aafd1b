// Secrets in memory. In: bytes. Out: the same bytes, in memory that is not swapped out or dumped, and is wiped when it is freed.
import CSodium

/// Bytes that must not outlive their use. They are in libsodium's guarded memory: locked, excluded from core dumps, zeroed when freed.
package final class SecretBytes: @unchecked Sendable {
    // Written once, before anyone else can see it.
    private let memory: UnsafeMutableRawBufferPointer

    /// Moves the bytes here and zeroes the array. nil when there is no memory.
    package init?(taking bytes: inout [UInt8]) {
        guard sodium_init() >= 0, let start = sodium_malloc(bytes.count) else { return nil }
        memory = UnsafeMutableRawBufferPointer(start: start, count: bytes.count)
        memory.copyBytes(from: bytes)
        SecretBytes.wipe(&bytes)
    }

    deinit { sodium_free(memory.baseAddress) }

    /// The bytes, for the duration of the call.
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { body(UnsafeRawBufferPointer(memory)) }

    /// Zeroes an array in a way that the compiler does not optimize away.
    package static func wipe(_ bytes: inout [UInt8]) {
        bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { sodium_memzero(start, $0.count) } }
    }
}
