// CURVE keys. In: random numbers of libsodium, or key files. Out: keys in Z85 text, and files that only their owner can read.
import Base
import CZMQ
import Glibc

/// A CURVE public key: a peer's identity. 40 characters of Z85 (ZeroMQ RFC 32) for 32 bytes.
package struct PublicKey: Sendable, Hashable, CustomStringConvertible {
    /// The key in text form, for people and files.
    package let z85: String
    /// The key.
    package var description: String { z85 }

    /// nil unless `z85` is 40 characters of Z85 that stand for 32 bytes.
    package init?(z85: some StringProtocol) {
        guard isZ85Key(z85) else { return nil }
        self.z85 = String(z85)
    }

    /// From ZAP's binary form. nil unless there are 32 bytes.
    package init?(bytes: UnsafeRawBufferPointer) {
        var text = [CChar](repeating: 0, count: 41)
        guard bytes.count == 32, let start = bytes.baseAddress, zmq_z85_encode(&text, start.assumingMemoryBound(to: UInt8.self), 32) != nil
        else { return nil }
        z85 = String(decoding: text.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A CURVE secret key. It does not print itself, and its memory is wiped with its last copy.
package struct SecretKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The 32 bytes.
    let bytes: SecretBytes
    /// Never the key.
    package var description: String { "(secret key)" }
    /// Never the key.
    package var debugDescription: String { description }
    /// Empty, so that `dump` shows no key either.
    package var customMirror: Mirror { Mirror(self, children: []) }

    init?(z85: some StringProtocol) {
        guard isZ85Key(z85) else { return nil }
        var decoded = [UInt8](repeating: 0, count: 32)
        guard zmq_z85_decode(&decoded, String(z85)) != nil, let bytes = SecretBytes(taking: &decoded) else { return nil }
        self.bytes = bytes
    }

    /// The key as a key file holds it: only for writing one.
    var z85: String {
        var text = [CChar](repeating: 0, count: 41)
        bytes.withBytes { _ = zmq_z85_encode(&text, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), 32) }
        return String(decoding: text.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A secret key and the public key that belongs to it.
package struct KeyPair: Sendable {
    /// For everyone.
    package let publicKey: PublicKey
    /// For its owner only.
    package let secretKey: SecretKey

    /// A new pair.
    /// - Throws: `InputError` when libzmq is built without CURVE.
    package static func generate() throws(InputError) -> KeyPair {
        while true {
            var (open, hidden) = ([CChar](repeating: 0, count: 41), [CChar](repeating: 0, count: 41))
            guard zmq_curve_keypair(&open, &hidden) == 0 else {
                throw zmqError("cannot make keys", at: "libzmq", remedy: "install a libzmq that is built with libsodium")
            }
            guard let publicKey = PublicKey(z85: text(open)), let secretKey = SecretKey(z85: text(hidden)) else {
                throw InputError("libzmq made a malformed key", at: "libzmq", remedy: "install another version of it")
            }
            // Z85 has '#' in it; a key that begins with one would look like a comment to people.
            if !publicKey.z85.hasPrefix("#") { return KeyPair(publicKey: publicKey, secretKey: secretKey) }
        }
    }

    /// The pair that `secretKey` belongs to.
    /// - Throws: `InputError` when libzmq is built without CURVE.
    package init(_ secretKey: SecretKey) throws(InputError) {
        var open = [CChar](repeating: 0, count: 41)
        guard zmq_curve_public(&open, secretKey.z85) == 0, let publicKey = PublicKey(z85: KeyPair.text(open)) else {
            throw zmqError("cannot derive a public key", at: "libzmq", remedy: "install a libzmq that is built with libsodium")
        }
        (self.publicKey, self.secretKey) = (publicKey, secretKey)
    }

    private init(publicKey: PublicKey, secretKey: SecretKey) { (self.publicKey, self.secretKey) = (publicKey, secretKey) }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Checked here, character by character, because libzmq 4.3.4 reads beyond its table for some that are not Z85.
private func isZ85Key(_ text: some StringProtocol) -> Bool {
    let characters = Array(text.utf8)
    guard characters.count == 40, characters.allSatisfy(z85Alphabet.contains) else { return false }
    // Five characters can stand for more than 32 bits.
    var bytes = [UInt8](repeating: 0, count: 32)
    return zmq_z85_decode(&bytes, String(text)) != nil
}

private let z85Alphabet = Set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)
