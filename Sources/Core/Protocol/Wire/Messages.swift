// The messages between coordinator and workers. Each value is one header frame; some are followed by one payload frame.
import Base

/// Constants of the wire format.
package enum WireLimits {
    /// The first bytes of every header frame: "T2V" and the protocol's version.
    package static let magic: UInt32 = 0x0656_3254
    /// The part of the magic that is the same in every version.
    static let anyVersion: UInt32 = 0x00FF_FFFF
    /// Incremented when a frame or its meaning changes.
    package static let version: UInt16 = 6
    /// The largest payload that a fetch requests, in bytes: small enough that small messages pass between two chunks on a slow link.
    package static let chunk = 1 << 20
    /// Parameters and gradients are sent in pieces of this many bytes, the blocks of their hash: each is hashed as it arrives, and small
    /// messages pass between pieces.
    package static let piece = Digest64.block
    /// The number of peers that are sent parameters at a time: with one, the link would be idle while its last pieces are acknowledged.
    package static let served = 2
    /// The largest numbers of list elements, and of bytes of a text, in a header frame.
    package static let list = 1 << 16
    package static let text = 4096
    /// The largest header frame, in bytes.
    package static let header = 1 << 20
    /// The number of chunks that one side requests before the first has arrived: the back-pressure.
    package static let window = 8
    /// The number of messages that may wait for a peer that is connected: a lease and a withdrawal for each lane, or what answers them, and
    /// others, of which there are far more than an honest peer has.
    package static func waiting(lanes: Int) -> Int { 1_024 + 2 * lanes }
    /// The largest text of a shard, and the largest plan, in bytes: a worker holds them in memory.
    package static let shardText: UInt64 = 16 << 20
    package static let plan: UInt64 = 1 << 30
    /// The longest frame of any kind, in bytes.
    package static let frame = max(header, chunk)
}

/// A blob: data that is sent in chunks.
package enum BlobID: Hashable, Sendable {
    /// A file of the vectors model that tokenizing needs, by its number in the welcome.
    case model(UInt32)
    /// The text of a shard.
    case text(ShardID)
    /// A prepared shard.
    case prepared(ShardID)
    /// The run's plan: lanes, their shards and words, random words.
    case plan
    /// Rows of the vectors table; the request lists them. The number tells batches apart.
    case rows(UInt32)
    /// The parameters of the round with this number.
    case parameters(UInt32)
    /// The gradient of a contribution, by the number that its worker gave to it.
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

/// Requests one chunk.
package struct FetchRequest: Equatable, Sendable {
    package var blob: BlobID
    package var offset: UInt64
    /// The largest number of bytes wanted.
    package var length: UInt32
    /// Row numbers, for `.rows`; otherwise empty.
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
    /// The number of lanes that it computes at a time.
    package var threads: UInt16
    /// OpenBLAS core and version.
    package var blas: String
    /// Hashes of whole gradients of built-in micro-batches: equal for hosts that compute the same bits.
    package var fingerprints: Fingerprints
    /// The secret that the coordinator gave to a worker that it started itself; 0 for other workers.
    package var localToken: UInt64
    /// A random number of this process, by which a worker is recognized on another connection. 0: unknown.
    package var instance: UInt64
    /// Counts the worker's introductions, so that a repeated one can be told from a new one. The state machine sets it.
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

/// What an order requests from its lanes.
package enum Purpose: UInt8, Sendable {
    /// The gradient of an update.
    case train = 0
    /// The loss of the held-out documents with the parameters before the update.
    case evaluate = 1
}

/// The unit of an order. If a version is scored, that happens before the update that changes it.
package struct Round: Hashable, Sendable, Comparable {
    /// Counted from 0 over the whole run.
    package var update: UInt64
    package var purpose: Purpose

    package init(_ update: UInt64, _ purpose: Purpose) { (self.update, self.purpose) = (update, purpose) }

    /// Names the round's parameters among those that can be in flight at the same time.
    package var number: UInt32 { UInt32(truncatingIfNeeded: update << 1) | (purpose == .train ? 1 : 0) }

    /// The round's parameters.
    package var blob: BlobID { .parameters(number) }

    package static func < (a: Round, b: Round) -> Bool {
        a.update == b.update ? a.purpose == .evaluate && b.purpose == .train : a.update < b.update
    }
}

/// The result of the lanes below one node in one round. In training it includes the encoded sum of their gradients, unless `selected` is 0:
/// the payload frame holds it if it is short or in shared memory; otherwise the coordinator fetches it in pieces. An evaluation has no
/// gradient.
package struct Contribution: Equatable, Sendable {
    package var run: UInt64
    package var roster: UInt32
    package var update: UInt64
    package var purpose: Purpose
    /// Hash of the parameters that it was computed from.
    package var parameterHash: UInt64
    package var node: TreeNode
    /// Tokens that contributed to the gradient.
    package var selected: UInt64
    /// All tokens of the micro-batches.
    package var words: UInt64
    /// The bits of the loss summed over the selected tokens, for each lane below the node in lane order, so that the total does not depend
    /// on the grouping.
    package var losses: [UInt64]
    /// Hash of the gradient.
    package var hash: UInt64
    /// Bytes of a gradient that has to be fetched; 0 if there is none, or if it arrived with the message.
    package var byteCount: UInt64 = 0
    /// Names such a gradient among those of the worker; otherwise 0.
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

    /// The gradient, if it has to be fetched.
    package var blob: BlobID { .gradient(number) }

    /// The value by which two answers for the same lanes are compared: in an evaluation, a hash of their figures.
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
    /// Those of them that another worker also holds: they are sent as leaves.
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
    /// A prepared shard is ready to be fetched from this worker, or is in the shared cache.
    case prepared(shard: ShardID, size: UInt64, digest: ShardDigest)
    /// The text cannot be prepared: `line` counts from the shard's first line; -1: no particular line.
    case prepareFailed(shard: ShardID, line: Int64, what: String, remedy: String)
    /// Payload: bytes of a prepared shard or of a gradient that the coordinator fetches.
    case chunk(Chunk)
    /// The worker has every shard and vector row of the lane.
    case laneReady(LaneID)
    /// Payload: the encoded gradient, unless it has to be fetched.
    case contribution(Contribution)
    /// The worker could not do its work (disk full, a chunk that does not fit); it drops the lease.
    case trouble(String)
    case leaving
    /// The parameters of the round with this number have arrived, complete and undamaged.
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
    /// The coordinator requests bytes of a prepared shard or of a gradient from a worker.
    case fetch(FetchRequest)
    /// The worker may compute the lane; `planBytes` is the size of the plan, which names its shards.
    case lease(lane: LaneID, planBytes: UInt64)
    case withdraw(lane: LaneID)
    /// Payload: the parameters, if they are short or in shared memory; otherwise none, and the worker fetches them.
    case begin(Order)
    /// Payload: bytes of a blob.
    case chunk(Chunk)
    /// The run is over (`final`), or it was stopped and may be resumed: then the worker waits for the coordinator to return.
    case finish(reason: String, final: Bool)
    /// Needs no answer: sent to learn whether the peer can still be reached.
    case probe
}
