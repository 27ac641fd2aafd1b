// How long the CPU has worked so far. Out: seconds of CPU time.
import CLinux
import Glibc

/// CPU time: on a busy core, too, it is what an idle one would need.
package enum ThreadClock {
    /// Seconds that the calling thread has used.
    package static func seconds() -> Double { read(CLOCK_THREAD_CPUTIME_ID) }

    /// Seconds that all threads of this process have used.
    package static func processSeconds() -> Double { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
