// One compiled pattern and its matching. In: UTF-8 bytes. Out: byte ranges.
import Base
import CPCRE2

/// A Python pattern compiled by PCRE2 with its just-in-time compiler. Immutable after `init`, so threads share it.
final class Pattern: @unchecked Sendable {
    /// Usually one program. PCRE2 limits a program to 64 KiB, which French's token_match exceeds: then its alternatives are compiled in
    /// parts, and the leftmost of their matches counts, on a tie the earlier part's: the match that the whole would have found.
    fileprivate let programs: [OpaquePointer]
    /// File and key of the pattern, for errors.
    let name: String
    let tree: PatternNode

    /// - Parameter anchored: matches at the start only, as Python's `match`; set here because JIT code cannot be anchored later.
    /// - Throws: `InputError` naming the construct that is not supported.
    init(_ python: String, anchored: Bool = false, name: String) throws(InputError) {
        tree = try PatternParser.parse(python, name: name)
        self.name = name
        programs = try Self.compile(tree, anchored: anchored, name: name)
    }

    deinit {
        for program in programs { pcre2_code_free_8(program) }
    }

    /// PCRE2's error 120, ERR20 of pcre2_compile.c.
    private static let tooLarge: Int32 = 120

    private static func compile(_ tree: PatternNode, anchored: Bool, name: String) throws(InputError) -> [OpaquePointer] {
        guard let context = pcre2_compile_context_create_8(nil) else { throw InputError("out of memory", at: name, remedy: "free memory") }
        defer { pcre2_compile_context_free_8(context) }
        // for Python's . and $ only \n is a newline
        pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF))
        var error: Int32 = 0
        var place = 0
        let text = Array(tree.pcre.utf8)
        if let program = pcre2_compile_8(text, text.count, PCRE2_UTF | (anchored ? PCRE2_ANCHORED : 0), &error, &place, context) {
            // without the JIT compiler (not built in, or no executable memory) matching is slower but no different
            _ = pcre2_jit_compile_8(program, PCRE2_JIT_COMPLETE)
            return [program]
        }
        if error == tooLarge, case .alternatives(let nodes) = tree, nodes.count > 1 {
            let first = try compile(.alternatives(Array(nodes[..<(nodes.count / 2)])), anchored: anchored, name: name)
            do {
                return first + (try compile(.alternatives(Array(nodes[(nodes.count / 2)...])), anchored: anchored, name: name))
            } catch {
                for program in first { pcre2_code_free_8(program) }
                throw error
            }
        }
        var message = [UInt8](repeating: 0, count: 256)
        pcre2_get_error_message_8(error, &message, message.count)
        let what = String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
        throw InputError("PCRE2 does not take the pattern: \(what)", at: name, remedy: "use a model whose tokenizer does not have it")
    }
}

/// A text on which a pattern gave up; the caller adds where the text is.
struct PatternFailure: Error {
    let name: String
    let length: Int
}

/// The scratch memory of one thread's matching.
final class PatternMatcher {
    private let data: OpaquePointer
    private let context: OpaquePointer
    private let stack: OpaquePointer?
    private let ovector: UnsafeMutablePointer<Int>

    /// Nil when memory is short.
    init?() {
        guard let data = pcre2_match_data_create_8(1, nil) else { return nil }
        guard let context = pcre2_match_context_create_8(nil) else {
            pcre2_match_data_free_8(data)
            return nil
        }
        self.data = data
        self.context = context
        Self.set(Self.usual, context)
        // 8 MiB at most: what a chunk of some 100,000 characters needs in the worst pattern seen (the URL pattern)
        stack = pcre2_jit_stack_create_8(64 << 10, 8 << 20, nil)
        pcre2_jit_stack_assign_8(context, nil, stack.map { UnsafeMutableRawPointer($0) })
        ovector = pcre2_get_ovector_pointer_8(data)
    }

    deinit {
        pcre2_jit_stack_free_8(stack)
        pcre2_match_context_free_8(context)
        pcre2_match_data_free_8(data)
    }

    /// What a match may cost: calls, depth of backtracking, and heap in KiB.
    private typealias Limits = (matches: UInt32, depth: UInt32, heap: UInt32)
    /// PCRE2's own defaults (config.h.generic), and the limits of a match without the JIT compiler.
    private static let usual: Limits = (10_000_000, 10_000_000, 20_000_000)
    private static let patient: Limits = (1 << 31, 1 << 31, 1 << 20)

    private static func set(_ limits: Limits, _ context: OpaquePointer) {
        pcre2_set_match_limit_8(context, limits.matches)
        pcre2_set_depth_limit_8(context, limits.depth)
        pcre2_set_heap_limit_8(context, limits.heap)
    }

    /// The leftmost match at or after byte `from`, as Python's `search`. `notEmptyAt`: no empty match at `from` itself.
    func search(_ pattern: Pattern, _ bytes: UnsafeBufferPointer<UInt8>, from: Int = 0, notEmptyAt: Bool = false) throws(PatternFailure)
        -> (start: Int, end: Int)?
    {
        let options = PCRE2_NO_UTF_CHECK | (notEmptyAt ? PCRE2_NOTEMPTY_ATSTART : 0)
        var best: (start: Int, end: Int)?
        for program in pattern.programs {
            var result = pcre2_match_8(program, bytes.baseAddress, bytes.count, from, options, data, context)
            if result < PCRE2_ERROR_NOMATCH {
                // out of JIT stack or over the match limit: try again without JIT, on the heap, with higher limits; Python has no limit at
                // all
                Self.set(Self.patient, context)
                result = pcre2_match_8(program, bytes.baseAddress, bytes.count, from, options | UInt32(PCRE2_NO_JIT), data, context)
                Self.set(Self.usual, context)
            }
            if result == PCRE2_ERROR_NOMATCH { continue }
            guard result >= 0 else { throw PatternFailure(name: pattern.name, length: bytes.count) }
            if best.map({ ovector[0] < $0.start }) ?? true { best = (ovector[0], ovector[1]) }
        }
        return best
    }
}
