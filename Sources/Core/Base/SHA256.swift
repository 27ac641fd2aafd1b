// SHA-256, piece by piece. In: bytes. Out: 32 bytes for which nobody can find other input.
import CSodium

/// A SHA-256 in progress (FIPS 180-4), computed by libsodium. A copy continues independently.
package struct SHA256: Sendable {
    private var state = crypto_hash_sha256_state()

    package init() { crypto_hash_sha256_init(&state) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        crypto_hash_sha256_update(&state, start.assumingMemoryBound(to: UInt8.self), UInt64(bytes.count))
    }

    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    package mutating func update(_ text: String) { update(Array(text.utf8)) }

    /// The digest of everything so far: 32 bytes.
    package func finalize() -> [UInt8] {
        var copy = state
        return [UInt8](unsafeUninitializedCapacity: 32) { buffer, filled in
            if let start = buffer.baseAddress { crypto_hash_sha256_final(&copy, start) }
            filled = 32
        }
    }

    /// The digest of `bytes`.
    package static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var hash = SHA256()
        hash.update(bytes)
        return hash.finalize()
    }
}

extension Sequence<UInt8> {
    /// Lower-case hexadecimal digits.
    package var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
