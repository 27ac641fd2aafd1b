// The first lines of both programs. In: the environment. Out: a process with one BLAS thread, or an error before anything else runs.
import Base
import CLinux
import FoundationEssentials
import Glibc
import Numerics

/// What must hold before any arithmetic.
package enum Startup {
    /// Checks the CPU, and restarts the program once if OpenBLAS would not run with one thread, or with the wanted core or one that fits
    /// the CPU: it reads both from the environment before main.
    /// - Parameter blasCore: value of `--blas-core`, a name that OPENBLAS_CORETYPE takes ("Haswell", "SkylakeX", "Zen").
    /// - Throws: `InputError` when the CPU lacks AVX2, FMA or BMI2.
    package static func prepare(blasCore: String?) throws(InputError) {
        // The parent process may ignore SIGCHLD, which is inherited: then the exit status of a worker would be lost.
        signal(SIGCHLD, SIG_DFL)
        // The parent process may have blocked the signals that stop this one: masks are inherited.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, number) }
        sigprocmask(SIG_UNBLOCK, &signals, nil)
        guard t2v_cpu_is_x86_64_v3() != 0 else {
            throw InputError(
                "this CPU lacks AVX2, FMA or BMI2", at: "this host", remedy: "use a machine with an x86-64-v3 CPU (Haswell, Zen or newer)")
        }
        nameProcess()
        raiseOpenFileLimit()
        var wanted = ["OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"]
        if let blasCore { wanted["OPENBLAS_CORETYPE"] = blasCore }
        let environment = ProcessInfo.processInfo.environment
        if environment["OPENBLAS_CORETYPE"] == nil, blasCore == nil, let core = MatrixMultiply.betterCore {
            wanted["OPENBLAS_CORETYPE"] = core
        }
        guard wanted.contains(where: { environment[$0.key] != $0.value }) else { return try check(blasCore) }
        guard environment["T2V_RESTARTED"] == nil else {
            throw InputError(
                "the environment could not be set for OpenBLAS", at: "this host",
                remedy: "set OPENBLAS_NUM_THREADS=1 yourself and unset T2V_RESTARTED")
        }
        for (key, value) in wanted { setenv(key, value, 1) }
        setenv("T2V_RESTARTED", "1", 1)
        var arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        // Under its own path: ps and top show the last part of the executed path, which would be "exe".
        if let path = ownPath { execv(path, &arguments) }
        execv("/proc/self/exe", &arguments)
        throw InputError(
            "cannot restart with OPENBLAS_NUM_THREADS=1: \(String(cString: strerror(errno)))", at: "/proc/self/exe",
            remedy: "set OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1 yourself")
    }

    /// The factor of all time limits of the protocol and of connections: `T2V_TIME_FACTOR`, for a test bed whose hosts and links are slower
    /// than real ones by this factor. It must be the same for all processes of a run.
    package static var timeFactor: Int {
        let text = ProcessInfo.processInfo.environment["T2V_TIME_FACTOR"] ?? ""
        return min(1_000, max(1, Int(text) ?? 1))
    }

    /// The program's file; nil if it has been removed.
    package static var ownPath: String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        let path = String(decoding: buffer.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return access(path, X_OK) == 0 ? path : nil
    }

    private static func nameProcess() {
        guard let name = CommandLine.arguments.first?.split(separator: "/").last else { return }
        _ = t2v_set_process_name(String(name))
    }

    /// Raises the limit of open files as far as the system allows: sockets and local workers need descriptors.
    private static func raiseOpenFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// - Throws: `InputError` when a coordinator with that many local workers would run out of descriptors.
    package static func requireOpenFiles(localWorkers: Int) throws(InputError) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        // Each: a pipe, a process descriptor, two memories, and its connection at both ends of libzmq.
        let needed = 64 + 8 * UInt64(max(0, localWorkers))
        guard UInt64(limit.rlim_cur) < needed else { return }
        throw InputError(
            "\(localWorkers) local workers need \(needed) open files, and the limit is \(limit.rlim_cur)", at: "this host",
            remedy: "raise it (ulimit -n), or give fewer --workers with more --threads")
    }

    /// OpenBLAS silently uses another core if it does not know the name, or the CPU lacks what the core needs.
    private static func check(_ blasCore: String?) throws(InputError) {
        guard let blasCore, MatrixMultiply.coreName.lowercased() != blasCore.lowercased() else { return }
        throw InputError(
            "--blas-core is \(blasCore), but OpenBLAS uses \(MatrixMultiply.coreName): it does not know the name, or the CPU lacks it",
            at: "this host", remedy: "give a core that all hosts have, for example Haswell")
    }

    /// Milliseconds of the monotonic clock.
    package static func milliseconds() -> Milliseconds {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Milliseconds(time.tv_sec) * 1000 + Milliseconds(time.tv_nsec) / 1_000_000
    }

    /// The host's memory, in bytes.
    package static var memoryBytes: Int { sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) }

    package static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, buffer.count - 1)
        return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }
}
