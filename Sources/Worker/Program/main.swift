// t2v-worker. In: an endpoint. Out: gradients, for as long as the coordinator wants them.
import ArgumentParser
import Base
import CLinux
import FoundationEssentials
import Glibc
import Launch
import Logging
import Protocol
import Run
import Transport
import WorkerKit

struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "t2v-worker", abstract: "Computes gradients for a t2v coordinator.",
        discussion: "Needs nothing but the coordinator's endpoint: texts, features and vectors come over the network.",
        version: Version.current)

    @Option(help: "The coordinator's endpoint: tcp://HOST:PORT.") var connect: String
    @Option(help: "Lanes to compute at a time (default: this machine's cores).") var threads: Int?
    @Option(help: "Folder for prepared shards (default: ~/.cache/t2v).") var cache: String?
    @Option(help: "File with the coordinator's public key.") var serverKey: String?
    @Option(help: "File with this worker's secret key.") var key: String?
    @Option(help: "OpenBLAS core to use, for example Haswell: makes mixed clusters compute equal bits.") var blasCore: String?
    @Flag(help: "When a run is over, wait for another one; wait indefinitely for a coordinator, and for room on a full disk.")
    var stay = false

    func run() throws {
        let token = ProcessInfo.processInfo.environment["T2V_LOCAL_TOKEN"].flatMap { UInt64($0, radix: 16) } ?? 0
        if token != 0 {
            // Die with the coordinator even if it is killed; it may be gone already.
            _ = t2v_set_parent_death_signal(SIGKILL)
            if let parent = ProcessInfo.processInfo.environment["T2V_PARENT"].flatMap(Int32.init), getppid() != parent { return }
        }
        let threads = self.threads ?? ProcessInfo.processInfo.activeProcessorCount
        guard (1...RunBounds.maximumThreads).contains(threads) else {
            throw InputError("--threads is \(threads)", at: "", remedy: "give 1 to \(RunBounds.maximumThreads)")
        }
        var logger = Logger(label: "t2v-worker") { LineLogHandler(label: $0) }
        logger.logLevel = token == 0 ? .info : .warning
        let options = WorkerOptions(
            endpoint: connect, threads: threads, cache: cache, security: try security(logger), localToken: token,
            shared: token == 0 ? nil : sharedDescriptors, stays: stay)
        let shell = try WorkerShell(options, logger: logger)
        switch try shell.loop() {
        case .finished(let reason): logger.info("\(reason)")
        case .stopped: logger.info("stopped by a signal")
        case .refused(let reason): throw InputError("refused by the coordinator: \(reason)", at: connect, remedy: "")
        case .unable(let reason):
            throw StoppedEarly(
                InputError(
                    "nothing has succeeded on this host for \(JobPatience.seconds) s: \(reason)", at: connect,
                    remedy: "fix that and start it again, or use --stay, which keeps trying"))
        case .gaveUp(let reason):
            let minutes = WorkerPatience.limit / 60_000
            throw StoppedEarly(
                InputError(
                    "no coordinator accepted this worker for \(minutes) minutes: \(reason)", at: connect,
                    remedy: "start it again, or use --stay, which waits indefinitely"))
        }
    }

    /// Descriptors that the coordinator left open for its own worker.
    private var sharedDescriptors: (parameters: Int32, gradients: Int32)? {
        let numbers = ProcessInfo.processInfo.environment["T2V_SHARED"]?.split(separator: ",").compactMap { Int32($0) } ?? []
        return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
    }

    private func security(_ logger: Logger) throws -> ClientSecurity {
        switch (serverKey, key) {
        case (nil, nil): return .open
        case (let server?, let own?):
            let secret = try KeyFile.readSecret(own)
            if let warning = secret.warning { logger.warning("\(warning)") }
            return .curve(server: try KeyFile.readPublic(server), own: try KeyPair(secret.key))
        default:
            throw InputError(
                "--server-key and --key go together", at: "", remedy: "give both (made by `t2v-coordinator keygen`), or neither")
        }
    }
}

CommandRunner.run(WorkerCommand.self) { try Startup.prepare(blasCore: CommandRunner.value(of: "--blas-core")) }
