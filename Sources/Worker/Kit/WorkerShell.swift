// The worker's event loop: one thread owns the socket and drives the state machine. In: messages, finished work. Out: messages, jobs.
import Base
import CLinux
import Glibc
import Logging
import Model
import Numerics
import Protocol
import Run
import Synchronization
import Text
import Transport

/// The options of the command line.
package struct WorkerOptions {
    var endpoint: String
    var threads: Int
    var cache: String?
    var security: ClientSecurity
    /// The secret of a worker that the coordinator started; otherwise 0.
    var localToken: UInt64
    /// Descriptors of the memory that is shared with the coordinator.
    var shared: (parameters: Int32, gradients: Int32)?
    /// Wait for another run when one is over, and for an absent coordinator as long as it takes.
    var stays: Bool

    package init(
        endpoint: String, threads: Int, cache: String?, security: ClientSecurity, localToken: UInt64,
        shared: (parameters: Int32, gradients: Int32)?, stays: Bool
    ) {
        (self.endpoint, self.threads, self.cache, self.security) = (endpoint, threads, cache, security)
        (self.localToken, self.shared, self.stays) = (localToken, shared, stays)
    }
}

/// Why there is no answer: one thread finds out, and the thread that owns the socket reports it.
private final class Diagnosis: Sendable {
    let reason = Mutex<String?>(nil)
}

/// How a worker ends.
package enum WorkerEnd {
    case finished(String)
    case refused(String)
    case stopped
    /// No coordinator welcomed it for `WorkerPatience.limit`; what is known about the reason.
    case gaveUp(String)
    /// Nothing has succeeded on this host for `JobPatience.limit`; what failed last.
    case unable(String)
}

/// Runs one worker until it is told to leave.
package final class WorkerShell {
    private let socket: DealerSocket
    private let context: ZMQContext
    private let options: WorkerOptions
    private let logger: Logger
    let inbox: EventInbox
    let queue = JobQueue()
    private(set) var threads: [ComputeThread] = []
    private let signals: SignalWatcher
    private var machine: WorkerStateMachine
    var buffers: [BufferID: any PayloadBytes] = [:]
    private var nextBuffer: BufferID = 0
    let blobs = BlobStore()
    var run: RunContext?
    var generation = 0
    /// Counts welcomes: results of work that was started before the last one are dropped.
    private(set) var membership = 0
    var lanes: [LaneID: LaneWork] = [:]
    var parameters: ReceivedParameters?
    /// The sums of the last ordered update, and of the one before if some of its lanes are still being computed.
    var update: OpenUpdate?
    var lateUpdate: OpenUpdate?
    var arriving: ArrivingParameters?
    /// Keys of shards that were prepared or looked up here.
    var preparedKeys: [ShardID: CacheKey] = [:]
    /// Vector rows that were requested, with the lane that waits for them.
    var rowLists: [UInt32: (lane: LaneID, rows: [UInt32])] = [:]
    var nextRowList: UInt32 = 0
    /// Counts the gradients that were sent.
    var nextGradient: UInt32 = 0
    /// Buffers for gradients that are sent in messages.
    var pool = MessageBufferPool(byteCount: 0)
    /// Memory shared with the coordinator that started this worker.
    private let parameterMemory: SharedMemory?
    let contributionMemory: ContributionMemory?
    /// Messages that wait for a connection: beyond the limit only the newest are kept.
    private static let (outboxLimit, outboxRest) = (64, 16)
    private var outbox: [(header: [UInt8], payload: ZMQMessage?)] = []
    private var end: WorkerEnd?
    private var saidUnreachable = false
    private let diagnosis = Diagnosis()
    private var watch = ConnectionWatch()
    private var patience = WorkerPatience(now: Startup.milliseconds())
    private var jobPatience = JobPatience()
    private var repeated = RepeatedMessages()
    private var budget = LogBudget()

    package init(_ options: WorkerOptions, logger: Logger) throws(InputError) {
        self.options = options
        self.logger = logger
        signals = try SignalWatcher([SIGTERM, SIGINT], exitOnSecond: 75)
        inbox = try EventInbox()
        parameterMemory = try options.shared.map { descriptors throws(InputError) in try SharedMemory(descriptor: descriptors.parameters) }
        contributionMemory = try options.shared.map { descriptors throws(InputError) in
            ContributionMemory(try SharedMemory(descriptor: descriptors.gradients))
        }
        context = try ZMQContext()
        let limits = SocketLimits(largestFrameBytes: WireLimits.frame).slowed(by: Startup.timeFactor)
        socket = try DealerSocket(context, limits: limits, security: options.security)
        machine = WorkerStateMachine(
            hello: Hello(
                program: Version.current, host: Startup.hostName, processID: UInt32(getpid()), threads: UInt16(options.threads),
                blas: "\(MatrixMultiply.coreName) \(MatrixMultiply.configuration)", fingerprints: NumericFingerprint.all(),
                localToken: options.localToken,
                instance: UInt64.random(in: 1 ... .max)),
            times: ProtocolTimes().slowed(by: Startup.timeFactor))
        try socket.connect(options.endpoint)
        for number in 0..<options.threads { threads.append(try ComputeThread(queue: queue, name: "compute \(number)")) }
    }

    package func loop() throws(InputError) -> WorkerEnd {
        var poller = Poller()
        let socketSlot = poller.add(socket)
        let monitorSlot = poller.add(socket.monitor)
        _ = poller.add(descriptor: inbox.wake.descriptor)
        _ = poller.add(descriptor: signals.event.descriptor)
        // A local worker's standard input is a pipe from the coordinator: its end means leave.
        let parentSlot = options.localToken != 0 ? poller.add(descriptor: 0) : nil
        var nextTick = Startup.milliseconds()
        var events: [WorkerStateMachine.Event] = [.tick]
        while true {
            handle(&events)
            flush()
            if let end {
                queue.end()
                return end
            }
            let now = Startup.milliseconds()
            let wait = now >= nextTick ? 0 : Int(nextTick - now)
            _ = try poller.wait(timeoutMilliseconds: outbox.isEmpty ? wait : min(wait, 5))
            signals.event.drain()
            if signals.stopRequests > 0 {
                events.append(.stopRequested)
                continue
            }
            if let parentSlot, poller.isReadable(parentSlot) || poller.hasHungUp(parentSlot) {
                end = .finished("the coordinator has ended")
                continue
            }
            if poller.isReadable(monitorSlot) { watchConnection() }
            if poller.isReadable(socketSlot) { receive(&events) }
            for item in inbox.drain() {
                guard let event = item() else { continue }
                events.append(event)
                handle(&events)
            }
            if Startup.milliseconds() >= nextTick {
                nextTick = Startup.milliseconds() + 200
                // libzmq does not try again after it was refused; but the key may be allowed later.
                if watch.needsReconnect(now: Startup.milliseconds()) { try socket.reconnect() }
                events.append(.tick)
                waitOrGiveUp(Startup.milliseconds())
            }
        }
    }

    private func receive(_ events: inout [WorkerStateMachine.Event]) {
        // A limited number at a time, so that a stream of chunks does not starve finished work.
        for _ in 0..<64 {
            guard let event = socket.receive() else { return }
            switch event {
            case .malformed(let reason): say(.warning, "refused a message: \(reason)")
            case .message(let header, let payload):
                do {
                    let message = try header.withUnsafeBytes { bytes throws(WireError) in try CoordinatorMessage(header: bytes) }
                    events.append(.message(message, payload: payload.map(hold)))
                } catch {
                    say(.warning, "refused a message: \(error)")
                }
            }
            // The state machine handles each chunk before the next is read: it counts the requests in flight.
            handle(&events)
        }
    }

    /// Logs at a limited rate, whatever a coordinator sends.
    private func say(_ level: Logger.Level, _ text: String) {
        if let text = budget.admit(text, now: Startup.milliseconds()) { logger.log(level: level, "\(text)") }
    }

    private func hold(_ message: ZMQMessage) -> Payload {
        nextBuffer += 1
        buffers[nextBuffer] = message
        return .init(buffer: nextBuffer, count: message.count, hash: 0)
    }

    private func handle(_ events: inout [WorkerStateMachine.Event]) {
        while !events.isEmpty {
            var event = events.removeFirst()
            if case .message(.begin(let order), var payload?) = event, let message = buffers[payload.buffer] {
                // Parameters in the coordinator's memory were not sent, so they cannot be damaged.
                if reference(in: message) != nil {
                    payload.hash = order.parameterHash
                } else {
                    payload.hash = Digest64.hash(blocks: message.data)
                    if let expected = run?.parameterCoding.byteCount, message.count != expected {
                        payload.fault = "\(message.count) bytes where the model has \(expected)"
                    }
                }
                event = .message(.begin(order), payload: payload)
            }
            let now = Startup.milliseconds()
            noteFailure(event, now)
            for effect in machine.handle(event, now: now) { perform(effect, &events) }
        }
    }

    private func reference(in payload: any PayloadBytes) -> SharedReference? {
        parameterMemory == nil ? nil : SharedReference(payload.data)
    }

    func post(_ message: WorkerMessage, payload: ZMQMessage? = nil) { outbox.append((message.encoded(), payload)) }

    private func flush() {
        while let next = outbox.first {
            switch socket.send(header: next.header, payload: next.payload) {
            case .sent: outbox.removeFirst()
            default:
                // No connection: the state machine's reminders repeat what was meant for the old one.
                // A coordinator that is connected is only slower than this burst; what is dropped now would be repeated seconds later.
                let limit = watch.isUp ? WireLimits.waiting(lanes: lanes.count) : Self.outboxLimit
                if outbox.count > limit { outbox.removeFirst(outbox.count - Self.outboxRest) }
                return
            }
        }
    }

    /// Logs failures on this host, and ends the worker if nothing succeeds, unless the user wants it to stay. A local worker leaves that
    /// to its coordinator, which sees the same disk.
    private func noteFailure(_ event: WorkerStateMachine.Event, _ now: Milliseconds) {
        if let what = event.failure, let text = repeated.admit(what, now: now) { say(.error, text) }
        guard let reason = jobPatience.note(event, now: now), !options.stays, options.localToken == 0 else { return }
        post(.leaving)
        end = .unable(reason)
    }

    /// Ends the worker if no coordinator welcomes it for a long time, unless the user wants it to stay.
    private func waitOrGiveUp(_ now: Milliseconds) {
        if let reason = diagnosis.reason.withLock({ $0.take() }), !watch.isUp {
            logger.info("no coordinator at \(options.endpoint) yet; retrying (\(reason))")
        }
        patience.note(isWell: watch.isUp && machine.isMember, now: now)
        guard !options.stays, options.localToken == 0, patience.isOver(now: now) else { return }
        end = .gaveUp(reasonForSilence)
    }

    /// Why no coordinator welcomes the worker, as far as this is known.
    private var reasonForSilence: String {
        if let failure = watch.failure { return "\(failure)" }
        return (try? Endpoint(options.endpoint))?.diagnosis() ?? "no answer"
    }

    /// Reports once, as soon as it is known, why there is no answer. Another thread finds out: resolving names may take seconds.
    private func explainSilence() {
        guard !saidUnreachable else { return }
        saidUnreachable = true
        let (diagnosis, endpoint) = (diagnosis, options.endpoint)
        // If no thread can be started, the reason remains unknown.
        try? startThread("diagnosis") {
            let reason = (try? Endpoint(endpoint))?.diagnosis() ?? "no answer"
            diagnosis.reason.withLock { $0 = reason }
        }
    }

    private func watchConnection() {
        while let event = socket.monitor.next() {
            let wasUp = watch.isUp
            watch.note(event, now: Startup.milliseconds())
            switch event {
            case .handshakeFailed(let failure, let endpoint):
                let text = "\(endpoint): the coordinator cannot be joined: \(failure)"
                if let text = repeated.admit(text, now: Startup.milliseconds()) { logger.error("\(text)") }
            case .handshakeSucceeded(let endpoint):
                saidUnreachable = false
                repeated.forget()
                logger.info("connected to \(endpoint)")
            case .connectRetried: explainSilence()
            case .disconnected(let endpoint):
                if wasUp { logger.warning("lost the connection to \(endpoint); connecting again") }
                outbox = []
            default: break
            }
        }
    }

    private func perform(_ effect: WorkerStateMachine.Effect, _ events: inout [WorkerStateMachine.Event]) {
        switch effect {
        case .send(let message): post(message)
        case .join(let run, let text): join(run, text, &events)
        case .locate(let job, let ticket): locate(job, ticket, &events)
        case .store(let chunk, let buffer): store(chunk, buffer, &events)
        case .perform(let job): start(job, &events)
        case .closeLane(let lane): lanes[lane] = nil
        case .useParameters(let round, let buffer): use(buffer, round)
        case .hashParameters(let round): events.append(.parametersCame(round, hash: arriving?.hash ?? 0))
        case .useStoredParameters(let round): useStored(round)
        case .compute(let order, let lane): compute(order, lane)
        case .contribute(let contribution): contribute(contribution)
        case .forget: queue.drop(.gradient)
        case .serve(let request): serve(request)
        case .release(let buffer): buffers[buffer] = nil
        case .log(let text): say(.warning, text)
        case .leave(let reason, let departure): leave(reason, departure)
        }
    }

    private func leave(_ reason: String, _ departure: WorkerStateMachine.Departure) {
        switch departure {
        case .refused: end = .refused(reason)
        case .stopped: end = .stopped
        case .finished where !options.stays: end = .finished(reason)
        case .finished, .paused:
            say(.info, "\(reason); waiting for \(departure == .paused ? "the coordinator to come back" : "another run")")
            run = nil
            (update, lateUpdate) = (nil, nil)
            lanes = [:]
        }
    }

    private func join(_ number: UInt64, _ text: String, _ events: inout [WorkerStateMachine.Event]) {
        blobs.removeAll()
        membership += 1
        lanes = [:]
        (parameters, update, lateUpdate) = (nil, nil, nil)
        rowLists = [:]
        queue.drop(.gradient)
        queue.drop(.prepare)
        queue.drop(.ahead)
        do {
            let description = try RunDescription.decode(text)
            try checkSize(description)
            if run?.run != number {
                let folder = options.localToken != 0 ? description.local?.cache : nil
                let cache = try folder.map { folder throws(InputError) in try PreparedCache(folder: folder) } ?? ownCache()
                run = RunContext(run: number, description: description, cache: cache, isLocal: options.localToken != 0)
                // The coordinator says it of its own host.
                if options.localToken == 0, let warning = description.spec.arithmetic.warning { say(.warning, warning) }
                generation += 1
                preparedKeys = [:]
                pool = MessageBufferPool(byteCount: run?.coding.maximumBytes ?? 0)
                arriving = nil
            }
            let byteCount = run?.parameterCoding.byteCount ?? 0
            events.append(.joined(lanes: description.settings.lanes, parameterBytes: UInt64(byteCount)))
            say(.info, "joined run \(String(number, radix: 16)): \(description.settings.lanes) lanes")
        } catch {
            events.append(.cannotJoin("\(error)"))
        }
    }

    /// Refuses a model that does not fit into this host's memory.
    private func checkSize(_ description: RunDescription) throws(InputError) {
        let layout = ParameterLayout(spec: description.spec)
        // The received parameters, and a gradient.
        let (needed, memory) = (2 * layout.count * MemoryLayout<Float>.size, Startup.memoryBytes)
        guard needed <= memory else {
            throw InputError(
                "the model has \(layout.count) parameters, which need \(needed >> 20) MiB here; this host has \(memory >> 20)",
                at: "this host", remedy: "use a smaller model or a larger host")
        }
    }

    private func ownCache() throws(InputError) -> PreparedCache {
        if let folder = options.cache { return try PreparedCache(folder: folder) }
        return try PreparedCache.standard(fallback: "/tmp/t2v-cache-\(getuid())")
    }

    private func use(_ buffer: BufferID, _ round: Round) {
        guard let message = buffers.removeValue(forKey: buffer), let run else { return }
        let coding = run.parameterCoding
        if let memory = parameterMemory, let reference = reference(in: message), let bytes = memory.payload(reference) {
            parameters = ReceivedParameters(round: round, bytes: bytes, coding: coding, shared: (reference, memory))
        } else {
            parameters = ReceivedParameters(round: round, bytes: message, coding: coding, shared: nil)
        }
        if parameters == nil { say(.error, "the parameters of update \(round.update) do not fit this model's layout") }
    }

    private func useStored(_ round: Round) {
        guard let message = arriving?.message, let run else { return }
        parameters = ReceivedParameters(round: round, bytes: message, coding: run.parameterCoding, shared: nil)
    }

    func serve(_ request: FetchRequest) {
        if case .gradient = request.blob { return servePiece(request) }
        guard case .prepared(let shard) = request.blob, let key = preparedKeys[shard], let (bytes, owner) = run?.cache.contents(key),
            let part = request.part(of: UInt64(bytes.count))
        else { return }
        post(
            .chunk(Chunk(blob: request.blob, offset: request.offset, total: UInt64(bytes.count))),
            payload: ZMQMessage(sharing: UnsafeRawBufferPointer(rebasing: bytes[part]), ownedBy: owner))
    }

    /// A function with which compute threads report: results of an earlier membership are dropped on arrival.
    func poster() -> (@escaping EventInbox.News) -> Void {
        let (inbox, begun) = (inbox, membership)
        return { [weak self] item in inbox.post { self?.membership == begun ? item() : nil } }
    }

}
