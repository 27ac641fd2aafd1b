// What a pattern cannot match. In: its tree and the kinds of characters that a text holds. Out: false if no match is possible.

/// The kinds of characters in a text, one bit each: every ASCII character that is not a letter or digit has its own.
///
/// Most words consist of letters only, in which most patterns find nothing: a pattern's tree tells this without matching.
struct CharacterMask: Hashable {
    private(set) var bits: UInt64 = 0

    /// Bits: 0 a-z, 1 A-Z, 2 digits, 3 beyond ASCII, 4 control characters and DEL, 5... the other ASCII characters in order.
    private static let bitOfASCII: [UInt64] = {
        var table = [UInt64](repeating: 1 << 4, count: 256)
        var next: UInt64 = 5
        for code in 0x20..<0x7f {
            switch code {
            case 0x61...0x7a: table[code] = 1
            case 0x41...0x5a: table[code] = 2
            case 0x30...0x39: table[code] = 4
            default:
                table[code] = 1 << next
                next += 1
            }
        }
        for code in 0x80...0xff { table[code] = 8 }
        return table
    }()

    nonisolated(unsafe) private static let bitOf: UnsafePointer<UInt64> = {
        let table = UnsafeMutablePointer<UInt64>.allocate(capacity: 256)
        table.initialize(from: bitOfASCII, count: 256)
        return UnsafePointer(table)
    }()

    /// The kinds of the characters of `bytes`.
    @inline(__always)
    init(_ bytes: UnsafeBufferPointer<UInt8>) {
        let table = Self.bitOf
        for byte in bytes { bits |= table[Int(byte)] }
    }

    /// Characters of every kind.
    static let everything = CharacterMask(bits: .max)

    init(bits: UInt64) { self.bits = bits }

    /// Every code point of the kinds in the mask.
    var codePoints: CodePointSet {
        var ranges: [ClosedRange<UInt32>] = (0..<0x80).filter { Self.bitOfASCII[$0] & bits != 0 }.map { UInt32($0)...UInt32($0) }
        if bits & 8 != 0 { ranges.append(0x80...CodePointSet.last) }
        return CodePointSet(ranges)
    }
}

extension PatternNode {
    /// False only if no text made of `characters` alone has a match. It errs on the side of true: order is ignored, and a negative
    /// look-around counts as satisfied.
    func canMatch(within characters: CodePointSet) -> Bool {
        switch self {
        case .one(let set): return set.ranges.contains { characters.intersects($0) }
        case .category(let category, negated: false):
            return PatternNode.one(category == .digit ? .decimalOrMore : .word).canMatch(within: characters)
        case .category, .choice(_, _, negated: true): return true
        case .choice(let set, let categories, negated: false):
            return PatternNode.one(set).canMatch(within: characters)
                || categories.contains { PatternNode.category($0, negated: false).canMatch(within: characters) }
        case .sequence(let nodes): return nodes.allSatisfy { $0.canMatch(within: characters) }
        case .alternatives(let nodes): return nodes.contains { $0.canMatch(within: characters) }
        case .repeated(let node, let least, _, _): return least == 0 || node.canMatch(within: characters)
        case .look(let node, _, let negated): return negated || node.canMatch(within: characters)
        case .anchor: return true
        case .atomic(let node): return node.canMatch(within: characters)
        }
    }
}
