// How many threads move bytes between hosts. In: cores, who may connect, what was asked for. Out: a number.

/// libzmq spreads connections over its I/O threads; a connection belongs to one thread.
package enum IOThreads {
    /// One thread encrypts and decrypts about 8 Gbit/s (0.95 ns a byte), and moves 36 Gbit/s without encryption. A link of 10 Gbit/s that
    /// is busy in both directions needs three; a fourth makes up for an uneven spread of connections.
    package static let forEncryptedLink = 4

    /// - Parameters:
    ///   - asked: `--io-threads`.
    ///   - cores: that this process may use. More threads than cores would not be faster.
    ///   - isOpen: other hosts can connect.
    ///   - isEncrypted: with keys.
    package static func fitting(asked: Int?, cores: Int, isOpen: Bool, isEncrypted: Bool) -> Int {
        if let asked { return max(1, asked) }
        guard isOpen, isEncrypted else { return 1 }
        return max(1, min(forEncryptedLink, cores))
    }
}
