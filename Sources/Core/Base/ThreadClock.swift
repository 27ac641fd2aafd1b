// What a thread has computed so far. Out: seconds of CPU time.
import CLinux
import Glibc

/// CPU time: what a quiet core would show, also on a busy one.
package enum ThreadClock {
    /// Seconds that the calling thread has run.
    package static func seconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
