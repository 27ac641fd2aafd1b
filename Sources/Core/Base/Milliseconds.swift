// The unit of time of everything that waits. In and out: numbers; who reads the clock is the programs' business.

/// Milliseconds on the monotonic clock of one process.
package typealias Milliseconds = UInt64
