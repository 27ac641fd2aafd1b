// The unit of time of everything that waits. In and out: numbers; the programs read the clock.

/// Milliseconds on the monotonic clock of one process.
package typealias Milliseconds = UInt64
