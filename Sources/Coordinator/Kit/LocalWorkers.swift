// Workers on this host. In: how many. Out: child processes that are restarted when they die and never outlive the coordinator.
import Base
import CLinux
import FoundationEssentials
import Glibc
import Run
import Transport

/// Starts, watches and stops local workers.
final class LocalWorkers {
    struct Child {
        var pid: pid_t
        /// Readable when the child has ended; -1 if the kernel has none: then the child is polled.
        var pidfd: Int32
        /// The child exits when this end of its standard input closes.
        var pipe: Int32
        var started: Milliseconds
        /// Where the child puts its gradients; nil: it sends them.
        var memory: SharedMemory?
    }

    /// The most gradients of one update that a child puts into its memory: nodes of the tree.
    private static let gradientPlaces = 16
    private let program: String
    private let arguments: [String]
    private let token: UInt64
    private let count: Int
    private let parameters: Int32?
    private let memoryBytes: Int
    private var children: [Int: Child] = [:]
    private var restartAt: [Int: Milliseconds] = [:]
    private var quickDeaths = 0
    /// How the last child ended: "exit status 7", "signal 4".
    private var lastEnd = ""

    /// - Parameters:
    ///   - endpoint: an ipc endpoint.
    ///   - parameters: descriptor of the memory that holds the parameters, if the children are to share it.
    ///   - gradientBytes: of the longest payload of a contribution.
    init(count: Int, endpoint: String, threads: Int, token: UInt64, parameters: Int32?, gradientBytes: Int, lanes: Int) throws(InputError) {
        self.count = count
        self.token = token
        self.parameters = parameters
        // A worker sends what does not fit.
        memoryBytes = min(2 * lanes - 1, Self.gradientPlaces) * ((gradientBytes + 63) / 64 * 64)
        arguments = ["--connect", endpoint, "--threads", "\(threads)"]
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let own = String(decoding: buffer.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        program = Path.parent(own) + "/t2v-worker"
        guard count == 0 || access(program, X_OK) == 0 else {
            throw InputError("the worker program is missing", at: program, remedy: "install t2v-worker beside t2v-coordinator")
        }
        for index in 0..<count { try start(index) }
    }

    private func start(_ index: Int) throws(InputError) {
        var ends: [Int32] = [0, 0]
        guard pipe2(&ends, Int32(O_CLOEXEC)) == 0 else {
            throw InputError("cannot make a pipe: \(String(cString: strerror(errno)))", at: "", remedy: "raise the limit of open files")
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        posix_spawn_file_actions_adddup2(&actions, 2, 1)
        let memory = parameters == nil ? nil : try? SharedMemory(name: "t2v-gradients", byteCount: memoryBytes)
        if let parameters, let memory {
            posix_spawn_file_actions_adddup2(&actions, parameters, Self.inherited.parameters)
            posix_spawn_file_actions_adddup2(&actions, memory.descriptor, Self.inherited.gradients)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        // Its own process group: Ctrl-C reaches the coordinator alone, which lets the current update finish.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
        var environment = ProcessInfo.processInfo.environment
        environment["T2V_LOCAL_TOKEN"] = String(token, radix: 16)
        environment["T2V_PARENT"] = "\(getpid())"
        if memory != nil { environment["T2V_SHARED"] = "\(Self.inherited.parameters),\(Self.inherited.gradients)" }
        let argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        var pid: pid_t = 0
        let code = posix_spawn(&pid, program, &actions, &attributes, argv, envp)
        for pointer in argv + envp { free(pointer) }
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
        close(ends[0])
        guard code == 0 else {
            close(ends[1])
            throw InputError("cannot start a worker: \(String(cString: strerror(code)))", at: program, remedy: "check the installation")
        }
        children[index] = Child(pid: pid, pidfd: t2v_pidfd_open(pid), pipe: ends[1], started: Startup.milliseconds(), memory: memory)
    }

    /// The descriptors of a child's shared memory.
    private static let inherited: (parameters: Int32, gradients: Int32) = (3, 4)

    /// Where a child puts its gradients.
    func memory(ofProcess pid: UInt32) -> SharedMemory? { children.values.first { pid_t(exactly: pid) == $0.pid }?.memory }

    /// What a poller must watch.
    var descriptors: [(index: Int, pidfd: Int32)] {
        children.filter { $0.value.pidfd >= 0 }.map { ($0.key, $0.value.pidfd) }.ascending { $0.0 }
    }

    /// Collects children that have ended. - Returns: their process ids, and how they ended.
    func collect() -> [(pid: pid_t, how: String)] {
        var ended: [(pid_t, String)] = []
        for (index, child) in children {
            guard let how = child.end() else { continue }
            if child.pidfd >= 0 { close(child.pidfd) }
            close(child.pipe)
            children[index] = nil
            ended.append((child.pid, how))
            lastEnd = how
            let now = Startup.milliseconds()
            // A child that dies at once will probably die again: wait longer each time.
            let lived = now - child.started
            quickDeaths = lived < 2_000 ? quickDeaths + 1 : 0
            restartAt[index] = now + (quickDeaths <= 1 ? 0 : min(10_000, 100 << Milliseconds(min(8, quickDeaths))))
        }
        return ended
    }

    /// How workers end that keep ending as soon as they start; nil if they do not.
    var failure: String? { quickDeaths >= 4 * max(1, count) && children.isEmpty ? lastEnd : nil }

    /// Restarts those that are due. - Returns: whether one was started.
    func restart() throws(InputError) -> Bool {
        let now = Startup.milliseconds()
        var started = false
        for (index, time) in restartAt where now >= time {
            restartAt[index] = nil
            try start(index)
            started = true
        }
        return started
    }

    /// Closes the workers' standard input, waits for them, and kills those that do not exit.
    func stop() {
        restartAt = [:]
        for child in children.values { close(child.pipe) }
        let deadline = Startup.milliseconds() + 3_000
        while !children.isEmpty {
            for (index, child) in children {
                if child.end() != nil {
                    if child.pidfd >= 0 { close(child.pidfd) }
                    children[index] = nil
                } else if Startup.milliseconds() > deadline {
                    child.kill()
                }
            }
            if !children.isEmpty { usleep(5_000) }
        }
    }
}

extension LocalWorkers.Child {
    /// How the child has ended; nil while it runs. Called once after its end.
    func end() -> String? {
        var status: Int32 = 0
        let found = waitpid(pid, &status, WNOHANG)
        if found == pid {
            let signal = status & 0x7F
            return signal == 0 ? "exit status \((status >> 8) & 0xFF)" : "signal \(signal)"
        }
        // It has been collected elsewhere: it is gone all the same, and its number may have been reused.
        return found < 0 && errno == ECHILD ? "unknown status" : nil
    }

    /// SIGKILL, to this child only: it has not been collected, so that its number is still its own.
    func kill() {
        if pidfd >= 0 { _ = t2v_pidfd_send_signal(pidfd, SIGKILL) } else { _ = Glibc.kill(pid, SIGKILL) }
    }
}
