// A growing list of word numbers. In: tokens, appended. Out: a pointer to them. Shared by reference: an array of a class that is passed
// inout is checked for exclusive access at every use, which slowed the tokenizer's inner loop.

/// Word numbers, as `Tokenizer` and its parts hand them on. Owned by one thread.
final class TokenBuffer {
    private(set) var base: UnsafeMutablePointer<UInt32>
    private(set) var count = 0
    private var capacity = 1 << 10

    init() { base = .allocate(capacity: capacity) }

    deinit { base.deallocate() }

    var tokens: UnsafeMutableBufferPointer<UInt32> { UnsafeMutableBufferPointer(start: base, count: count) }

    @inline(__always)
    func append(_ token: UInt32) {
        if count == capacity { grow(1) }
        base[count] = token
        count += 1
    }

    @inline(__always)
    func append(_ tokens: UnsafePointer<UInt32>, _ number: Int) {
        if count + number > capacity { grow(number) }
        (base + count).update(from: tokens, count: number)
        count += number
    }

    func append(_ tokens: ArraySlice<UInt32>) {
        tokens.withUnsafeBufferPointer { if let start = $0.baseAddress { append(start, $0.count) } }
    }

    /// Sets bits of the last token, if there is one.
    @inline(__always)
    func markLast(_ bits: UInt32) {
        if count > 0 { base[count - 1] |= bits }
    }

    func removeAll() { count = 0 }

    func replace(with tokens: [UInt32]) {
        count = 0
        append(tokens[...])
    }

    private func grow(_ more: Int) {
        capacity = max(2 * capacity, count + more)
        let larger = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
    }
}
