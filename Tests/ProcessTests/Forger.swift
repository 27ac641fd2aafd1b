// Messages that a coordinator must refuse or ignore. In: a seed. Out: frames that are wrong in every way we could think of.
import Base
import Foundation
import Protocol
import Run

/// Makes wrong messages, the same for the same seed.
struct Forger {
    private var random: SeededGenerator
    /// Messages that cannot be decoded, so far: each must be counted as refused.
    private(set) var malformed = 0

    init(seed: UInt64) { random = SeededGenerator(state: seed) }

    mutating func number(below bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }

    /// The frames of one message, as sent over TCP.
    mutating func message() -> [UInt8] {
        switch number(below: 12) {
        case 0: return count(RawConnection.frame(bytes(number(below: 200))))
        case 1: return count(RawConnection.frame([]))
        // Kinds that workers do not send.
        case 2:
            return count(
                RawConnection.frame(
                    [0x54, 0x32, 0x56, UInt8(WireLimits.version), UInt8(64 + number(below: 190))] + bytes(number(below: 64))))
        case 3:
            let whole = valid().encoded()
            return count(RawConnection.frame(Array(whole.prefix(number(below: whole.count)))))
        case 4: return count(RawConnection.frame(valid().encoded() + bytes(1 + number(below: 9))))
        case 5:
            // Whatever results: some are still messages.
            var header = valid().encoded()
            for _ in 0..<1 + number(below: 3) { header[number(below: header.count)] ^= 1 << UInt8(number(below: 8)) }
            return RawConnection.frame(header)
        case 6:
            let header = RawConnection.frame(valid().encoded(), more: true), payload = RawConnection.frame(bytes(9), more: true)
            return count(header + payload + RawConnection.frame(bytes(3)))
        case 7 where number(below: 400) == 0:
            // A header that is too long.
            return count(RawConnection.frame([UInt8](repeating: 0x54, count: (1 << 20) + 1 + number(below: 9))))
        case 8:
            // Counts that announce more than there is.
            return count(RawConnection.frame(Array(WorkerMessage.trouble("x").encoded().prefix(5)) + [0xFF, 0xFF, 0xFF, 0x7F] + bytes(20)))
        case 9: return RawConnection.frame(valid().encoded(), more: true) + RawConnection.frame(bytes(number(below: 4000)))
        case 10 where number(below: 100) == 0: return RawConnection.frame(WorkerMessage.hello(hello()).encoded())
        default: return RawConnection.frame(valid().encoded())
        }
    }

    private mutating func count(_ bytes: [UInt8]) -> [UInt8] {
        malformed += 1
        return bytes
    }

    /// Those of other versions are refused; one that claims this version joins, and is removed with its next wrong message.
    private mutating func hello() -> Hello {
        var hello = Hello(
            program: number(below: 4) == 0 ? Version.current : "0.0.\(number(below: 9))", host: "stranger", processID: 1, threads: 1,
            blas: "none", fingerprints: .some, instance: UInt64(1 + number(below: 1000)))
        if number(below: 4) == 0 { hello.protocolVersion = UInt16(number(below: 9)) }
        return hello
    }

    /// Well-formed messages from peers that have not introduced themselves, or about things that do not exist.
    private mutating func valid() -> WorkerMessage {
        let big = UInt64.random(in: 0 ... .max, using: &random)
        let small = UInt32(number(below: 40))
        let shard = ShardID(small)
        switch number(below: 9) {
        case 0: return .alive
        case 1: return .laneReady(LaneID(number(below: 70_000) & 0xFFFF))
        case 2: return .fetch(FetchRequest(blob: .text(shard), offset: big))
        case 3: return .fetch(FetchRequest(blob: .rows(small), rows: [small, .max]))
        case 4: return .prepared(shard: shard, size: big, digest: ShardDigest(big))
        case 5: return .prepareFailed(shard: shard, line: Int64(bitPattern: big), what: "nothing", remedy: "none")
        case 6: return .chunk(Chunk(blob: .prepared(shard), offset: big & 0xF0_0000, total: big))
        case 7: return .trouble(String(repeating: "x", count: number(below: 300)))
        default:
            return .contribution(
                Contribution(
                    run: big, roster: small, update: UInt64(small), parameterHash: big,
                    node: TreeNode(level: UInt8(number(below: 3)), index: UInt16(number(below: 4))), selected: big >> 40, words: big >> 40,
                    losses: [.nan], hash: big))
        }
    }
}

extension Fingerprints {
    /// Of a host that supports every arithmetic, with bits of its own.
    static let some = Fingerprints([.blas: 1, .native: 1, .bf16: 1])
}
