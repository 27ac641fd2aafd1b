// Sets of code points. In: ranges. Out: unions, complements and the sets that Python matches when it ignores case.

/// A set of code points as sorted, disjoint, closed ranges.
struct CodePointSet: Equatable {
    private(set) var ranges: [ClosedRange<UInt32>] = []

    static let last: UInt32 = 0x10ffff
    static let empty = CodePointSet([])

    init(_ ranges: [ClosedRange<UInt32>]) {
        for range in ranges.ascending(\.lowerBound) {
            if let previous = self.ranges.last, range.lowerBound <= previous.upperBound &+ 1 {
                self.ranges[self.ranges.count - 1] = previous.lowerBound...max(previous.upperBound, range.upperBound)
            } else {
                self.ranges.append(range)
            }
        }
    }

    func union(_ other: CodePointSet) -> CodePointSet { CodePointSet(ranges + other.ranges) }

    var complement: CodePointSet {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { result.append(next...(range.lowerBound - 1)) }
            next = range.upperBound + 1
        }
        if next <= Self.last { result.append(next...Self.last) }
        return CodePointSet(result)
    }

    func contains(_ code: UInt32) -> Bool {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < code { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].contains(code)
    }

    func intersects(_ range: ClosedRange<UInt32>) -> Bool {
        ranges.contains { $0.overlaps(range) }
    }

    /// All code points that have a flag of `flags`.
    static func having(_ flags: CharacterFlags) -> CodePointSet {
        var result: [ClosedRange<UInt32>] = []
        var start: UInt32?
        for code in 0..<UInt32(CharacterTables.codePointCount) {
            let inside = CharacterTables.flags[Int(code)] & flags.rawValue != 0
            if inside, start == nil { start = code }
            if !inside, let first = start {
                result.append(first...(code - 1))
                start = nil
            }
        }
        if let first = start { result.append(first...last) }
        return CodePointSet(result)
    }

    /// `\s`, `\w` and `\d` of Python's `re` without flags.
    static let space = having(.space)
    static let word = having([.alphabetic, .number]).union(CodePointSet([0x5f...0x5f]))
    /// Holds every character of `\d`, and others.
    static let decimalOrMore = having(.number)

    /// What a class of these members matches when Python ignores case (re/_compiler.py, `_optimize_charset`): the members are converted to
    /// lower case, letters that `re` considers equal are added, and a character matches if its lower case is a member.
    var ignoringCase: CodePointSet {
        var lowered: Set<UInt32> = []
        var dropped: Set<UInt32> = []
        for pair in CharacterTables.lowerPairs {
            if contains(pair.code) { lowered.insert(pair.lower) }
            dropped.insert(pair.code)
        }
        for letter in CharacterTables.equivalentCases.keys where contains(letter) || lowered.contains(letter) {
            lowered.formUnion(CharacterTables.equivalentCases[letter] ?? [])
        }
        func isMember(_ lower: UInt32) -> Bool { lowered.contains(lower) || (contains(lower) && !dropped.contains(lower)) }
        var added = lowered.filter { !dropped.contains($0) }.map { $0...$0 }
        var removed: [ClosedRange<UInt32>] = []
        for pair in CharacterTables.lowerPairs {
            if isMember(pair.lower) { added.append(pair.code...pair.code) } else { removed.append(pair.code...pair.code) }
        }
        let kept = complement.union(CodePointSet(removed)).complement
        return kept.union(CodePointSet(added))
    }
}
