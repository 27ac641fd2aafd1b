// A coordinator that lies to its worker. In: how many messages. Out: forged ones between honest ones, and whether the worker still works.
import Base
import CLinux
import Foundation
import Model
import Numerics
import Protocol
import Run
import Shards
import Text
import Transport

/// A small run that a worker really computes, so that lies reach a worker with open lanes, a plan and parameters.
struct HonestRun {
    let settings: TrainingSettings
    let description: String
    let plan: [UInt8]
    let updatesPerEpoch: UInt64
    let parameters: [UInt8]
    let parameterHash: UInt64
    private let model: VectorsModel
    private let vectors: VectorTable
    let texts: [[UInt8]]
    let shards: [[UInt8]]
    let keys: [CacheKey]

    /// - Parameter forgetsWords: the plan says that the first lane has no words, though its shard has documents.
    init(forgetsWords: Bool = false) throws {
        model = try VectorsModel(folder: Demo.vectors)
        guard let vectors = model.vectors else { throw InputError("no vectors", at: Demo.vectors, remedy: "") }
        self.vectors = vectors
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.batchSize, settings.lanes) = (16, 1, 100, 400, 2)
        (settings.vectorWidth, settings.vectorRows) = (vectors.width, vectors.rows)
        self.settings = settings
        let spec = ModelSpec.spacy2(settings)
        let schema = spec.schema
        let lines = try String(contentsOfFile: Demo.texts, encoding: .utf8).split(separator: "\n").prefix(80)
        texts = [lines.prefix(40), lines.suffix(40)].map { Array(($0.joined(separator: "\n") + "\n").utf8) }
        let preparer = ShardPreparer(model: model, schema: schema, minLength: settings.minLength, maxLength: settings.maxLength)
        shards = try texts.map { text in try text.withUnsafeBytes { try preparer.prepare(jsonl: $0) } }
        keys = texts.map { text in
            PreparedCache.key(
                text: SHA256.hash(text), modelDigest: "hostile", schema: schema, minLength: settings.minLength,
                maxLength: settings.maxLength)
        }
        var (counts, words, planned) = (WordCounts(), [UInt64](), Numbered<ShardID, RunPlan.PlannedShard>())
        for (index, bytes) in shards.enumerated() {
            let buffer = MessageBuffer(byteCount: bytes.count)
            buffer.bytes.copyBytes(from: bytes)
            let shard = try PreparedShard(bytes: UnsafeRawBufferPointer(buffer.bytes), owner: buffer, schema: schema, place: "test")
            counts.add(shard)
            words.append(UInt64(shard.tokens.count))
            planned.append(
                .init(
                    lane: LaneID(index), firstLine: UInt64(40 * index), key: keys[index], byteCount: UInt64(bytes.count),
                    digest: bytes.withUnsafeBytes(PreparedCache.digest)))
        }
        let frequent = counts.mostFrequent(100)
        if forgetsWords { words[0] = 0 }
        let updates = UpdatePlan(laneWords: words, batchSize: settings.batchSize)
        updatesPerEpoch = updates.updatesPerEpoch
        plan = try RunPlan(
            updates: updates, shards: planned,
            randomWords: RandomWordTable(words: frequent.map(\.features), counts: frequent.map(\.count)),
            maskWord: model.features(of: "[MASK]", schema: schema)
        ).encoded()
        let layout = ParameterLayout(spec: spec)
        let floats = UnsafeMutablePointer<Float>.allocate(capacity: layout.count)
        defer { floats.deallocate() }
        layout.initialize(floats, seed: 1)
        parameters = Array(UnsafeRawBufferPointer(start: floats, count: layout.count * 4))
        parameterHash = parameters.withUnsafeBytes { Digest64.hash(blocks: $0) }
        let files = model.bundleFiles.map { file in
            RunDescription.File(name: file.name, byteCount: UInt64(FileManager.default.contents(atPath: file.path)?.count ?? 0))
        }
        description = try RunDescription(settings: settings, spec: spec, modelFiles: files, modelDigest: model.digest).encoded()
    }

    func order(_ run: UInt64, update: UInt64, roster: UInt32) -> Order {
        Order(
            run: run, roster: roster, update: update, epoch: UInt32(update / updatesPerEpoch), updateInEpoch: update % updatesPerEpoch,
            parameterHash: parameterHash, lanes: [0, 1], leaves: [])
    }

    /// The bytes of a blob.
    func bytes(_ request: FetchRequest) -> [UInt8]? {
        switch request.blob {
        case .model(let number):
            Int(number) < model.bundleFiles.count
                ? FileManager.default.contents(atPath: model.bundleFiles[Int(number)].path).map(Array.init) : nil
        case .text(let shard): shard.rawValue < texts.count ? texts[shard.rawValue] : nil
        case .prepared(let shard): shard.rawValue < shards.count ? shards[shard.rawValue] : nil
        case .plan: plan
        case .rows: request.rows.flatMap { Array(UnsafeRawBufferPointer(start: vectors.row(Int($0)), count: vectors.width * 4)) }
        case .parameters: parameters
        case .gradient: nil
        }
    }
}

final class HostileCoordinator {
    private let context: ZMQContext
    private let socket: RouterSocket
    let endpoint: String
    private let honest: HonestRun
    private var figures: Figures
    private var identity: [UInt8]?
    private var run: UInt64 = 1
    private var update: UInt64 = 0
    private var roster: UInt32 = 0
    private var sessions = 0
    /// What the worker said and did.
    private(set) var hellos = 0, prepared = 0, lanesReady = 0, contributions = 0, troubles = 0

    init(seed: UInt64, forgetsWords: Bool = false) throws {
        context = try ZMQContext()
        socket = try RouterSocket(context, limits: SocketLimits(), security: .insecure)
        endpoint = try socket.bind("tcp://127.0.0.1:*")
        honest = try HonestRun(forgetsWords: forgetsWords)
        figures = Figures(random: SeededGenerator(state: seed))
    }

    /// - Returns: how many forged messages went out while the worker ran.
    func lie(_ count: Int, while isRunning: () -> Bool) -> Int {
        var sent = 0
        // It is honest first, so that lies reach open lanes, a plan and parameters.
        _ = getsWorkDone(while: isRunning)
        while sent < count, isRunning() {
            listen(lies: true)
            guard identity != nil else {
                usleep(1_000)
                continue
            }
            for _ in 0..<16 {
                let message = figures.coordinatorMessage(run)
                if send(message, figures.chance(3) ? figures.payload() : nil) { sent += 1 }
            }
            if figures.chance(4) { beHonest() }
            // A new session takes the lanes away: they are given back before the next lies.
            if hellos != sessions {
                sessions = hellos
                for _ in 0..<40 {
                    beHonest()
                    listen(lies: false)
                    usleep(2_000)
                }
            }
        }
        return sent
    }

    /// Whether the worker computes an update that is ordered as it should be.
    func getsWorkDone(while isRunning: () -> Bool) -> Bool {
        run += 1
        _ = send(.sayHello, nil)
        let (before, end) = (contributions, Date(timeIntervalSinceNow: 60))
        while contributions == before, isRunning(), Date() < end {
            beHonest()
            for _ in 0..<20 {
                listen(lies: false)
                usleep(5_000)
            }
        }
        return contributions > before
    }

    private func beHonest() {
        for (index, text) in honest.texts.enumerated() where figures.chance(8) {
            _ = send(.prepare(shard: ShardID(index), textBytes: UInt64(text.count), key: honest.keys[index]), nil)
        }
        for lane in [0, 1] as [LaneID] { _ = send(.lease(lane: lane, planBytes: UInt64(honest.plan.count)), nil) }
        if figures.chance(3) { update += 1 }
        roster += 1
        _ = send(.begin(honest.order(run, update: update, roster: roster)), honest.parameters)
    }

    private func send(_ message: CoordinatorMessage, _ payload: [UInt8]?) -> Bool {
        guard let identity else { return false }
        let body = payload.flatMap { try? ZMQMessage($0) }
        for _ in 0..<2_000 {
            switch socket.send(to: identity, header: message.encoded(), payload: body) {
            case .sent: return true
            case .unreachable:
                self.identity = nil
                return false
            case .wouldBlock: usleep(500)
            }
        }
        return false
    }

    private func listen(lies: Bool) {
        while let event = socket.receive() {
            guard case .message(let message) = event,
                let decoded = try? message.header.withUnsafeBytes({ try WorkerMessage(header: $0) })
            else { continue }
            identity = message.identity
            switch decoded {
            case .hello(let hello):
                hellos += 1
                if lies, figures.chance(4) { run += 1 }
                _ = send(.welcome(run: run, session: hello.session, description: honest.description), nil)
            case .fetch(let request):
                guard let bytes = honest.bytes(request), let part = request.part(of: UInt64(bytes.count)) else { continue }
                var chunk = Chunk(blob: request.blob, offset: request.offset, total: UInt64(bytes.count))
                var payload = Array(bytes[part])
                if lies, figures.chance(6) { (chunk.offset, chunk.total) = (figures.u64(), figures.u64()) }
                if lies, figures.chance(10) { payload[figures.below(payload.count)] ^= 0x40 }
                _ = send(.chunk(chunk), payload)
            case .prepared: prepared += 1
            case .laneReady: lanesReady += 1
            case .contribution: contributions += 1
            case .trouble: troubles += 1
            default: break
            }
        }
    }
}
