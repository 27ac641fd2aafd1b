// Threads without work. In: a product's parts. Out: the same bits as computed by one thread, sooner.
//
// Documents are not split, so lanes of an update are uneven, and the threads that finish first would wait for the last one.

/// The other threads of a worker, as a thread that computes sees them.
package protocol IdleThreads: AnyObject, Sendable {
    /// How many of them wait for work. That may change at any time.
    var idleCount: Int { get }
    /// Calls `body` once for each of `parts`, on this thread and on those that wait, and returns when all are done.
    func share(parts: Int, _ body: @escaping (Int) -> Void)
}

extension IdleThreads? {
    /// Into how many parts a product should be cut that can have `most`.
    func parts(atMost most: Int) -> Int { max(1, min(most, 1 + (self?.idleCount ?? 0))) }

    /// Calls `body` for each of `parts`, which do not depend on each other: on this thread alone if no other waits.
    func forEach(_ parts: Int, _ body: @escaping (Int) -> Void) {
        guard let self, self.idleCount > 0, parts > 1 else { return (0..<parts).forEach(body) }
        self.share(parts: parts, body)
    }
}
