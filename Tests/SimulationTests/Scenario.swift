// What one seed means. In: a seed. Out: the size of the run, the network's behaviour and the faults with their times.
import Base
import Protocol

/// Something that goes wrong at some time; whom it hits is drawn when it happens.
enum Fault: CaseIterable {
    case killWorker, killAllWorkers, startWorker, pauseWorker, cutConnection, partitionWorker, troubleWorker, hangWorker, cleanDisk
    case crashCoordinator, stopCoordinator, pauseCoordinator
}

struct Scenario {
    let seed: UInt64
    var lanes: Int
    var shards: Int
    var updates: Int
    var updatesPerEpoch: Int
    var workers: Int
    var threads: [Int]
    var minimumWorkers = 1
    var times = ProtocolTimes()
    var latency: ClosedRange<Int>
    var tick: Int
    var checkpointEvery: Int
    /// Chances per message while faults are on.
    var loss = 0.0, duplication = 0.0, reordering = 0.0, damage = 0.0
    /// Chance that the coordinator's shell notices a lost connection, instead of finding out by silence.
    var notices: Double
    /// How many times slower each worker computes.
    var slowness: [Int]
    /// A worker whose numbers differ, with strict bits: it must be refused.
    var foreigner: Int?
    /// A worker that gets its gradients wrong.
    var brokenWorker: Int?
    var faults: [(time: Milliseconds, fault: Fault)] = []
    /// Faults that strike this many milliseconds after the first order of an update.
    var faultsInUpdates: [UInt64: [(delay: Int, fault: Fault)]] = [:]
    /// The same for evaluations, by the version that is scored.
    var faultsInEvaluations: [UInt64: [(delay: Int, fault: Fault)]] = [:]
    var faultsEnd: Milliseconds = 0
    /// Updates between two evaluations; nil: none.
    var evaluateEvery: Int?
    /// The version whose evaluation ends the run.
    var earlyEnd: UInt64?

    /// Once faults have stopped, the run must be done within this time: the longest pause, partition, silence, retry and deadline one after
    /// another, with all the work done by the slowest worker alone.
    var patience: Milliseconds {
        let rounds = updates + (evaluateEvery.map { updates / $0 } ?? 0)
        let work = shards * 400 + rounds * (lanes * 120 + 3 * latency.upperBound + 100)
        return 150_000 + Milliseconds(work * (slowness.max() ?? 1))
    }

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        lanes = random.chance(0.1) ? random.pick(1...2) : random.pick(3...8)
        shards = random.pick(5...20)
        updates = random.pick(5...15)
        updatesPerEpoch = random.pick(2...6)
        workers = random.pick(1...5)
        threads = (0..<workers).map { _ in random.pick(1...3) }
        latency = random.pick([0...0, 0...3, 1...20, 5...200]) ?? 0...1
        tick = random.pick(50...250)
        checkpointEvery = random.pick(1...4)
        notices = random.pick([0, 0.5, 1]) ?? 1
        slowness = (0..<workers).map { _ in random.chance(0.15) ? random.pick(3...20) : 1 }
        (times.prepare, times.opening) = (20_000, 30_000)
        if workers > 1, random.chance(0.2) { minimumWorkers = 2 }
        if workers > 1, random.chance(0.15) {
            foreigner = random.pick(0...workers - 1)
            minimumWorkers = 1
        }
        if workers > 1, seed % 16 == 5 {
            // One worker is late repeatedly, so that lanes are leased twice, and one computes wrongly.
            brokenWorker = random.pick(0...workers - 1)
            slowness[random.pick(0...workers - 1)] = 60
            (foreigner, minimumWorkers) = (nil, 2)
        }
        if seed % 4 == 0 {
            // Like a proxy at the level of ZeroMQ.
            loss = random.chance(0.7) ? Double(random.pick(1...15)) / 100 : 0
            duplication = random.chance(0.5) ? Double(random.pick(1...20)) / 100 : 0
            reordering = random.chance(0.5) ? Double(random.pick(1...30)) / 100 : 0
        }
        if seed % 5 == 0 { damage = Double(random.pick(1...5)) / 100 }
        drawFaults(&random)
        drawEvaluations()
    }

    /// Two of three seeds score versions. It has draws of its own, so that the rest of a seed's scenario does not change.
    private mutating func drawEvaluations() {
        guard seed % 3 != 1 else { return }
        var random = SeededGenerator(seed: seed ^ 0x5C0_2E)
        let every = random.pick(1...4)
        evaluateEvery = every
        if random.chance(0.2) { earlyEnd = UInt64(random.pick(1...max(1, updates / every)) * every) }
        guard seed % 8 != 1 else { return }
        for version in (1...updates).map(UInt64.init) where isScored(version) && random.chance(0.4) {
            guard let fault = random.pick(Fault.allCases) else { continue }
            faultsInEvaluations[version] = [(random.pick(0...150), fault)]
        }
    }

    /// Whether the evaluation of a version is due: at a fixed number of updates, and at the end.
    func isScored(_ version: UInt64) -> Bool {
        guard let evaluateEvery, version > 0 else { return false }
        return version % UInt64(evaluateEvery) == 0 || version == UInt64(updates)
    }

    private mutating func drawFaults(_ random: inout SeededGenerator) {
        let span = random.pick(2_000...25_000)
        faultsEnd = Milliseconds(span)
        // A few kinds per seed: a mixture of everything would hide the effect of each.
        let kinds = Fault.allCases.filter { _ in random.chance(0.35) }
        guard !kinds.isEmpty, seed % 8 != 1 else { return }
        for _ in 0..<random.pick(1...12) {
            guard let kind = random.pick(kinds) else { continue }
            if random.chance(0.5) {
                faults.append((Milliseconds(random.pick(0...span)), kind))
            } else {
                faultsInUpdates[UInt64(random.pick(0...updates - 1)), default: []].append((random.pick(0...150), kind))
            }
        }
        faults.sort { $0.time < $1.time }
    }

    /// Bytes of things that are shipped.
    func size(of blob: BlobID) -> UInt64 {
        let bits = SeededGenerator.mix(seed ^ 0xB10B)
        func draw(_ number: UInt64, _ limit: UInt64) -> UInt64 { SeededGenerator.mix(bits ^ number) % limit + 1 }
        let chunk = UInt64(WireLimits.chunk)
        switch blob {
        case .model(let n): return draw(UInt64(n) + 100, 2 * chunk)
        case .text(let n): return draw(UInt64(n.rawValue) + 200, 3 * chunk)
        case .prepared(let n): return draw(UInt64(n.rawValue) + 300, 3 * min(chunk, size(of: .text(n))))
        case .plan: return draw(400, 2 * chunk)
        case .rows(let n): return draw(UInt64(n) + 500, chunk / UInt64(Self.bytesPerRow)) * UInt64(Self.bytesPerRow)
        // A few pieces, or one: then they come with the order.
        case .parameters: return draw(600, 20 * UInt64(WireLimits.piece))
        // Half of them come with the contribution.
        case .gradient: return draw(700, draw(701, 2) * 10 * UInt64(WireLimits.piece) - 9 * UInt64(WireLimits.piece))
        }
    }

    static let bytesPerRow = 4_096

    /// What workers may fetch.
    func artifacts(prepared: Set<ShardID>) -> ArtifactServer {
        var server = ArtifactServer(
            modelFiles: [size(of: .model(0)), size(of: .model(1))], texts: (0..<ShardID(shards)).map { size(of: .text($0)) },
            vectorRows: 1_000, bytesPerRow: Self.bytesPerRow)
        for shard in prepared { server.add(preparedShard: shard, byteCount: size(of: .prepared(shard))) }
        return server
    }

    /// Words of each lane's held-out documents.
    var heldOutWords: [UInt64] { [UInt64](repeating: evaluateEvery == nil ? 0 : 1_000, count: lanes) }

    /// More than any lane has in an epoch, by `FakeMath.figures`.
    var laneWords: [UInt64] { [UInt64](repeating: 1_000 * UInt64(updates), count: lanes) }

    func digest(_ shard: ShardID) -> ShardDigest { ShardDigest(UInt64(shard.rawValue)) }
    func shards(ofLane lane: LaneID) -> [ShardID] { (0..<ShardID(shards)).filter { $0.rawValue % lanes == lane.rawValue } }
}
