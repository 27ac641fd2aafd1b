// What coordinator and workers say to each other. Each value is one header frame; some are followed by one payload frame.
import Base

/// Fixed numbers of the wire.
package enum WireLimits {
    /// First bytes of every header frame: "T2V" and the protocol's version.
    package static let magic: UInt32 = 0x0556_3254
    /// The part of it that no version changes.
    static let anyVersion: UInt32 = 0x00FF_FFFF
    /// Raised when a frame or its meaning changes.
    package static let version: UInt16 = 5
    /// Largest payload that a fetch asks for, in bytes: small enough that small messages pass between two chunks on a slow link.
    package static let chunk = 1 << 20
    /// Parameters and gradients travel in pieces of this many bytes, the blocks of their hash: each is hashed as it comes, and small
    /// messages pass between.
    package static let piece = Digest64.block
    /// Peers that are sent parameters at a time: one would leave the link idle while its last pieces are acknowledged.
    package static let served = 2
    /// Most lanes, list elements and text that one header frame carries.
    package static let list = 1 << 16
    package static let text = 4096
    /// Largest header frame, in bytes.
    package static let header = 1 << 20
    /// Chunks one side asks for before the first has come: the back-pressure.
    package static let window = 8
    /// Largest text of a shard, and largest plan, in bytes: a worker holds them in memory.
    package static let shardText: UInt64 = 16 << 20
    package static let plan: UInt64 = 1 << 30
    /// Longest frame of all, in bytes.
    package static let frame = max(header, chunk)
}

/// A thing that is shipped in chunks.
package enum BlobID: Hashable, Sendable {
    /// A file of the vectors model that tokenizing needs, by its number in the welcome.
    case model(UInt32)
    /// The text of a shard.
    case text(ShardID)
    /// A prepared shard.
    case prepared(ShardID)
    /// The run's plan: lanes, their shards and words, random words.
    case plan
    /// Rows of the vectors table; the request's body lists them. The number tells batches apart.
    case rows(UInt32)
    /// The parameters of the round with this number.
    case parameters(UInt32)
    /// The gradient of a contribution, by the number that its worker gave it.
    case gradient(UInt32)

    var code: (UInt8, UInt32) {
        switch self {
        case .model(let n): (0, n)
        case .text(let shard): (1, UInt32(shard.rawValue))
        case .prepared(let shard): (2, UInt32(shard.rawValue))
        case .plan: (3, 0)
        case .rows(let n): (4, n)
        case .parameters(let n): (5, n)
        case .gradient(let n): (6, n)
        }
    }

    init?(code: UInt8, number: UInt32) {
        switch code {
        case 0: self = .model(number)
        case 1: self = .text(ShardID(number))
        case 2: self = .prepared(ShardID(number))
        case 3 where number == 0: self = .plan
        case 4: self = .rows(number)
        case 5: self = .parameters(number)
        case 6: self = .gradient(number)
        default: return nil
        }
    }
}

/// Asks for one chunk.
package struct FetchRequest: Equatable, Sendable {
    package var blob: BlobID
    package var offset: UInt64
    /// Bytes wanted at most.
    package var length: UInt32
    /// Row numbers as UInt32, for `.rows`; else empty.
    package var rows: [UInt32]

    package init(blob: BlobID, offset: UInt64 = 0, length: UInt32 = UInt32(WireLimits.chunk), rows: [UInt32] = []) {
        self.blob = blob
        self.offset = offset
        self.length = length
        self.rows = rows
    }
}

/// Names one chunk; its bytes are the payload frame.
package struct Chunk: Equatable, Sendable {
    package var blob: BlobID
    package var offset: UInt64
    /// Bytes of the whole blob.
    package var total: UInt64

    package init(blob: BlobID, offset: UInt64, total: UInt64) {
        self.blob = blob
        self.offset = offset
        self.total = total
    }
}

/// A worker's introduction.
package struct Hello: Equatable, Sendable {
    package var protocolVersion: UInt16 = WireLimits.version
    /// The program's version.
    package var program: String
    package var host: String
    package var processID: UInt32
    /// Lanes it computes at a time.
    package var threads: UInt16
    /// OpenBLAS core and version.
    package var blas: String
    /// Hashes of whole gradients of canned micro-batches: equal for hosts that give equal bits.
    package var fingerprints: Fingerprints
    /// The secret that the coordinator gave a worker it started itself; 0 for others.
    package var localToken: UInt64
    /// A random number of this process: a worker that comes back on another connection is known by it. 0: it cannot be.
    package var instance: UInt64
    /// Counts the worker's introductions: one that was repeated is told from a new one by it. The machine sets it.
    package var session: UInt32 = 0

    package init(
        program: String, host: String, processID: UInt32, threads: UInt16, blas: String, fingerprints: Fingerprints, localToken: UInt64 = 0,
        instance: UInt64 = 0
    ) {
        self.program = program
        self.host = host
        self.processID = processID
        self.threads = threads
        self.blas = blas
        self.fingerprints = fingerprints
        self.localToken = localToken
        self.instance = instance
    }
}

/// What an order wants of its lanes.
package enum Purpose: UInt8, Sendable {
    /// The gradient of an update.
    case train = 0
    /// The loss of the held-out documents, as the version of the parameters before the update has it.
    case evaluate = 1
}

/// What is ordered at a time. A version is scored, if it is, before the update that changes it.
package struct Round: Hashable, Sendable, Comparable {
    /// Counted from 0 over the whole run.
    package var update: UInt64
    package var purpose: Purpose

    package init(_ update: UInt64, _ purpose: Purpose) { (self.update, self.purpose) = (update, purpose) }

    /// Names the round's parameters among those that can be under way at the same time.
    package var number: UInt32 { UInt32(truncatingIfNeeded: update << 1) | (purpose == .train ? 1 : 0) }

    /// The round's parameters.
    package var blob: BlobID { .parameters(number) }

    package static func < (a: Round, b: Round) -> Bool {
        a.update == b.update ? a.purpose == .evaluate && b.purpose == .train : a.update < b.update
    }
}

/// What the lanes below one node give in one round. In training that includes the encoded sum of their gradients, unless `selected` is 0:
/// the payload frame holds it if it is short or lies in shared memory; else the coordinator fetches it in pieces. In an evaluation there is
/// none.
package struct Contribution: Equatable, Sendable {
    package var run: UInt64
    package var roster: UInt32
    package var update: UInt64
    package var purpose: Purpose
    /// Hash of the parameters it was computed from.
    package var parameterHash: UInt64
    package var node: TreeNode
    /// Tokens that gave gradient.
    package var selected: UInt64
    /// All tokens of the micro-batches.
    package var words: UInt64
    /// Loss summed over the selected tokens, per lane below the node in lane order: so that the total does not depend on the grouping.
    package var losses: [UInt64]
    /// Hash of the gradient.
    package var hash: UInt64
    /// Bytes of a gradient that is to be fetched; 0 where there is none, or where it came with the message.
    package var byteCount: UInt64 = 0
    /// Names such a gradient among those of the worker; else 0.
    package var number: UInt32 = 0

    package init(
        run: UInt64, roster: UInt32, update: UInt64, purpose: Purpose = .train, parameterHash: UInt64, node: TreeNode, selected: UInt64,
        words: UInt64, losses: [Double], hash: UInt64
    ) {
        self.run = run
        self.roster = roster
        self.update = update
        self.purpose = purpose
        self.parameterHash = parameterHash
        self.node = node
        self.selected = selected
        self.words = words
        self.losses = losses.map(\.bitPattern)
        self.hash = hash
    }

    package var round: Round { Round(update, purpose) }

    /// The gradient, where it is to be fetched.
    package var blob: BlobID { .gradient(number) }

    /// What two answers for the same lanes are compared by: in an evaluation their figures.
    package var evidence: UInt64 {
        guard purpose == .evaluate else { return hash }
        return ([selected, words] + losses).withUnsafeBytes { Digest64.hash($0) }
    }
}

/// The work of one peer in one round.
package struct Order: Equatable, Sendable {
    package var run: UInt64
    package var roster: UInt32
    /// Counted from 0 over the whole run.
    package var update: UInt64
    package var purpose: Purpose
    package var epoch: UInt32
    /// Counted from 0 in the epoch.
    package var updateInEpoch: UInt64
    package var parameterHash: UInt64
    /// Lanes to compute.
    package var lanes: [LaneID]
    /// Those of them that another worker holds too: sent as leaves.
    package var leaves: [LaneID]

    package init(
        run: UInt64, roster: UInt32, update: UInt64, purpose: Purpose = .train, epoch: UInt32, updateInEpoch: UInt64,
        parameterHash: UInt64, lanes: [LaneID], leaves: [LaneID]
    ) {
        self.run = run
        self.roster = roster
        self.update = update
        self.purpose = purpose
        self.epoch = epoch
        self.updateInEpoch = updateInEpoch
        self.parameterHash = parameterHash
        self.lanes = lanes
        self.leaves = leaves
    }

    package var round: Round { Round(update, purpose) }
}

/// From a worker.
package enum WorkerMessage: Equatable, Sendable {
    case hello(Hello)
    /// Nothing else to say; answered with `sayHello` by a coordinator that does not know the worker.
    case alive
    case fetch(FetchRequest)
    /// A prepared shard is ready to be fetched from this worker, or lies in the shared cache.
    case prepared(shard: ShardID, size: UInt64, digest: ShardDigest)
    /// The text cannot be prepared: `line` counts from the shard's first line; -1 when no line is to blame.
    case prepareFailed(shard: ShardID, line: Int64, what: String, remedy: String)
    /// Payload: bytes of a prepared shard or of a gradient that the coordinator fetches.
    case chunk(Chunk)
    /// Every shard and vector row of the lane is there.
    case laneReady(LaneID)
    /// Payload: the encoded gradient, unless it is to be fetched.
    case contribution(Contribution)
    /// The worker could not do what it was told (disk full, a chunk that does not fit); it drops the lease.
    case trouble(String)
    case leaving
    /// The parameters of the round with this number have come, whole and undamaged.
    case taken(UInt32)
}

/// From the coordinator.
package enum CoordinatorMessage: Equatable, Sendable {
    /// Answers the hello of this session; `description` is the JSON text of a `RunDescription`.
    case welcome(run: UInt64, session: UInt32, description: String)
    /// The worker cannot take part.
    case refuse(String)
    /// The coordinator does not know this peer.
    case sayHello
    case prepare(shard: ShardID, textBytes: UInt64, key: CacheKey)
    /// The coordinator asks a worker for bytes of a prepared shard or of a gradient.
    case fetch(FetchRequest)
    /// The lane is the worker's to compute; `planBytes` is the size of the plan, which names its shards.
    case lease(lane: LaneID, planBytes: UInt64)
    case withdraw(lane: LaneID)
    /// Payload: the parameters where they are short, or where they lie in shared memory; else none: the worker fetches them.
    case begin(Order)
    /// Payload: bytes of a blob.
    case chunk(Chunk)
    /// The run is over (`final`), or stopped and may be resumed: then the worker waits for the coordinator to come back.
    case finish(reason: String, final: Bool)
    /// Nothing: sent to learn whether the peer can still be reached.
    case probe
}
