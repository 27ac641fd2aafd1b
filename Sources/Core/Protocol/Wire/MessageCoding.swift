// Encodes and decodes header frames. In: messages, or untrusted bytes. Out: bytes, or a message, or a WireError.
import Base

extension ByteWriter {
    mutating func begin(_ kind: UInt8) {
        put(WireLimits.magic)
        put(kind)
    }

    mutating func put(_ blob: BlobID) {
        put(blob.code.0)
        put(blob.code.1)
    }

    mutating func put(_ request: FetchRequest) {
        put(request.blob)
        put(request.offset)
        put(request.length)
        put(list: request.rows)
    }

    /// 16 bits.
    mutating func put(_ lane: LaneID) { put(UInt16(lane.rawValue)) }

    /// 32 bits.
    mutating func put(_ shard: ShardID) { put(UInt32(shard.rawValue)) }

    mutating func put(lanes: [LaneID]) { put(list: lanes.map { UInt16($0.rawValue) }) }

    mutating func put(_ chunk: Chunk) {
        put(chunk.blob)
        put(chunk.offset)
        put(chunk.total)
    }
}

extension ByteReader {
    /// - Parameter ofAnyVersion: the one kind whose beginning is the same in every version, so that versions can name each other.
    mutating func takeKind(ofAnyVersion lasting: UInt8) throws(WireError) -> UInt8 {
        let magic: UInt32 = try take()
        let kind: UInt8 = try take()
        let isOurs = magic & WireLimits.anyVersion == WireLimits.magic & WireLimits.anyVersion
        guard magic == WireLimits.magic || isOurs && kind == lasting else {
            throw WireError(what: "not a t2v frame of protocol version \(WireLimits.version)", offset: 0)
        }
        return kind
    }

    /// 0 or 1; every value has exactly one encoding.
    mutating func takeFlag() throws(WireError) -> Bool {
        let start = offset
        let byte: UInt8 = try take()
        guard byte <= 1 else { throw WireError(what: "a flag is \(byte)", offset: start) }
        return byte == 1
    }

    mutating func takePurpose() throws(WireError) -> Purpose {
        let start = offset
        guard let purpose = Purpose(rawValue: try take()) else { throw WireError(what: "an unknown purpose", offset: start) }
        return purpose
    }

    mutating func takeBlob() throws(WireError) -> BlobID {
        let start = offset
        guard let blob = BlobID(code: try take(), number: try take()) else { throw WireError(what: "unknown kind of blob", offset: start) }
        return blob
    }

    mutating func takeRequest() throws(WireError) -> FetchRequest {
        let start = offset
        let request = FetchRequest(
            blob: try takeBlob(), offset: try take(), length: try take(), rows: try takeList(limit: WireLimits.list))
        guard request.length <= WireLimits.chunk else { throw WireError(what: "requests more than a chunk", offset: start) }
        return request
    }

    mutating func takeChunk() throws(WireError) -> Chunk {
        Chunk(blob: try takeBlob(), offset: try take(), total: try take())
    }

    mutating func takeKey() throws(WireError) -> CacheKey {
        guard let key = CacheKey(try take(raw: CacheKey.byteCount)) else { throw WireError(what: "not a cache key", offset: offset) }
        return key
    }

    mutating func takeLane() throws(WireError) -> LaneID { LaneID(try take(UInt16.self)) }

    mutating func takeShard() throws(WireError) -> ShardID { ShardID(try take(UInt32.self)) }

    mutating func takeLanes() throws(WireError) -> [LaneID] {
        try takeList(UInt16.self, limit: ReductionTree.maximumLanes).map { LaneID($0) }
    }

    mutating func takeNode() throws(WireError) -> TreeNode { TreeNode(level: try take(), index: try take()) }
}

extension WorkerMessage {
    /// The header frame.
    package func encoded() -> [UInt8] {
        var out = ByteWriter()
        switch self {
        case .hello(let hello):
            out.begin(1)
            out.put(hello.protocolVersion)
            out.put(hello.program)
            out.put(hello.host)
            out.put(hello.processID)
            out.put(hello.threads)
            out.put(hello.blas)
            for arithmetic in Arithmetic.allCases { out.put(hello.fingerprints[arithmetic]) }
            out.put(hello.localToken)
            out.put(hello.instance)
            out.put(hello.session)
        case .alive: out.begin(2)
        case .fetch(let request):
            out.begin(3)
            out.put(request)
        case .prepared(let shard, let size, let digest):
            out.begin(4)
            out.put(shard)
            out.put(size)
            out.put(digest.value)
        case .prepareFailed(let shard, let line, let what, let remedy):
            out.begin(5)
            out.put(shard)
            out.put(line)
            out.put(what.clipped)
            out.put(remedy.clipped)
        case .chunk(let chunk):
            out.begin(6)
            out.put(chunk)
        case .laneReady(let lane):
            out.begin(7)
            out.put(lane)
        case .contribution(let c):
            out.begin(8)
            out.put(c)
        case .trouble(let what):
            out.begin(9)
            out.put(what.clipped)
        case .leaving: out.begin(10)
        case .taken(let number):
            out.begin(11)
            out.put(number)
        }
        return out.bytes
    }

    /// - Throws: `WireError`; a hello of another protocol version is decoded up to its version, so that the refusal can name it.
    package init(header: UnsafeRawBufferPointer) throws(WireError) {
        var reader = ByteReader(header)
        switch try reader.takeKind(ofAnyVersion: 1) {
        case 1: self = .hello(try reader.takeHello())
        case 2: self = .alive
        case 3: self = .fetch(try reader.takeRequest())
        case 4: self = .prepared(shard: try reader.takeShard(), size: try reader.take(), digest: ShardDigest(try reader.take()))
        case 5:
            self = .prepareFailed(
                shard: try reader.takeShard(), line: try reader.take(), what: try reader.takeString(limit: WireLimits.text),
                remedy: try reader.takeString(limit: WireLimits.text))
        case 6: self = .chunk(try reader.takeChunk())
        case 7: self = .laneReady(try reader.takeLane())
        case 8: self = .contribution(try reader.takeContribution())
        case 9: self = .trouble(try reader.takeString(limit: WireLimits.text))
        case 10: self = .leaving
        case 11: self = .taken(try reader.take())
        default: throw WireError(what: "unknown kind of worker message", offset: 4)
        }
        try reader.end()
    }
}

extension CoordinatorMessage {
    /// The header frame.
    package func encoded() -> [UInt8] {
        var out = ByteWriter()
        switch self {
        case .welcome(let run, let session, let description):
            out.begin(65)
            out.put(run)
            out.put(session)
            out.put(description)
        case .refuse(let reason):
            out.begin(66)
            out.put(reason.clipped)
        case .sayHello: out.begin(67)
        case .prepare(let shard, let textBytes, let key):
            out.begin(68)
            out.put(shard)
            out.put(textBytes)
            out.put(raw: key.bytes)
        case .fetch(let request):
            out.begin(69)
            out.put(request)
        case .lease(let lane, let planBytes):
            out.begin(71)
            out.put(lane)
            out.put(planBytes)
        case .withdraw(let lane):
            out.begin(72)
            out.put(lane)
        case .begin(let order):
            out.begin(73)
            out.put(order)
        case .chunk(let chunk):
            out.begin(74)
            out.put(chunk)
        case .finish(let reason, let final):
            out.begin(75)
            out.put(reason.clipped)
            out.put(final ? 1 : UInt8(0))
        case .probe: out.begin(76)
        }
        return out.bytes
    }

    package init(header: UnsafeRawBufferPointer) throws(WireError) {
        var reader = ByteReader(header)
        switch try reader.takeKind(ofAnyVersion: 66) {
        case 65:
            self = .welcome(
                run: try reader.take(), session: try reader.take(), description: try reader.takeString(limit: WireLimits.header))
        case 66: self = .refuse(try reader.takeString(limit: WireLimits.text))
        case 67: self = .sayHello
        case 68: self = .prepare(shard: try reader.takeShard(), textBytes: try reader.take(), key: try reader.takeKey())
        case 69: self = .fetch(try reader.takeRequest())
        case 71: self = .lease(lane: try reader.takeLane(), planBytes: try reader.take())
        case 72: self = .withdraw(lane: try reader.takeLane())
        case 73: self = .begin(try reader.takeOrder())
        case 74: self = .chunk(try reader.takeChunk())
        case 75: self = .finish(reason: try reader.takeString(limit: WireLimits.text), final: try reader.takeFlag())
        case 76: self = .probe
        default: throw WireError(what: "unknown kind of coordinator message", offset: 4)
        }
        try reader.end()
    }
}

extension ByteWriter {
    mutating func put(_ c: Contribution) {
        put(c.run)
        put(c.roster)
        put(c.update)
        put(c.purpose.rawValue)
        put(c.parameterHash)
        put(c.node.level)
        put(c.node.index)
        put(c.selected)
        put(c.words)
        put(list: c.losses)
        put(c.hash)
        put(c.byteCount)
        put(c.number)
    }

    mutating func put(_ order: Order) {
        put(order.run)
        put(order.roster)
        put(order.update)
        put(order.purpose.rawValue)
        put(order.epoch)
        put(order.updateInEpoch)
        put(order.parameterHash)
        put(lanes: order.lanes)
        put(lanes: order.leaves)
    }
}

extension ByteReader {
    mutating func takeHello() throws(WireError) -> Hello {
        let version: UInt16 = try take()
        guard version == WireLimits.version else {
            var other = Hello(program: "", host: "", processID: 0, threads: 0, blas: "", fingerprints: Fingerprints())
            other.protocolVersion = version
            skipRest()
            return other
        }
        var hello = Hello(
            program: try takeString(limit: WireLimits.text), host: try takeString(limit: WireLimits.text), processID: try take(),
            threads: try take(), blas: try takeString(limit: WireLimits.text), fingerprints: Fingerprints())
        for arithmetic in Arithmetic.allCases { hello.fingerprints[arithmetic] = try take() }
        hello.localToken = try take()
        hello.instance = try take()
        hello.session = try take()
        return hello
    }

    mutating func takeContribution() throws(WireError) -> Contribution {
        var c = Contribution(
            run: try take(), roster: try take(), update: try take(), purpose: try takePurpose(), parameterHash: try take(),
            node: try takeNode(), selected: try take(), words: try take(), losses: [], hash: 0)
        c.losses = try takeList(limit: ReductionTree.maximumLanes)
        c.hash = try take()
        c.byteCount = try take()
        c.number = try take()
        return c
    }

    mutating func takeOrder() throws(WireError) -> Order {
        Order(
            run: try take(), roster: try take(), update: try take(), purpose: try takePurpose(), epoch: try take(),
            updateInEpoch: try take(), parameterHash: try take(), lanes: try takeLanes(),
            leaves: try takeLanes())
    }
}

extension String {
    /// At most the text limit in UTF-8 bytes, cut between code points.
    var clipped: String {
        guard utf8.count > WireLimits.text else { return self }
        var out = String.UnicodeScalarView()
        var size = 0
        for scalar in unicodeScalars {
            size += UTF8.width(scalar)
            if size > WireLimits.text { break }
            out.append(scalar)
        }
        return String(out)
    }
}
