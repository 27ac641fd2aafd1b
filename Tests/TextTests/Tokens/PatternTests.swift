import Testing

@testable import Base
@testable import Text

@Suite struct PatternTests {
    /// Pattern, text, and the byte ranges that Python 3.11's `re.finditer` gave.
    static let cases: [(String, String, [Range<Int>])] = [
        ("\\w+", "a\u{e9}_1\u{b2}\u{bd}\u{2167}-\u{4e2d} \u{308}x", [0..<12, 13..<16, 19..<20]),
        ("a\\0b", "a\u{0}b", [0..<3]), ("\\012+x", "\u{a}x \u{0}12x", [0..<2]), ("\\0778", "?8", [0..<2]), ("[\\01]", "\u{1}", [0..<1]),
        ("\\d+", "12\u{b2}\u{661}\u{662}\u{bd}", [0..<2, 4..<8]),
        ("\\s", "a\u{85}b\u{1c}c\u{180e}d\u{200b}e\u{a0}", [1..<3, 4..<5, 14..<16]),
        ("\\S+", "a\u{85}b \u{1c}c", [0..<1, 3..<4, 6..<7]),
        ("a.c", "abc a\u{a}c a\u{d}c a\u{2028}c", [0..<3, 8..<11, 12..<17]),
        ("a$", "a\u{a}", [0..<1]),
        ("a$", "a\u{a}\u{a}", []),
        ("a\\Z", "a\u{a}", []),
        ("^b", "a\u{a}b", []),
        ("[\\u00e0-\\u00e5]+", "\u{e0}\u{e1}z", [0..<4]),
        ("\\U0001F600+", "\u{1f600}\u{1f600}a", [0..<8]),
        ("(?i)[a-z]+", "Ab\u{130}\u{131}\u{17f}K!", [0..<9]),
        ("(?i)k", "kKK", [0..<1, 1..<2, 2..<3]),
        ("(?i)\u{df}", "\u{df}\u{1e9e}", [0..<2, 2..<5]),
        ("(?iu)\u{b5}", "\u{b5}\u{3bc}\u{39c}", [0..<2, 2..<4, 4..<6]),
        ("(?i)[^a]", "aAb", [2..<3]),
        ("(?i)\u{3c3}", "\u{3c3}\u{3c2}\u{3a3}", [0..<2, 2..<4, 4..<6]),
        ("(?i)[\\u0400-\\u042f]", "\u{44f}\u{42f}\u{450}", [0..<2, 2..<4, 4..<6]),
        ("(?i)i", "iI\u{130}\u{131}", [0..<1, 1..<2, 2..<4, 4..<6]),
        ("(?i)\u{e9}+", "\u{e9}\u{c9}", [0..<4]),
        ("[]a]+", "]a", [0..<2]),
        ("[^]a]+", "]ab", [2..<3]),
        ("[a\\-z]+", "a-mz", [0..<2, 3..<4]),
        ("[a-]+", "-a", [0..<2]),
        ("[\\d-]+", "1-2", [0..<3]),
        ("[\\w.]+", "a.\u{e9}", [0..<4]),
        ("[^\\w]+", "a., b", [1..<4]),
        ("[\\W]+", "a., b", [1..<4]),
        ("x{,2}y", "xxxy", [1..<4]),
        ("x{2,}", "xxx", [0..<3]),
        ("a{b", "a{b", [0..<3]),
        ("a{1,b}", "a{1,b}", [0..<6]),
        ("x{3}", "xxxx", [0..<3]),
        ("(?<=[0-9])km", "5km km", [1..<3]),
        ("(?<!a)b", "ab bb", [3..<4, 4..<5]),
        ("(?<=ab|cd)e", "abe cde xe", [2..<3, 6..<7]),
        ("a(?=b)", "ab ac", [0..<1]),
        ("a(?!b)", "ab ac", [3..<4]),
        ("\\bfoo\\b", "foo foobar \u{e9}foo foo_ foo", [0..<3, 22..<25]),
        ("\\Boo", "foo oo", [1..<3]),
        ("a*?b", "aab", [0..<3]),
        ("(?:ab)+?", "abab", [0..<2, 2..<4]),
        ("a|ab|abc", "abc", [0..<1]),
        ("", "ab", [0..<0, 1..<1, 2..<2]),
        ("x*", "axb", [0..<0, 1..<2, 2..<2, 3..<3]),
        ("(?P<n>a)b", "ab", [0..<2]),
        ("(a|b)*c", "abc", [0..<3]),
        ("(?s:.)b", "\u{a}b", [0..<2]),
        ("(?#c)a", "a", [0..<1]),
        ("[[:a]+", "[:a", [0..<3]),
        ("\\.\\.+|\u{2026}", "a...b\u{2026}", [1..<4, 5..<8]),
        ("\\x41\\t\\n", "A\u{9}\u{a}", [0..<3]),
        ("[\\s,]+", "a ,\u{85}b", [1..<5]),
        ("[^\\s]+", "a b", [0..<1, 2..<3]),
        ("[\\ud7ff-\\ue000]", "\u{e000}", [0..<3]),
        ("\\$|\\u20ac", "$\u{20ac}", [0..<1, 1..<4]),
        ("a(?i:b)c", "aBc aBC", [0..<3]),
    ]

    @Test(arguments: 0..<cases.count) func findsWhatPythonFinds(index: Int) throws {
        let (python, text, expected) = Self.cases[index]
        let pattern = try Pattern(python, name: "test")
        let matcher = try #require(PatternMatcher())
        let found = try Self.matches(pattern, matcher, text)
        #expect(found == expected, "\(python) translated to \(pattern.tree.pcre)")
    }

    /// As ChunkSplitter walks over infixes.
    private static func matches(_ pattern: Pattern, _ matcher: PatternMatcher, _ text: String) throws -> [Range<Int>] {
        var result: [Range<Int>] = []
        try Array(text.utf8).withUnsafeBufferPointer { bytes in
            var from = 0
            var lastWasEmpty = false
            while from <= bytes.count, let match = try matcher.search(pattern, bytes, from: from, notEmptyAt: lastWasEmpty) {
                result.append(match.start..<match.end)
                from = match.end
                lastWasEmpty = match.start == match.end
            }
        }
        return result
    }

    @Test(arguments: [
        "(", ")", "[a", "a**", "*a", "(?P=x)", "(a)\\1", "\\q", "[z-a]", "(?L)a", "(?(1)a|b)", "\\u12", "\\", "[\\d-z]", "(?x) a",
    ])
    func refusesWhatIsNotSupported(pattern: String) {
        let error = #expect(throws: InputError.self) { try Pattern(pattern, name: "folder/tokenizer: prefix_search") }
        #expect(error?.description.hasPrefix("folder/tokenizer: prefix_search: ") == true)
    }

    @Test func deepNestingIsRefused() {
        #expect(throws: InputError.self) { try Pattern(String(repeating: "(", count: 10_000), name: "test") }
    }

    /// 64 KiB is PCRE2's limit for one program; the parts together find what the whole would.
    @Test func aPatternBeyondTheLimitIsCompiledInParts() throws {
        let ranges = (0..<1500).map { "\\u" + hex4(0x3000 + 4 * $0) + "-\\u" + hex4(0x3001 + 4 * $0) }.joined()
        let words = (0..<40).map { "w\($0)[\(ranges)]" }
        let pattern = try Pattern((words + ["w", "w1"]).joined(separator: "|"), name: "test")
        let matcher = try #require(PatternMatcher())
        let text = "xw7\u{3004}w1w"
        #expect(try Self.matches(pattern, matcher, text) == [1..<6, 6..<7, 8..<9], "the earlier alternative w wins over w1")
    }

    @Test func masksSayWhatCannotMatch() throws {
        let suffix = try Pattern("'s$|(?<=[0-9])km$|\\.\\.+$|[^\\w]$", name: "test")
        func can(_ text: String, _ tree: PatternNode) -> Bool {
            tree.canMatch(within: Array(text.utf8).withUnsafeBufferPointer { CharacterMask($0) }.codePoints)
        }
        #expect(can("word", suffix.tree), "a negated class is not examined")
        let units = try Pattern("(?<=[0-9])(?:km|m)$|'s$", name: "test").tree
        #expect(!can("word", units) && !can("WORD", units) && can("10km", units) && can("it's", units))
        let url = try Pattern("(?u)^(?:\\S+@)?(?:[a-z]+\\.)+[a-z]{2,}$", name: "test").tree
        #expect(!can("word", url) && !can("mot-\u{e9}", url) && can("a.b", url))
    }
}

private func hex4(_ value: Int) -> String { String(String(0x10000 + value, radix: 16).suffix(4)) }
