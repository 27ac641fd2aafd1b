// Gradients and their sums. In: orders, nodes that the state machine wants to send. Out: jobs for the compute threads, contributions.
import Base
import Numerics
import Protocol
import Run
import Synchronization
import Transport

/// The lanes of one update on this worker.
final class OpenUpdate: @unchecked Sendable {
    let round: Round
    let sums: LaneSums
    private let tree: ReductionTree
    private(set) var order: Order?
    /// Lanes that were started and are not finished.
    var unfinished: Set<LaneID> = []
    /// Contributions that were sent, with their gradients, which are sent again on request.
    var sent: [TreeNode: SentContribution] = [:]
    /// Nodes whose payloads are being written.
    var underWay: Set<TreeNode> = []
    /// Contributions whose lanes are being computed a second time.
    var waiting: [TreeNode: Contribution] = [:]
    private let lock = ThreadLock()
    /// Lanes that no thread has taken yet, and whether each must be computed by itself.
    private var queued: [LaneID: (work: LaneWork, isAlone: Bool)] = [:]

    init(_ round: Round, tree: ReductionTree, pool: GradientPool, groupLevel: UInt8) {
        (self.round, self.tree) = (round, tree)
        sums = LaneSums(tree: tree, pool: pool, groupLevel: groupLevel)
    }

    func queue(_ work: LaneWork, isAlone: Bool) { lock.withLock { queued[work.lane] = (work, isAlone) } }

    /// Takes a lane, with its neighbours if lanes are computed together; nil: another thread has taken it.
    func take(_ lane: LaneID) -> LaneGroup? {
        lock.lock()
        defer { lock.unlock() }
        guard let own = queued[lane] else { return nil }
        let node = own.isAlone ? TreeNode(lane: lane) : sums.group(around: lane) { queued[$0].map { !$0.isAlone } ?? false }
        return LaneGroup(node: node, tree: tree, lanes: tree.lanes(below: node).compactMap { queued.removeValue(forKey: $0)?.work })
    }

    /// Lanes that are sent as one sum can be added early: all those that no other worker holds.
    func expect(_ order: Order) {
        guard self.order != order else { return }
        self.order = order
        let apart = Set(order.leaves)
        sums.expect(tree.maximalNodes(covering: order.lanes.filter { !apart.contains($0) && $0.rawValue < tree.lanes }))
    }
}

/// A contribution that was sent: its gradient is kept until its update is over.
struct SentContribution {
    enum Gradient {
        case none
        case shared(SharedReference)
        case bytes(UnsafeRawBufferPointer, MessageBuffer)
    }

    let hash: UInt64
    /// Names the gradient if it has to be fetched.
    let number: UInt32
    let gradient: Gradient

    /// The bytes that the coordinator fetches: a gradient that is longer than a piece.
    private var fetched: (bytes: UnsafeRawBufferPointer, buffer: MessageBuffer)? {
        guard case .bytes(let bytes, let buffer) = gradient, bytes.count > WireLimits.piece else { return nil }
        return (bytes, buffer)
    }

    /// The message and its payload.
    func message(_ contribution: Contribution) -> (WorkerMessage, ZMQMessage?) {
        var contribution = contribution
        contribution.hash = hash
        if let fetched {
            (contribution.byteCount, contribution.number) = (UInt64(fetched.bytes.count), number)
            return (.contribution(contribution), nil)
        }
        switch gradient {
        case .none: return (.contribution(contribution), nil)
        case .shared(let reference): return (.contribution(contribution), try? ZMQMessage(reference.encoded()))
        case .bytes(let bytes, let buffer): return (.contribution(contribution), ZMQMessage(sharing: bytes, ownedBy: buffer))
        }
    }

    /// The requested piece; nil if another gradient is requested.
    func piece(_ request: FetchRequest) -> (Chunk, ZMQMessage)? {
        guard request.blob == .gradient(number), let fetched, let part = request.part(of: UInt64(fetched.bytes.count)) else { return nil }
        return (
            Chunk(blob: request.blob, offset: request.offset, total: UInt64(fetched.bytes.count)),
            ZMQMessage(sharing: UnsafeRawBufferPointer(rebasing: fetched.bytes[part]), ownedBy: fetched.buffer)
        )
    }
}

/// One payload that the compute threads are making: its parts are written, then hashed.
private final class EncodingWork: @unchecked Sendable {
    let encoding: PayloadEncoding
    let update: OpenUpdate
    let bytes: UnsafeMutableRawBufferPointer
    /// Parts of the current round that are not done.
    private let open: Atomic<Int>
    private(set) var length = 0
    private let lock = ThreadLock()
    private var digests: [UInt64] = []

    init(_ sum: GradientSum, of update: OpenUpdate, into bytes: UnsafeMutableRawBufferPointer, parts: Int) {
        (self.update, self.bytes) = (update, bytes)
        encoding = PayloadEncoding(sum, into: bytes, parts: parts)
        open = Atomic(parts)
    }

    var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<length]) }
    var hash: UInt64 { Digest64.combine(digests) }

    /// Runs both rounds of parts on the queue; `done` is called on the thread that finishes last.
    func run(on queue: JobQueue, done: @escaping () -> Void) {
        let parts = encoding.parts
        for part in 0..<parts {
            queue.add(.sum) { [self] _ in
                encoding.encode(part: part)
                guard open.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
                length = encoding.finish()
                digests = [UInt64](repeating: 0, count: Digest64.blockCount(length))
                open.store(parts, ordering: .releasing)
                for part in 0..<parts { queue.add(.sum) { [self] _ in hash(part: part, of: parts, done) } }
            }
        }
    }

    private func hash(part: Int, of parts: Int, _ done: () -> Void) {
        let count = digests.count
        let own = (count * part / parts..<count * (part + 1) / parts).map { ($0, Digest64.hash(block: $0, of: payload)) }
        lock.withLock { for (block, digest) in own { digests[block] = digest } }
        if open.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { done() }
    }
}

extension WorkerShell {
    /// The update of an order, or of a late contribution.
    private func openUpdate(_ round: Round) -> OpenUpdate? {
        if let update, update.round == round { return update }
        if let lateUpdate, lateUpdate.round == round { return lateUpdate }
        return nil
    }

    /// - Parameter isAlone: its own gradient is needed.
    func compute(_ order: Order, _ lane: LaneID, isAlone: Bool = false) {
        guard let work = lanes[lane], let parameters, parameters.round == order.round, let run, let plan = run.plan else { return }
        if order.purpose == .evaluate { return score(order.round, lane, work, parameters, run, plan) }
        let update = begin(order, run)
        update.unfinished.insert(lane)
        update.queue(work, isAlone: isAlone)
        let (generation, post, queue, pool) = (generation, poster(), queue, run.gradients)
        let sharesWeights = lanes.count > 1 || threads.count > 1
        // The longest first, so that the threads finish at about the same time. With many lanes they do so anyway, and neighbours should
        // be finished together, since they are added or even computed together.
        let cost = threads.count > 1 && order.lanes.count <= 8 * threads.count ? work.wordCount : 0
        queue.add(.gradient, cost: cost) { [weak self] thread in
            guard let (engine, builder) = thread.ready(for: run, plan, generation), let group = update.take(lane) else { return }
            let gradient = pool.take()
            guard let results = group.compute(order, parameters, builder, engine, sharesWeights: sharesWeights, into: gradient) else {
                return pool.give(gradient)
            }
            update.sums.add(group.node, gradient, isAbsent: results.allSatisfy { $0.selected == 0 })
            let next = order.updateInEpoch + 1
            let wraps = next >= plan.updates.updatesPerEpoch
            for (work, result) in zip(group.lanes, results) {
                post {
                    update.unfinished.remove(work.lane)
                    // A lane that was closed in the meantime does not count; if it is opened again, it is ordered again.
                    guard let self, self.lanes[work.lane] === work else { return nil }
                    self.retry(update)
                    return .computed(order.round, lane: work.lane, result)
                }
                queue.add(.ahead) { thread in
                    guard let (_, builder) = thread.ready(for: run, plan, generation) else { return }
                    work.buildAhead(
                        epoch: UInt64(order.epoch) + (wraps ? 1 : 0), updateInEpoch: wraps ? 0 : next, update: order.update + 1, builder)
                }
            }
        }
    }

    /// The sums to which the order's lanes are added.
    private func begin(_ order: Order, _ run: RunContext) -> OpenUpdate {
        if let update, update.round == order.round {
            update.expect(order)
            return update
        }
        // Once an update is over, only lanes that are still being computed can be needed.
        lateUpdate = update.flatMap { $0.unfinished.isEmpty ? nil : $0 }
        let settings = run.description.settings
        let level = LaneGroups.level(
            lanes: order.lanes.count, threads: threads.count, wordsPerLane: settings.wordsPerLane, spec: run.description.spec,
            precision: run.coding.precision)
        let made = OpenUpdate(order.round, tree: ReductionTree(lanes: settings.lanes), pool: run.gradients, groupLevel: level)
        made.expect(order)
        update = made
        return made
    }

    private func score(
        _ round: Round, _ lane: LaneID, _ work: LaneWork, _ parameters: ReceivedParameters, _ run: RunContext, _ plan: RunPlan
    ) {
        let (generation, post) = (generation, poster())
        queue.add(.gradient) { [weak self] thread in
            guard let evaluator = thread.evaluator(for: run, plan, generation), let result = work.score(parameters, evaluator) else {
                return
            }
            post { self?.lanes[lane] === work ? .computed(round, lane: lane, result) : nil }
        }
    }

    /// Makes the last additions of a node, encodes the sum and sends it, or a reference to it.
    func contribute(_ contribution: Contribution) {
        guard let run else { return }
        guard contribution.purpose == .train else { return post(.contribution(contribution)) }
        guard let update = openUpdate(contribution.round) else { return }
        let node = contribution.node
        if update.underWay.contains(node) { return }
        if let sent = update.sent[node] {
            let (message, payload) = sent.message(contribution)
            return post(message, payload: payload)
        }
        switch update.sums.sum(of: node) {
        // A lane without a selected token is absent: its losses show this as well as zeros would.
        case .empty: send(contribution, hash: 0, .none, of: update)
        case .sum(let sum): encode(sum, contribution, of: update, run)
        case .missing(let missing): computeAgain(missing, contribution, update)
        }
    }

    /// Lanes that were already added to others before they had to be sent separately: their own gradients are gone.
    private func computeAgain(_ missing: [LaneID], _ contribution: Contribution, _ update: OpenUpdate) {
        guard let order = update.order, update === self.update else { return }
        update.waiting[contribution.node] = contribution
        for lane in missing where lanes[lane] != nil && !update.unfinished.contains(lane) {
            compute(order, lane, isAlone: true)
        }
    }

    /// A lane was added: contributions that waited for it may be complete.
    private func retry(_ update: OpenUpdate) {
        guard !update.waiting.isEmpty else { return }
        let waiting = update.waiting
        update.waiting = [:]
        for contribution in waiting.values.ascending(\.node) { contribute(contribution) }
    }

    private func encode(_ sum: GradientSum, _ contribution: Contribution, of update: OpenUpdate, _ run: RunContext) {
        let room = contributionMemory?.room(update: contribution.update, byteCount: run.coding.maximumBytes)
        let buffer = room == nil ? pool.next() : nil
        guard let bytes = room?.bytes ?? buffer?.bytes else { return }
        update.underWay.insert(contribution.node)
        let work = EncodingWork(sum, of: update, into: bytes, parts: threads.count)
        let (inbox, begun) = (inbox, membership)
        work.run(on: queue) { [weak self] in
            inbox.post {
                guard let self else { return nil }
                // Even if the run has changed by now: the area is free again.
                let reference = room.flatMap { self.contributionMemory?.close($0, byteCount: work.length) }
                update.underWay.remove(contribution.node)
                guard self.membership == begun else { return nil }
                let gradient = reference.map(SentContribution.Gradient.shared) ?? buffer.map { .bytes(work.payload, $0) } ?? .none
                self.send(contribution, hash: work.hash, gradient, of: update)
                return nil
            }
        }
    }

    private func send(_ contribution: Contribution, hash: UInt64, _ gradient: SentContribution.Gradient, of update: OpenUpdate) {
        nextGradient &+= 1
        let sent = SentContribution(hash: hash, number: nextGradient, gradient: gradient)
        update.sent[contribution.node] = sent
        let (message, payload) = sent.message(contribution)
        post(message, payload: payload)
    }

    /// Sends a piece of a gradient, unless its update is over: then it is no longer needed.
    func servePiece(_ request: FetchRequest) {
        for sent in [update, lateUpdate].compactMap({ $0?.sent.values }).joined() {
            if let (chunk, payload) = sent.piece(request) { return post(.chunk(chunk), payload: payload) }
        }
    }
}
