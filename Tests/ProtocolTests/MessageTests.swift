import TestSupport
import Testing

@testable import Base
@testable import Protocol

/// Every kind of message, with small, usual and extreme fields.
enum Samples {
    static let requests = [
        FetchRequest(blob: .plan), FetchRequest(blob: .parameters(7), offset: .max, length: 0),
        FetchRequest(blob: .rows(.max), offset: 1, length: 1 << 20, rows: [0, 7, .max]), FetchRequest(blob: .model(2), length: 1),
    ]
    static let chunks = [
        Chunk(blob: .text(3), offset: 1 << 20, total: 1 << 21), Chunk(blob: .prepared(ShardID(UInt32.max)), offset: .max, total: .max),
        Chunk(blob: .rows(0), offset: 0, total: 0), Chunk(blob: .gradient(.max), offset: 1 << 18, total: 1 << 40),
    ]
    static let hello: Hello = {
        var hello = Hello(
            program: "0.1.0", host: "knoten-7.åbo", processID: 4711, threads: 8, blas: "Haswell 0.3.21",
            fingerprints: Fingerprints([.blas: 1 << 63, .native: 5, .bf16: .max]),
            localToken: 5,
            instance: .max)
        hello.session = 3
        return hello
    }()
    static let contribution = Contribution(
        run: 1, roster: 2, update: 3, parameterHash: 4, node: TreeNode(level: 2, index: 1), selected: 5, words: 6,
        losses: [1.5, -0.0, .infinity, .nan], hash: 7)
    static let announced: Contribution = {
        var announced = contribution
        (announced.byteCount, announced.number) = (.max, 8)
        return announced
    }()
    static let scores: Contribution = {
        var scores = contribution
        (scores.purpose, scores.hash) = (.evaluate, 0)
        return scores
    }()
    static let order = Order(
        run: .max, roster: .max, update: .max, epoch: .max, updateInEpoch: .max, parameterHash: .max, lanes: [0, 1, 4095], leaves: [1])

    static let evaluation = Order(
        run: 1, roster: 2, update: 3, purpose: .evaluate, epoch: 1, updateInEpoch: 1, parameterHash: 4, lanes: [0], leaves: [])

    static let worker: [WorkerMessage] =
        [
            .hello(hello), .alive, .prepared(shard: 9, size: 10, digest: ShardDigest(.max)),
            .prepareFailed(shard: 1, line: -1, what: "no text", remedy: ""), .laneReady(4095), .contribution(contribution),
            .contribution(scores), .contribution(announced),
            .trouble("disk full"), .leaving, .taken(.max),
        ] + requests.map { .fetch($0) } + chunks.map { .chunk($0) }

    static let coordinator: [CoordinatorMessage] =
        [
            .welcome(run: 1, session: 2, description: "{\"a\": \"é\"}"), .refuse("another version"), .sayHello,
            .prepare(shard: 1, textBytes: 1 << 40, key: CacheKey(repeating: 255)), .lease(lane: 0, planBytes: 100),
            .withdraw(lane: 65535), .begin(order), .begin(evaluation), .finish(reason: "done", final: true),
            .finish(reason: "", final: false), .probe,
        ] + requests.map { .fetch($0) } + chunks.map { .chunk($0) }
}

/// The result of decoding bytes: the frame of the value they mean, or nil if they were refused.
private func again(_ bytes: [UInt8], fromWorker: Bool) -> [UInt8]? {
    bytes.withUnsafeBytes { raw in
        fromWorker ? (try? WorkerMessage(header: raw))?.encoded() : (try? CoordinatorMessage(header: raw))?.encoded()
    }
}

@Suite struct MessageTests {
    static let frames = Samples.worker.map { (true, $0.encoded()) } + Samples.coordinator.map { (false, $0.encoded()) }

    @Test func everyMessageComesThrough() throws {
        for message in Samples.worker { #expect(try message.encoded().withUnsafeBytes { try WorkerMessage(header: $0) } == message) }
        for message in Samples.coordinator {
            #expect(try message.encoded().withUnsafeBytes { try CoordinatorMessage(header: $0) } == message)
        }
    }

    @Test func aFrameIsSpelledAsPROTOCOLSays() {
        #expect(WorkerMessage.alive.encoded() == [0x54, 0x32, 0x56, 0x06, 2])
        #expect(CoordinatorMessage.withdraw(lane: 0x0102).encoded() == [0x54, 0x32, 0x56, 0x06, 72, 2, 1])
        #expect(
            WorkerMessage.trouble("é").encoded() == [0x54, 0x32, 0x56, 0x06, 9, 2, 0, 0, 0, 0xC3, 0xA9])
        #expect(
            WorkerMessage.fetch(FetchRequest(blob: .rows(5), offset: 1, length: 2, rows: [7])).encoded()
                == [0x54, 0x32, 0x56, 0x06, 3, 4, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0])
    }

    @Test func everyTruncationAndEveryByteTooManyIsRefused() {
        for (fromWorker, frame) in Self.frames {
            for count in 0..<frame.count { #expect(again(Array(frame[..<count]), fromWorker: fromWorker) == nil) }
            #expect(again(frame + [0], fromWorker: fromWorker) == nil)
        }
    }

    /// Each change of a byte is refused or means something else: then its frame is the changed one, so that no value has two encodings.
    @Test func everyChangedByteIsRefusedOrUnderstood() {
        var understood = 0
        for (fromWorker, frame) in Self.frames {
            for index in frame.indices {
                for value in [0, 1, 0x7F, 0x80, 0xFF, frame[index] &+ 1, frame[index] ^ 0x10] as [UInt8] {
                    var changed = frame
                    changed[index] = value
                    guard let again = again(changed, fromWorker: fromWorker) else { continue }
                    understood += 1
                    if !isForeign(changed) { #expect(again == changed, "byte \(index) of \(frame)") }
                }
            }
        }
        #expect(understood > 1_000)
    }

    /// A hello, or a refusal, of another version.
    private func isForeign(_ frame: [UInt8]) -> Bool {
        let isHello = frame.count > 6 && frame[4] == 1
        return frame[3] != UInt8(WireLimits.version) && (isHello || frame[4] == 66)
            || isHello && (frame[5], frame[6]) != (UInt8(WireLimits.version), 0)
    }

    /// A message of one side is not a message of the other.
    @Test func sidesDoNotMix() {
        for (fromWorker, frame) in Self.frames { #expect(again(frame, fromWorker: !fromWorker) == nil) }
    }

    @Test func aMillionRandomFramesDoNoHarm() {
        var random = Philox(seed: 1, purpose: .select)
        var (refused, understood) = (0, 0)
        for round in 0..<1_000_000 as Range<UInt64> {
            if round % 65_536 == 0 { random = Philox(seed: round, purpose: .select) }
            let bits = random.bits(round)
            let (fromWorker, base) = Self.frames[Int(bits % UInt64(Self.frames.count))]
            // Half begin like a frame, half are a frame with a few bytes changed.
            var bytes = bits & 1 << 40 == 0 ? Array(base[..<5]) : base
            if bits & 1 << 40 == 0 {
                for index in 0..<Int(bits >> 41 & 31) { bytes.append(UInt8(truncatingIfNeeded: random.bits(round, UInt32(1 + index)))) }
                bytes[4] = UInt8(truncatingIfNeeded: bits >> 50) & 127
            } else {
                for index in 0..<Int(1 + bits >> 41 & 3) {
                    let change = random.bits(round, UInt32(1 + index))
                    bytes[Int(change >> 8) % bytes.count] = UInt8(truncatingIfNeeded: change)
                }
            }
            if again(bytes, fromWorker: fromWorker) == nil { refused += 1 } else { understood += 1 }
        }
        #expect(refused > 500_000)
        #expect(understood > 10_000)
    }

    @Test func anotherVersionIsKnownByItsNumber() throws {
        var hello = Samples.hello
        hello.protocolVersion = 9
        var frame = WorkerMessage.hello(hello).encoded() + [1, 2, 3]
        for first in [UInt8(WireLimits.version), 9] {
            frame[3] = first
            let decoded = try frame.withUnsafeBytes { try WorkerMessage(header: $0) }
            guard case .hello(let other) = decoded else { return #expect(Bool(false)) }
            #expect(other.protocolVersion == 9)
        }
        // And its answer is understood.
        var refusal = CoordinatorMessage.refuse("it speaks version 2").encoded()
        refusal[3] = 9
        #expect(try refusal.withUnsafeBytes { try CoordinatorMessage(header: $0) } == .refuse("it speaks version 2"))
        var other = CoordinatorMessage.probe.encoded()
        other[3] = 9
        #expect(again(other, fromWorker: false) == nil)
    }

    @Test func countsBeyondTheirLimitsAreRefusedBeforeAnythingIsMade() {
        let error = #expect(throws: WireError.self) {
            try ([0x54, 0x32, 0x56, 0x06, 9, 0xFF, 0xFF, 0xFF, 0xFF] as [UInt8]).withUnsafeBytes { try WorkerMessage(header: $0) }
        }
        #expect(error?.description == "a count of 4294967295 is larger than its limit 4096 or than the frame at byte 5 of the frame")
        let tooMuch = WorkerMessage.fetch(FetchRequest(blob: .plan, length: UInt32(WireLimits.chunk) + 1)).encoded()
        #expect(again(tooMuch, fromWorker: true) == nil)
    }

    @Test func longTextIsCutBetweenCodePoints() throws {
        let text = "a" + String(repeating: "é", count: 4_000)
        let decoded = try WorkerMessage.trouble(text).encoded().withUnsafeBytes { try WorkerMessage(header: $0) }
        guard case .trouble(let cut) = decoded else { return #expect(Bool(false)) }
        #expect(cut.utf8.count == 4_095 && text.hasPrefix(cut))
        #expect(again([0x54, 0x32, 0x56, 0x06, 9, 1, 0, 0, 0, 0xC3], fromWorker: true) == nil, "half a code point")
    }
}

@Suite struct Digest64Tests {
    private func hash(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { Digest64.hash($0) } }

    @Test func everyBitAndTheLengthCount() {
        for count in [1, 7, 8, 255, 256, 257, 600] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            var seen: Set<UInt64> = [hash(bytes)]
            for bit in 0..<count * 8 {
                var changed = bytes
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                #expect(seen.insert(hash(changed)).inserted)
            }
            #expect(seen.insert(hash(bytes + [0])).inserted)
        }
    }

    @Test func swappedWordsAreSeen() {
        let bytes = (0..<64).flatMap { word in [UInt8(word)] + [UInt8](repeating: 0, count: 7) }
        #expect(hash(bytes) != hash(Array(bytes[256...] + bytes[..<256])))
        #expect(hash(bytes) != hash(Array(bytes[..<8] + bytes[12..<16] + bytes[8..<12] + bytes[16...])))
        #expect(hash(bytes) != hash(Array(bytes[8..<16] + bytes[..<8] + bytes[16...])))
    }

    /// The value is part of the protocol.
    @Test func knownValues() {
        // From PROTOCOL.md's words, written in another language.
        #expect(hash([]) == 0x4d0a_2bbe_78b9_2ab1)
        #expect(hash([1]) == 0x86ab_5621_bb0c_10c9)
        #expect(hash((0..<600).map { UInt8($0 % 256) }) == 0x56e3_c9c7_89ed_0a73)
    }
}
