// Every kind of message with untrustworthy figures. In: a generator. Out: decodable messages, most of them lies.
import Base
import Protocol
import Run

/// Draws figures where arithmetic breaks: around powers of two, 0 and the limits of every type.
struct Figures {
    var random: SeededGenerator

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    mutating func chance(_ oneIn: Int) -> Bool { below(oneIn) == 0 }

    mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }

    mutating func u64() -> UInt64 {
        switch below(4) {
        case 0: UInt64(below(40))
        case 1: pick(Self.edges)
        case 2: (UInt64(1) << UInt64(below(64))) &+ UInt64(below(3)) &- 1
        default: .random(in: 0 ... .max, using: &random)
        }
    }

    private static let edges: [UInt64] = [
        0, 1, .max, .max - 1, 0x8000_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000, 0x1_0000_0000, 0x20_0000_0000_0000, 0x10_0000,
        0x20_0000,
    ]

    mutating func u32() -> UInt32 { chance(2) ? UInt32(below(40)) : UInt32(truncatingIfNeeded: u64()) }

    mutating func u16() -> UInt16 { chance(2) ? UInt16(below(6)) : UInt16(truncatingIfNeeded: u64()) }

    mutating func text() -> String {
        pick(["", "x", "\u{1B}[2J\u{7}\r\n", "../../etc/passwd", String(repeating: "ä", count: 2_000), "a\0b", "\u{202E}abc", "{}"])
    }

    mutating func blob() -> BlobID {
        switch below(7) {
        case 0: .model(u32())
        case 1: .text(ShardID(u32()))
        case 2: .prepared(ShardID(u32()))
        case 3: .plan
        case 4: .rows(u32())
        case 5: .gradient(u32())
        default: .parameters(u32())
        }
    }

    mutating func request() -> FetchRequest {
        let length = chance(2) ? UInt32(WireLimits.chunk) : UInt32(below(WireLimits.chunk + 1))
        let rows = chance(3) ? (0..<below(20)).map { _ in u32() } : []
        return FetchRequest(blob: blob(), offset: chance(2) ? 0 : u64(), length: length, rows: rows)
    }

    mutating func chunk() -> Chunk { Chunk(blob: blob(), offset: u64(), total: u64()) }

    mutating func key() -> CacheKey { CacheKey(bytes(CacheKey.byteCount)) ?? key() }

    mutating func node() -> TreeNode { TreeNode(level: chance(2) ? UInt8(below(3)) : UInt8(below(256)), index: u16()) }

    /// A payload, whether one belongs there or not.
    mutating func payload() -> [UInt8]? { chance(3) ? nil : bytes(pick([0, 1, 7, 32, 100, 3_000])) }
}

extension Figures {
    /// Of the kinds that are not gradients.
    mutating func workerMessage() -> WorkerMessage {
        switch below(10) {
        case 0: .alive
        case 1: .fetch(request())
        case 2: .prepared(shard: ShardID(u32()), size: u64(), digest: ShardDigest(u64()))
        case 3: .prepareFailed(shard: ShardID(u32()), line: Int64(bitPattern: u64()), what: text(), remedy: text())
        case 4: .chunk(chunk())
        case 5: .laneReady(LaneID(u16()))
        case 6: .trouble(text())
        case 7: .leaving
        case 8: .taken(u32())
        default: .hello(hello())
        }
    }

    mutating func hello() -> Hello {
        var hello = Hello(
            program: chance(2) ? Version.current : text(), host: text(), processID: u32(), threads: chance(2) ? 1 : u16(), blas: text(),
            fingerprints: Fingerprints([.blas: u64(), .native: u64(), .bf16: u64()]), localToken: u64(), instance: u64())
        hello.session = u32()
        if chance(4) { hello.protocolVersion = u16() }
        return hello
    }

    /// An answer to an order, with at least one lie in it: it must not count.
    mutating func contribution(to order: Order) -> (Contribution, payload: [UInt8]?) {
        var c = Contribution(
            run: order.run, roster: order.roster, update: order.update, parameterHash: order.parameterHash,
            node: TreeNode(lane: order.lanes.first ?? 0), selected: 3, words: 9, losses: [1], hash: 0)
        // Too short for any gradient; its hash is right unless it is a lie too.
        var payload: [UInt8]? = bytes(pick([0, 8, 100, 3_000]))
        c.hash = payload?.withUnsafeBytes { Digest64.hash(blocks: $0) } ?? 0
        for _ in 0..<below(3) {
            switch below(13) {
            case 0: c.run = u64()
            case 1: c.update = u64()
            case 2: c.parameterHash = u64()
            case 3: c.node = node()
            case 4: c.selected = u64()
            case 5: c.words = u64()
            case 6: c.losses = (0..<below(9)).map { _ in u64() }
            case 7: c.hash = u64()
            case 8: (payload, c.words) = (nil, 2)
            case 11: (payload, c.byteCount, c.number) = (nil, u64(), u32())
            case 12: (c.byteCount, c.number) = (u64(), u32())
            case 9: (payload, c.selected, c.words) = (nil, 0, .max)
            default: c.roster = u32()
            }
        }
        // An empty answer with plausible figures would be believed: it cannot be told from the truth.
        if payload == nil, c.selected == 0, c.words < 1 << 40 { c.words = .max }
        return (c, payload)
    }

    mutating func coordinatorMessage(_ run: UInt64) -> CoordinatorMessage {
        switch below(10) {
        // One that answers the last hello would be believed and its description refused: the worker leaves, as it should.
        case 0: .welcome(run: u64(), session: chance(100) ? u32() : .max - UInt32(below(9)), description: text())
        case 1: chance(100) ? .sayHello : .probe
        case 2: .prepare(shard: ShardID(u32()), textBytes: u64(), key: key())
        case 3: .fetch(request())
        case 4: .lease(lane: LaneID(u16()), planBytes: u64())
        case 5: .withdraw(lane: LaneID(u16()))
        case 6, 7: .begin(order(run))
        case 8: .chunk(chunk())
        default: .probe
        }
    }

    mutating func order(_ run: UInt64) -> Order {
        Order(
            run: chance(8) ? u64() : run, roster: u32(), update: u64(), epoch: u32(), updateInEpoch: u64(), parameterHash: u64(),
            lanes: (0..<below(5)).map { _ in LaneID(u16()) }, leaves: (0..<below(3)).map { _ in LaneID(u16()) })
    }
}
