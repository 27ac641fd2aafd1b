// The coordinator's rim: one thread that owns the sockets and drives the state machine. In: messages, signals, files. Out: the same.
import Base
import CLinux
import FoundationEssentials
import Glibc
import Logging
import Numerics
import Protocol
import Run
import Synchronization
import Text
import Transport

/// How a run ends.
package enum RunEnd {
    case complete
    /// Stopped early; a checkpoint of the last complete version is written.
    case stopped(String)
}

/// The helper thread writes it, the shell's thread reads it.
final class CheckpointClock: Sendable {
    let date = Mutex<Date?>(nil)
}

/// Runs one run.
package final class RunShell {
    /// One listening socket: ipc for local workers, the user's endpoint for others.
    final class Listener {
        let socket: RouterSocket
        let isLocal: Bool

        /// - Parameter largest: bytes of the longest frame that a worker has a reason to send.
        init(_ context: ZMQContext, security: ServerSecurity, isLocal: Bool, largest: Int) throws(InputError) {
            let limits = SocketLimits(largestMessageBytes: largest)
            socket = try RouterSocket(context, limits: limits, security: security)
            self.isLocal = isLocal
        }
    }

    struct PeerAddress: Hashable {
        var listener: Int
        var identity: [UInt8]
    }

    struct Connection {
        var address: PeerAddress
        var processID: UInt32 = 0
        var isLocal = false
        var userID = ""
        var outbox: [(header: [UInt8], payload: ZMQMessage?)] = []
    }

    let setup: RunSetup
    let logger: Logger
    let progress: ProgressDisplay
    let training: TrainingState
    var machine: CoordinatorStateMachine
    let writer: OutputWriter
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
    private(set) var connections: [PeerID: Connection] = [:]
    private var peerOf: [PeerAddress: PeerID] = [:]
    private var nextPeer: PeerID = 0
    var buffers: [BufferID: any PayloadBytes] = [:]
    private var nextBuffer: BufferID = 0
    /// Size and digest of prepared shards that are in the cache.
    var entries: [UInt32: (size: UInt64, digest: [UInt8])] = [:]
    var incoming: [UInt32: (file: IncomingFile, size: UInt64, digest: [UInt8])] = [:]
    var plan: RunPlan?
    var planBytes: [UInt8] = []
    var parameters: TrainingState.Broadcast?
    var end: RunEnd?
    /// What the process ends with: `InputError` for what the user gave, `StoppedEarly` for what can be resumed.
    var failure: (any Error)?
    var cadence: CheckpointCadence
    private var cacheWatch: CacheWatch
    private var probes: [Milliseconds] = []
    private var metrics: MetricsServer?
    /// When the last checkpoint was safe on disk.
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
        let fingerprint = NumericFingerprint.measure(.spacy2(TrainingSettings()))
        machine = CoordinatorStateMachine(
            .init(
                run: UInt64.random(in: 1 ... .max), description: setup.description.encoded(), lanes: options.settings.lanes,
                shards: zip(setup.index.shards, setup.keys).map { (UInt64($0.byteCount), $1) }, minimumWorkers: options.minWorkers,
                program: Version.current, blas: "\(fingerprint.coreName) \(fingerprint.configuration)", fingerprint: fingerprint.hash,
                strictBits: options.strictBits))
        context = try ZMQContext()
        socketFolder = options.workers > 0 ? try SocketFolder() : nil
        try listen(options)
        if let address = options.metrics {
            let server = try MetricsServer(address)
            metrics = server
            progress.say("metrics on http://\(server.address)/metrics")
        }
    }

    private func listen(_ options: RunOptions) throws {
        // A gradient with its bitmap, or a chunk: whatever is longer is cut off before it takes memory.
        let largest = max(training.layout.count * 33 / 8, WireLimits.chunk) + (1 << 20)
        if let bind = options.bind {
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
            let listener = try Listener(context, security: security, isLocal: false, largest: largest)
            let endpoint = try listener.socket.bind(bind)
            listeners.append(listener)
            progress.say("listening on \(endpoint)")
        }
        if let socketFolder {
            let listener = try Listener(context, security: .localOnly, isLocal: true, largest: largest)
            let endpoint = try listener.socket.bind(socketFolder.endpoint("t2v"))
            listeners.append(listener)
            workers = try LocalWorkers(
                count: options.workers, endpoint: endpoint, threads: options.threads, token: token, parameters: training.sharedDescriptor,
                gradientBytes: training.coding.maximumBytes, lanes: options.settings.lanes)
        }
    }

    /// Runs to the end.
    package func run() throws -> RunEnd {
        defer {
            workers?.stop()
            socketFolder?.remove()
            writer.end()
        }
        var events: [CoordinatorStateMachine.Event] = setup.keys.indices.compactMap { index in
            guard let entry = setup.cache.entry(setup.keys[index], schema: setup.schema) else { return nil }
            entries[UInt32(index)] = entry
            return .shardStored(UInt32(index))
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
            let waiting = connections.values.contains { !$0.outbox.isEmpty }
            let wait = now >= nextTick ? 0 : min(Int(nextTick - now), waiting ? 2 : 1000)
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
        if probes.contains(where: { now >= $0 }) {
            probes.removeAll { now >= $0 }
            for id in connections.keys { send(id, .probe) }
        }
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
            for (id, connection) in connections where !connection.isLocal && !gate.allow.contains(connection.userID) {
                say(.warning, "a worker's key is no longer allowed: its session ends")
                events.append(.peerLost(id, reason: "its key was revoked"))
                send(id, .refuse("the key was taken out of the allow-list"))
                drop(id)
            }
        }
        if workers?.keepFailing == true {
            throw StoppedEarly(
                InputError(
                    "local workers end as soon as they start", at: "t2v-worker",
                    remedy: "see their messages above, then \(goOn)"))
        }
        if machine.unpreparedCount > 0 {
            try cacheWatch.look(at: now, goOn: goOn)
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
                if let id = peerOf[PeerAddress(listener: index, identity: identity)] {
                    events.append(.peerLost(id, reason: "it sent a message that is none"))
                    forget(id)
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
            let id = peer(at: address)
            connections[id]?.userID = message.userID
            if case .hello(let hello) = decoded {
                connections[id]?.isLocal = listeners[index].isLocal
                connections[id]?.processID = hello.processID
                if listeners[index].isLocal && hello.localToken != token { return }
            }
            var payload: WorkerStateMachine.Payload?
            if let body = message.payload {
                nextBuffer += 1
                buffers[nextBuffer] = body
                payload = .init(buffer: nextBuffer, count: body.count, hash: 0)
                if case .contribution(let contribution) = decoded { payload?.hash = open(contribution, body, id) }
            }
            figuresForMetrics.bytesReceived += message.header.count + (message.payload?.count ?? 0)
            events.append(.message(id, decoded, payload: payload))
        } catch {
            refusedFrame(message.peerAddress, "\(error)")
            if let id = peerOf[address] {
                events.append(.peerLost(id, reason: "it sent a message that cannot be decoded"))
                forget(id)
            }
        }
    }

    /// Finds a gradient that stayed in a local worker's memory. - Returns: the hash of the payload: nobody damages what does not travel.
    private func open(_ contribution: Contribution, _ body: ZMQMessage, _ id: PeerID) -> UInt64 {
        guard let connection = connections[id], connection.isLocal, let reference = SharedReference(body.data) else {
            return Digest64.hash(body.data)
        }
        guard let payload = workers?.memory(ofProcess: connection.processID)?.payload(reference) else { return ~contribution.hash }
        buffers[nextBuffer] = payload
        return contribution.hash
    }

    private func peer(at address: PeerAddress) -> PeerID {
        if let id = peerOf[address] { return id }
        nextPeer += 1
        peerOf[address] = nextPeer
        connections[nextPeer] = Connection(address: address)
        return nextPeer
    }

    func forget(_ id: PeerID) {
        guard let connection = connections.removeValue(forKey: id) else { return }
        peerOf[connection.address] = nil
    }

    func handle(_ events: inout [CoordinatorStateMachine.Event]) {
        while !events.isEmpty && end == nil && failure == nil {
            let event = events.removeFirst()
            for effect in machine.handle(event, now: Startup.milliseconds()) { perform(effect, &events) }
        }
    }

    func send(_ id: PeerID, _ message: CoordinatorMessage, payload: ZMQMessage? = nil) {
        connections[id]?.outbox.append((message.encoded(), payload))
    }

    /// Messages that may wait for a peer: a lease for every lane at a time, their withdrawal, and what else there is.
    private var outboxLimit: Int { 1_024 + 2 * setup.options.settings.lanes }

    /// Sends what waits. A peer that cannot be reached is lost; one that takes nothing for too long, too.
    private func flush(_ events: inout [CoordinatorStateMachine.Event]) {
        for (id, connection) in connections where !connection.outbox.isEmpty {
            var sent = 0
            loop: for item in connection.outbox {
                switch listeners[connection.address.listener].socket.send(
                    to: connection.address.identity, header: item.header, payload: item.payload)
                {
                case .sent:
                    sent += 1
                    figuresForMetrics.bytesSent += item.header.count + (item.payload?.count ?? 0)
                case .unreachable:
                    events.append(.peerLost(id, reason: "its connection is gone"))
                    forget(id)
                    break loop
                default: break loop
                }
            }
            if connections[id] != nil { connections[id]?.outbox.removeFirst(sent) }
            if connection.outbox.count - sent > outboxLimit {
                events.append(.peerLost(id, reason: "it takes no messages"))
                forget(id)
            }
        }
    }

    private func watchConnections(_ index: Int) {
        while let event = listeners[index].socket.monitor.next() {
            switch event {
            case .disconnected:
                // libzmq tells its own thread first: ask at once and again a little later.
                for id in connections.keys { send(id, .probe) }
                probes += [20, 100, 500].map { Startup.milliseconds() + $0 }
            case .handshakeFailed(let failure, let endpoint):
                let text = "refused a connection to \(endpoint): \(failure)"
                if let text = repeated.admit(text, now: Startup.milliseconds()) { say(.warning, text) }
            default: break
            }
        }
    }

    private func collectChildren(_ events: inout [CoordinatorStateMachine.Event]) -> Bool {
        guard let ended = workers?.collect(), !ended.isEmpty else { return false }
        for (pid, how) in ended {
            for (id, connection) in connections where connection.isLocal && connection.processID == UInt32(pid) {
                events.append(.peerLost(id, reason: "its process ended (\(how))"))
                forget(id)
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

    /// Said once a minute for each address, with the reason of that one: strangers may send millions.
    private func refusedFrame(_ address: String, _ reason: String) {
        figuresForMetrics.refusals["frame", default: 0] += 1
        let text = "refused a message\(address.isEmpty ? "" : " from \(address)")"
        if let text = repeated.admit(text, now: Startup.milliseconds()) { say(.warning, "\(text): \(reason)") }
    }

    func say(_ level: Logger.Level, _ text: String) {
        guard let text = budget.admit(text, now: Startup.milliseconds()) else { return }
        progress.clearLine()
        logger.log(level: level, "\(text)")
    }

    /// Writes what is due, says goodbye and waits for the files.
    private func finish(_ end: RunEnd) throws -> RunEnd {
        if case .stopped = end { addCheckpoint(.required) }
        let (reason, final): (String, Bool)
        switch end {
        case .complete: (reason, final) = ("the run is complete", true)
        case .stopped: (reason, final) = ("the coordinator was stopped", false)
        }
        for id in connections.keys { send(id, .finish(reason: reason, final: final)) }
        var ignored: [CoordinatorStateMachine.Event] = []
        flush(&ignored)
        writer.drain()
        let news = writer.news()
        for warning in news.warnings { say(.warning, warning) }
        if let failure = news.failure { throw stopped(by: failure) }
        return end
    }

    /// How the run goes on after it has stopped.
    var goOn: String {
        setup.folder.contents == .run ? "resume with `t2v-coordinator resume \(setup.folder.path)`" : "start it again"
    }

    /// A file could not be written for long enough.
    func stopped(by failure: InputError) -> StoppedEarly {
        StoppedEarly(
            InputError(
                "stopped, since a file could not be written: \(failure.what)", at: failure.place, remedy: "\(failure.remedy), then \(goOn)")
        )
    }
}
