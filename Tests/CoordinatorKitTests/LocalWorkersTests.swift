import CLinux
import Foundation
import Testing

@testable import CoordinatorKit

/// The end of a child is noticed, even if something else has collected it.
@Suite(.serialized) struct LocalWorkersTests {
    /// A child that another part of the process, or the kernel when SIGCHLD is ignored, has collected already.
    @Test func aChildThatIsGoneHasEnded() throws {
        var pid: pid_t = 0
        let argv: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/true"), nil]
        defer { free(argv[0]) }
        try #require(posix_spawn(&pid, "/bin/true", nil, nil, argv, nil) == 0)
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid)
        let child = LocalWorkers.Child(pid: pid, pidfd: -1, pipe: -1, started: 0, memory: nil)
        #expect(child.end() == "unknown status")
    }

    @Test func aChildIsKilledByItsDescriptor() throws {
        var pid: pid_t = 0
        let argv: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sleep"), strdup("100"), nil]
        defer { for pointer in argv { free(pointer) } }
        try #require(posix_spawn(&pid, "/bin/sleep", nil, nil, argv, nil) == 0)
        let child = LocalWorkers.Child(pid: pid, pidfd: t2v_pidfd_open(pid), pipe: -1, started: 0, memory: nil)
        #expect(child.pidfd >= 0 && child.end() == nil)
        child.kill()
        var how: String?
        while how == nil {
            how = child.end()
            usleep(1_000)
        }
        #expect(how == "signal 9")
        close(child.pidfd)
    }
}
