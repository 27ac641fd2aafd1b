// The coordinator's event loop: one thread owns the sockets and drives the state machine. In: messages, signals, files. Out: the same.
import Base
import CLinux
import FoundationEssentials
import Glibc
import Logging
import Model
import Numerics
import Output
import Protocol
import Run
import Synchronization
import Text
import Transport

/// How a run ends.
package enum RunEnd {
    case complete
    /// An evaluation has ended it.
    case early(String)
    /// Stopped, by a signal for example; a checkpoint of the last complete version is written.
    case stopped(String)
}

/// The writer thread sets it, the shell's thread reads it.
final class CheckpointClock: Sendable {
    let date = Mutex<Date?>(nil)
}

/// Carries out one run.
package final class RunShell {
    /// One listening socket: ipc for local workers, the user's endpoint for others.
    final class Listener {
        let socket: RouterSocket
        let isLocal: Bool

        init(_ context: ZMQContext, security: ServerSecurity, isLocal: Bool) throws(InputError) {
            // A longer frame ends the connection before it takes memory.
            let limits = SocketLimits(largestFrameBytes: WireLimits.frame).slowed(by: Startup.timeFactor)
            socket = try RouterSocket(context, limits: limits, security: security)
            self.isLocal = isLocal
        }
    }

    typealias Message = (header: [UInt8], payload: ZMQMessage?)

    let setup: RunSetup
    let logger: Logger
    let progress: ProgressDisplay
    let training: TrainingState
    var machine: CoordinatorStateMachine
    let writer: OutputWriter
    let record = EventLog()
    var pace = EventPace()
    private(set) var listeners: [Listener] = []
    private let context: ZMQContext
    private let signals: SignalWatcher
    private let wake: EventFD
    private let socketFolder: SocketFolder?
    private var gate: (handler: ZAPHandler, allow: AllowList)?
    private var repeated = RepeatedMessages()
    private var budget = LogBudget()
    private(set) var workers: LocalWorkers?
    private let token = UInt64.random(in: 1 ... .max)
    private(set) var peers: PeerTable<Message>
    private var probes = ProbeSchedule()
    var artifacts: ArtifactServer
    var buffers: [BufferID: any PayloadBytes] = [:]
    var nextBuffer: BufferID = 0
    /// Size and digest of prepared shards that are in the cache.
    var entries: [ShardID: (size: UInt64, digest: ShardDigest)] = [:]
    /// Prepared shards that one worker each is sending.
    var incoming: [ShardID: (peer: PeerID, file: IncomingFile, size: UInt64, digest: ShardDigest)] = [:]
    /// Gradients whose pieces are arriving, and memory for them: as much as was needed at a time so far.
    var gradients: [PeerID: [UInt32: PieceBuffer]] = [:]
    var gradientPool: MessageBufferPool
    var plan: RunPlan?
    /// The encoded plan, which workers fetch.
    var planBuffer: MessageBuffer?
    var parameters: TrainingState.Broadcast?
    /// nil if nothing is held out, and before the plan is made.
    var evaluation: RunEvaluation?
    var end: RunEnd?
    /// The error that ends the process: `InputError` for wrong input, `StoppedEarly` if the run can be resumed.
    var failure: (any Error)?
    var cadence: CheckpointCadence
    private var cacheWatch: CacheWatch
    private var metrics: MetricsServer?
    /// When the last checkpoint was completely on disk.
    let checkpointClock = CheckpointClock()
    private var nextMetrics: Milliseconds = 0
    var figuresForMetrics = MetricsSnapshot()
    private var stopAsked = false
    var words: UInt64 = 0

    package init(_ setup: RunSetup, progress: ProgressDisplay, logger: Logger) throws {
        self.setup = setup
        self.progress = progress
        self.logger = logger
        let options = setup.options
        signals = try SignalWatcher([SIGTERM, SIGINT, SIGHUP], exitOnSecond: 75)
        wake = try EventFD()
        training = TrainingState(settings: options.settings, spec: setup.spec, sharesMemory: options.workers > 0)
        if let checkpoint = setup.checkpoint {
            try training.restore(checkpoint, place: "checkpoint")
        } else if let initial = setup.initial {
            let part: ParameterLayout.Part = options.initTok2vec != nil ? .tok2vec : .all
            try training.load(initial, part: part, place: options.initTok2vec ?? options.initCheckpoint ?? "")
        }
        cadence = CheckpointCadence(everySeconds: options.checkpointEvery)
        cacheWatch = CacheWatch(setup.cache)
        writer = try OutputWriter(logByteCount: try setup.checkpoint.map { try setup.resume($0.state) } ?? 0, wake: wake)
        artifacts = setup.artifacts
        peers = PeerTable(lanes: options.settings.lanes)
        gradientPool = MessageBufferPool(byteCount: training.coding.maximumBytes, limit: Self.keptGradients)
        let fingerprint = NumericFingerprint.measure(setup.spec.arithmetic)
        var known = CoordinatorStateMachine.Setup(
            run: UInt64.random(in: 1 ... .max), description: try setup.description.encoded(), lanes: options.settings.lanes,
            parameterBytes: UInt64(training.parameterCoding.byteCount), gradientBytes: UInt64(training.coding.maximumBytes),
            shards: zip(setup.index.shards, setup.keys).map { (UInt64($0.byteCount), $1) }, minimumWorkers: options.minWorkers,
            program: Version.current, arithmetic: setup.spec.arithmetic,
            blas: "\(fingerprint.coreName) \(fingerprint.configuration)", fingerprint: fingerprint.hash, strictBits: options.strictBits)
        known.times = known.times.slowed(by: Startup.timeFactor)
        machine = CoordinatorStateMachine(known)
        context = try ZMQContext(
            ioThreads: IOThreads.fitting(
                asked: options.ioThreads, cores: CoreBudget.ofThisProcess().cores, isOpen: options.bind != nil,
                isEncrypted: options.keyFile != nil))
        socketFolder = options.workers > 0 ? try SocketFolder() : nil
        try listen(options)
        if let address = options.metrics {
            let server = try MetricsServer(address)
            metrics = server
            progress.say("metrics on http://\(server.address)/metrics")
        }
    }

    /// Warns about the network traffic of a large model with workers on other hosts.
    private func warnAboutTraffic() {
        let bytes = training.parameterCoding.byteCount
        guard bytes > Self.muchTraffic else { return }
        say(.warning, "every update sends \(bytes >> 20) MiB to each remote worker and as much back: --wire-precision bf16 halves that")
    }

    private static let muchTraffic = 1 << 30
    /// The number of gradient buffers that are kept for the next update.
    private static let keptGradients = 64

    private func listen(_ options: RunOptions) throws {
        if let bind = options.bind {
            warnAboutTraffic()
            var security = ServerSecurity.localOnly
            if let keyFile = options.keyFile, let allowFile = options.allowFile {
                let allow = try AllowList(path: allowFile)
                let handler = try ZAPHandler(context, allow: allow, wake: wake)
                gate = (handler, allow)
                let secret = try KeyFile.readSecret(keyFile)
                if let warning = secret.warning { logger.warning("\(warning)") }
                security = .curve(secret.key, gate: handler)
            } else if options.insecure {
                security = .insecure
                logger.warning("--insecure: anyone who can reach \(bind) can read the texts and change the model")
            }
            let listener = try Listener(context, security: security, isLocal: false)
            let endpoint = try listener.socket.bind(bind)
            listeners.append(listener)
            progress.say("listening on \(endpoint)")
            if options.workers == 0 { progress.say("no workers on this host (--workers 0): waiting for t2v-worker --connect \(endpoint)") }
        }
        if let socketFolder {
            let listener = try Listener(context, security: .localOnly, isLocal: true)
            let endpoint = try listener.socket.bind(socketFolder.endpoint("t2v"))
            listeners.append(listener)
            workers = try LocalWorkers(
                count: options.workers, endpoint: endpoint, threads: options.threads, token: token, parameters: training.sharedDescriptor,
                gradientBytes: training.coding.maximumBytes, lanes: options.settings.lanes)
        }
    }

    /// Carries out the run, and records how it ended.
    package func run() throws -> RunEnd {
        do {
            let end = try loop()
            switch end {
            case .complete: endEvents("done", "every epoch is done")
            case .early(let reason): endEvents("early", reason)
            case .stopped(let reason): endEvents("interrupted", reason)
            }
            return end
        } catch {
            endEvents(error is StoppedEarly ? "interrupted" : "failed", "\(error)")
            throw error
        }
    }

    private func loop() throws -> RunEnd {
        defer {
            workers?.stop()
            socketFolder?.remove()
            writer.end()
        }
        var events: [CoordinatorStateMachine.Event] = setup.keys.indices.compactMap { index in
            guard let entry = setup.cache.entry(setup.keys[index], schema: setup.schema) else { return nil }
            note(entry, index)
            return .shardStored(index)
        }
        events.append(.tick)
        var poller = Poller()
        let slots = listeners.map { (socket: poller.add($0.socket), monitor: poller.add($0.socket.monitor)) }
        _ = poller.add(descriptor: wake.descriptor)
        _ = poller.add(descriptor: signals.event.descriptor)
        var childSlots: [Poller.Slot] = []
        func watchChildren() {
            for slot in childSlots { poller.remove(slot) }
            childSlots = workers?.descriptors.map { poller.add(descriptor: $0.pidfd) } ?? []
        }
        watchChildren()
        var nextTick = Startup.milliseconds()
        while true {
            handle(&events)
            flush(&events)
            handle(&events)
            if let failure { throw failure }
            if let end { return try finish(end) }
            let now = Startup.milliseconds()
            let wait = now >= nextTick ? 0 : min(Int(nextTick - now), peers.hasWaiting ? 2 : 1000)
            _ = try poller.wait(timeoutMilliseconds: wait)
            wake.drain()
            try watchSignals(&events)
            for (index, slot) in slots.enumerated() {
                if poller.isReadable(slot.monitor) { watchConnections(index) }
                if poller.isReadable(slot.socket) { receive(index, &events) }
            }
            if childSlots.contains(where: { poller.isReadable($0) }), collectChildren(&events) { watchChildren() }
            if Startup.milliseconds() >= nextTick {
                nextTick = Startup.milliseconds() + 100
                events.append(.tick)
                try housekeeping(&events)
                // Also children that have no descriptor to signal their end.
                if collectChildren(&events) { watchChildren() }
                if try workers?.restart() == true { watchChildren() }
            }
        }
    }

    private func watchSignals(_ events: inout [CoordinatorStateMachine.Event]) throws {
        signals.event.drain()
        if signals.stopRequests > 0 && !stopAsked {
            stopAsked = true
            progress.say("stopping: the last complete update is kept; a second signal stops at once")
            events.append(.stopRequested)
        }
    }

    private func housekeeping(_ events: inout [CoordinatorStateMachine.Event]) throws {
        let now = Startup.milliseconds()
        let news = writer.news()
        for warning in news.warnings { say(.warning, warning) }
        if let failure = news.failure {
            throw stopped(by: failure)
        }
        if let failure = record.takeFailure() { say(.warning, "t2v/events.jsonl cannot be written and ends here: \(failure)") }
        probe(now)
        if let gate {
            for refusal in gate.handler.drainRefusals() {
                let text = "refused a connection from \(refusal.address): \(refusal.reason)"
                if let text = repeated.admit(text, now: Startup.milliseconds()) { say(.warning, text) }
            }
            do {
                let change = try gate.allow.refreshIfChanged()
                if !change.isEmpty { say(.info, "allow-list: \(change.added.count) keys added, \(change.removed.count) removed") }
            } catch {
                say(.error, "\(error)")
            }
            for id in peers.revoked(isAllowed: gate.allow.contains) {
                say(.warning, "a worker's key is no longer allowed: its session ends")
                events.append(.peerLost(id, reason: "its key was revoked"))
                send(id, .refuse("the key was taken out of the allow-list"))
                drop(id)
            }
        }
        if let failure = workers?.failure {
            throw StoppedEarly(
                InputError(
                    "local workers end as soon as they start (\(failure))", at: "t2v-worker",
                    remedy: "see their messages above, then \(goOn)"))
        }
        if machine.unpreparedCount > 0 {
            try cacheWatch.check(at: now, goOn: goOn)
            progress.preparing(
                done: setup.keys.count - machine.unpreparedCount, of: setup.keys.count, workers: machine.workerCount)
        }
        checkpointWhenDue(now)
        updateMetrics(now)
    }

    // MARK: Messages

    private func receive(_ index: Int, _ events: inout [CoordinatorStateMachine.Event]) {
        for _ in 0..<256 {
            guard let event = listeners[index].socket.receive() else { return }
            switch event {
            case .malformed(let identity, _, let address, let reason):
                refusedFrame(address, reason)
                if let id = peers.id(at: PeerAddress(listener: index, identity: identity)) {
                    events.append(.peerLost(id, reason: "it sent a malformed message"))
                    peers.forget(id)
                }
            case .message(let message): take(message, index, &events)
            }
            handle(&events)
        }
    }

    private func take(_ message: RouterMessage, _ index: Int, _ events: inout [CoordinatorStateMachine.Event]) {
        let address = PeerAddress(listener: index, identity: message.identity)
        if let gate, !listeners[index].isLocal, !gate.allow.contains(message.userID) { return }
        do {
            let decoded = try message.header.withUnsafeBytes { bytes throws(WireError) in try WorkerMessage(header: bytes) }
            let id = peers.admit(address, isLocal: listeners[index].isLocal)
            peers.note(id, key: message.userID)
            if case .hello(let hello) = decoded {
                guard peers.mayIntroduce(id, token: hello.localToken, expected: token) else { return }
                peers.note(id, processID: hello.processID)
            }
            var payload: Payload?
            if let body = message.payload {
                nextBuffer += 1
                buffers[nextBuffer] = body
                payload = .init(buffer: nextBuffer, count: body.count, hash: 0)
                if case .contribution(let contribution) = decoded {
                    payload?.hash = open(contribution, body, id)
                    payload?.fault = fault(inGradient: nextBuffer)
                }
            }
            figuresForMetrics.bytesReceived += message.header.count + (message.payload?.count ?? 0)
            events.append(.message(id, decoded, payload: payload))
        } catch {
            refusedFrame(message.peerAddress, "\(error)")
            if let id = peers.id(at: address) {
                events.append(.peerLost(id, reason: "it sent a message that cannot be decoded"))
                peers.forget(id)
            }
        }
    }

    func handle(_ events: inout [CoordinatorStateMachine.Event]) {
        while !events.isEmpty && end == nil && failure == nil {
            let event = events.removeFirst()
            for effect in machine.handle(event, now: Startup.milliseconds()) { perform(effect, &events) }
        }
    }

    func forget(_ id: PeerID) { peers.forget(id) }

    func send(_ id: PeerID, _ message: CoordinatorMessage, payload: ZMQMessage? = nil) {
        let isChunk = if case .chunk = message { true } else { false }
        peers.queue((message.encoded(), payload), to: id, isChunk: isChunk)
    }

    /// Sends queued messages. A peer that cannot be reached is lost, and so is one that has accepted nothing for too long.
    private func flush(_ events: inout [CoordinatorStateMachine.Event]) {
        for (id, peer) in peers.peers where !peer.outbox.isEmpty {
            var sent = 0
            loop: for item in peer.outbox.lazy.map(\.item) {
                switch listeners[peer.address.listener].socket.send(
                    to: peer.address.identity, header: item.header, payload: item.payload)
                {
                case .sent:
                    sent += 1
                    figuresForMetrics.bytesSent += item.header.count + (item.payload?.count ?? 0)
                case .unreachable:
                    events.append(.peerLost(id, reason: "its connection is gone"))
                    peers.forget(id)
                    break loop
                default: break loop
                }
            }
            peers.sent(sent, to: id)
        }
        for id in peers.unresponsive {
            events.append(.peerLost(id, reason: "it takes no messages"))
            peers.forget(id)
        }
    }

    private func probe(_ now: Milliseconds) {
        if probes.isDue(now) { peers.queueProbes((CoordinatorMessage.probe.encoded(), nil)) }
    }

    private func watchConnections(_ index: Int) {
        while let event = listeners[index].socket.monitor.next() {
            switch event {
            case .disconnected: probes.connectionLost(Startup.milliseconds())
            case .handshakeFailed(let failure, let endpoint):
                let text = "refused a connection to \(endpoint): \(failure)"
                if let text = repeated.admit(text, now: Startup.milliseconds()) { say(.warning, text) }
            default: break
            }
        }
        probe(Startup.milliseconds())
    }

    private func collectChildren(_ events: inout [CoordinatorStateMachine.Event]) -> Bool {
        guard let ended = workers?.collect(), !ended.isEmpty else { return false }
        for (pid, how) in ended {
            for id in peers.local(processID: UInt32(bitPattern: pid)) {
                events.append(.peerLost(id, reason: "its process ended (\(how))"))
                peers.forget(id)
            }
        }
        return true
    }

    private func updateMetrics(_ now: Milliseconds) {
        guard let metrics, now >= nextMetrics else { return }
        nextMetrics = now + 1000
        figuresForMetrics.state =
            machine.unpreparedCount > 0
            ? "preparing" : stopAsked ? "stopping" : machine.workerCount == 0 ? "waiting for workers" : "training"
        figuresForMetrics.updates = Int(training.update)
        figuresForMetrics.epoch = Int(training.update / max(1, plan?.updates.updatesPerEpoch ?? 1))
        figuresForMetrics.words = Int(training.wordCount)
        figuresForMetrics.wordsPerSecond = progress.wordsPerSecond
        figuresForMetrics.lossPerWord = training.update > 0 ? training.lastLossPerWord : nil
        figuresForMetrics.connectedWorkers = machine.workerCount
        figuresForMetrics.readyWorkers = machine.loads.count { $0.lanes > 0 }
        figuresForMetrics.leasesMoved = Int(machine.counters.leasesMoved + machine.counters.doubleLeases)
        figuresForMetrics.refusals["worker"] = Int(machine.counters.refusals)
        figuresForMetrics.refusals["key"] = gate?.handler.refusalCount ?? 0
        figuresForMetrics.lastCheckpoint = checkpointClock.date.withLock { $0 }
        metrics.update(figuresForMetrics)
    }

    /// Logged once per minute and address, with the reason at that time: strangers may send millions of such messages.
    private func refusedFrame(_ address: String, _ reason: String) {
        figuresForMetrics.refusals["frame", default: 0] += 1
        let text = "refused a message\(address.isEmpty ? "" : " from \(address)")"
        if let text = repeated.admit(text, now: Startup.milliseconds()) { say(.warning, "\(text): \(reason)") }
    }

    /// Logs a message of the state machine. Repeated failures of a host are not logged each time.
    func log(_ level: CoordinatorStateMachine.LogLevel, _ text: String) {
        guard level != .info else { return say(.info, text) }
        if let text = repeated.admit(text, now: Startup.milliseconds()) { say(level == .warning ? .warning : .error, text) }
    }

    func say(_ level: Logger.Level, _ text: String) {
        guard let text = budget.admit(text, now: Startup.milliseconds()) else { return }
        progress.clearLine()
        logger.log(level: level, "\(text)")
        if level >= .warning { record.append(RunEvent("fault", [("what", .text(text))])) }
    }

    /// Writes the files that are due, sends `finish` to the workers and waits for the writer.
    private func finish(_ end: RunEnd) throws -> RunEnd {
        // At the end of an epoch there is a checkpoint already.
        switch end {
        case .stopped: addCheckpoint(.required)
        case .early: if training.update % max(1, plan?.updates.updatesPerEpoch ?? 1) != 0 { addCheckpoint(.required) }
        case .complete: break
        }
        addLastModel()
        let (reason, final): (String, Bool)
        switch end {
        case .complete, .early: (reason, final) = ("the run is complete", true)
        case .stopped: (reason, final) = ("the coordinator was stopped", false)
        }
        for id in peers.peers.keys { send(id, .finish(reason: reason, final: final)) }
        var ignored: [CoordinatorStateMachine.Event] = []
        flush(&ignored)
        writer.drain()
        let news = writer.news()
        for warning in news.warnings { say(.warning, warning) }
        if let failure = news.failure { throw stopped(by: failure) }
        return end
    }

    /// How the user can continue the run after it has stopped.
    var goOn: String {
        setup.folder.contents == .run ? "resume with `t2v-coordinator resume \(setup.folder.path)`" : "start it again"
    }

    /// The error for a file that could not be written, after all retries.
    func stopped(by failure: InputError) -> StoppedEarly {
        StoppedEarly(
            InputError(
                "stopped, since a file could not be written: \(failure.what)", at: failure.place, remedy: "\(failure.remedy), then \(goOn)")
        )
    }
}
