// The `tokenizer` file of a model folder. In: msgpack. Out: compiled patterns, exceptions, and what the spaCy version does with them.
import Base

/// What differs between the tokenizers of spaCy versions (spacy/tokenizer.pyx), as one value. 2.1 and 2.3 differ in their files only: 2.1
/// has the URL pattern as token_match. Where in the affix loop they look for exceptions differs too, but changes no token: whatever is left
/// is looked up after the loop.
struct TokenizerBehaviour: Sendable, Equatable {
    /// A suffix is looked for after the prefix just found, not in the whole string: 3.x.
    var suffixBehindPrefix: Bool
    /// Exceptions are matched again over the finished tokens: 3.x.
    var rematchesExceptions: Bool

    static let spacy2 = TokenizerBehaviour(suffixBehindPrefix: false, rematchesExceptions: false)
    static let spacy3 = TokenizerBehaviour(suffixBehindPrefix: true, rematchesExceptions: true)
}

/// One token of an exception: its verbatim text and, where the exception says so, its norm.
struct ExceptionToken: Sendable, Equatable {
    var orth: [UInt8]
    var norm: [UInt8]?
}

/// Everything that the tokenizer file says. Immutable, so threads share it.
final class TokenizerRules: Sendable {
    let behaviour: TokenizerBehaviour
    let prefix, suffix, infix, tokenMatch, urlMatch: Pattern?
    /// Text of each exception, in the order of the file, with its tokens.
    let exceptions: [(text: [UInt8], tokens: [ExceptionToken])]
    /// 3.x: only exceptions with a space or an affix are matched again over the finished tokens.
    let fasterHeuristics: Bool

    /// - Throws: `InputError` for damaged msgpack, a tokenizer of another kind and patterns that are not supported.
    init(file: UnsafeRawBufferPointer, behaviour: TokenizerBehaviour, place: String) throws(InputError) {
        let root = try MsgpackValue(decoding: file, place: place)
        guard root["prefix_search"] != nil, root["exceptions"] != nil else { throw Self.notRuleBased(at: place) }
        self.behaviour = behaviour
        func pattern(_ key: String, anchored: Bool = false) throws(InputError) -> Pattern? {
            // anything that is not a string counts as absent, as in `Tokenizer.from_bytes`
            guard let text = root[key]?.string else { return nil }
            return try Pattern(text, anchored: anchored, name: "\(place): \(key)")
        }
        prefix = try pattern("prefix_search")
        suffix = try pattern("suffix_search")
        infix = try pattern("infix_finditer")
        tokenMatch = try pattern("token_match", anchored: true)
        urlMatch = try pattern("url_match", anchored: true)
        if case .bool(let value) = root["faster_heuristics"] { fasterHeuristics = value } else { fasterHeuristics = true }
        exceptions = try Self.exceptions(root["exceptions"], place: place)
    }

    /// The error for a model whose tokens do not come from rules.
    static func notRuleBased(at place: String) -> InputError {
        InputError(
            "this model's tokenizer is not rule-based (as in ja, ko, th, vi and zh)", at: place,
            remedy: "give records with `tokens`, tokenized beforehand, and a vectors model made with a rule-based language such as xx")
    }

    private static func exceptions(_ value: MsgpackValue?, place: String) throws(InputError) -> [([UInt8], [ExceptionToken])] {
        func refuse(_ text: String, _ what: String) -> InputError {
            InputError("exception \"\(text)\": \(what)", at: place, remedy: "save the model again with a supported spaCy version")
        }
        var result: [([UInt8], [ExceptionToken])] = []
        for pair in value?.map ?? [] {
            guard let text = pair.key.string else { throw refuse("\(pair.key)", "its key is not a string") }
            guard let items = pair.value.array else { throw refuse(text, "its value is not a list") }
            var tokens: [ExceptionToken] = []
            for item in items {
                guard case .map(let attributes) = item else { throw refuse(text, "a token is not a map") }
                var token = ExceptionToken(orth: [], norm: nil)
                for attribute in attributes {
                    // symbols ORTH 65 and NORM 67 in all versions, or their names (spacy/attrs.pyx, `intify_attrs`)
                    switch attribute.key {
                    case .unsigned(65), .string("ORTH"), .string("orth"), .string("F"):
                        guard let orth = attribute.value.string else { throw refuse(text, "ORTH is not a string") }
                        token.orth = Array(orth.utf8)
                    case .unsigned(67), .string("NORM"), .string("norm"):
                        guard let norm = attribute.value.string else { throw refuse(text, "NORM is not a string") }
                        // id 0, the empty string's, means "not set" (spacy/tokens/token.pxd)
                        token.norm = norm.isEmpty ? nil : Array(norm.utf8)
                    default: break
                    }
                }
                guard !token.orth.isEmpty else { throw refuse(text, "a token has no ORTH") }
                tokens.append(token)
            }
            guard !tokens.isEmpty, !text.isEmpty else { throw refuse(text, "it is empty") }
            result.append((Array(text.utf8), tokens))
        }
        return result
    }
}
