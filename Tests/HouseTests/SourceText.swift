// A Swift file as a check sees it. In: its text. Out: the same lines without comments and string contents, so that only code is left.
import Foundation

/// One source file.
struct SourceText: Sendable {
    /// Relative to the repository, with `/`.
    let path: String
    /// As written.
    let lines: [Substring]
    /// As written, but comments and the contents of string literals are blanks. The same lines and columns of Unicode scalars.
    let code: [Substring]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        code = SourceText.blanked(text).split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// Line numbers (from 1) and matches of a pattern in the code.
    func matches(of pattern: some RegexComponent) -> [(line: Int, text: Substring)] {
        // By default a word ends where Unicode says, and "Swift.print" is one word.
        let pattern = pattern.regex.wordBoundaryKind(.simple)
        return code.enumerated().flatMap { index, line in line.matches(of: pattern).map { (index + 1, line[$0.range]) } }
    }

    /// The modules that the file imports, with their lines.
    var imports: [(line: Int, module: String)] {
        code.enumerated().compactMap { index, line in
            let words = line.split(separator: " ").drop { $0.hasPrefix("@") || $0 == "public" || $0 == "internal" || $0 == "private" }
            guard words.first == "import", let module = words.dropFirst().first else { return nil }
            let kinds: Set<Substring> = ["func", "struct", "class", "enum", "protocol", "typealias", "var", "let"]
            let name = kinds.contains(module) ? words.dropFirst(2).first ?? module : module
            return (index + 1, String(name.prefix { $0 != "." }))
        }
    }

    /// Replaces comments and string contents by spaces; keeps line breaks. Interpolations stay: they are code.
    private static func blanked(_ text: String) -> String {
        var blanker = Blanker(Array(text.unicodeScalars))
        blanker.code(until: nil)
        var result = String.UnicodeScalarView()
        result.append(contentsOf: blanker.output)
        return String(result)
    }
}

/// Walks through Swift text as far as comments and strings need it. A regular expression with a quote in it must be written #/.../#.
private struct Blanker {
    private let input: [Unicode.Scalar]
    private var position = 0
    private(set) var output: [Unicode.Scalar] = []

    init(_ input: [Unicode.Scalar]) { self.input = input }

    private func sees(_ text: String, at offset: Int = 0) -> Bool {
        let wanted = Array(text.unicodeScalars)
        let start = position + offset
        return start + wanted.count <= input.count && Array(input[start..<start + wanted.count]) == wanted
    }

    private mutating func keep(_ count: Int = 1) {
        output += input[position..<position + count]
        position += count
    }

    private mutating func blank(_ count: Int = 1) {
        for scalar in input[position..<min(input.count, position + count)] { output.append(scalar == "\n" ? "\n" : " ") }
        position = min(input.count, position + count)
    }

    /// Code up to the end, or up to the parenthesis that closes an interpolation.
    mutating func code(until closing: Unicode.Scalar?) {
        var depth = 0
        while position < input.count {
            if sees("//") {
                while position < input.count, input[position] != "\n" { blank() }
            } else if sees("/*") {
                comment()
            } else if sees("#/") {
                blank(2)
                while position < input.count, !sees("/#") { blank() }
                blank(2)
            } else if let hashes = stringStart() {
                string(hashes)
            } else {
                if input[position] == "(" { depth += 1 }
                if input[position] == ")" {
                    if closing == ")", depth == 0 { return }
                    depth -= 1
                }
                keep()
            }
        }
    }

    private mutating func comment() {
        var depth = 0
        repeat {
            if sees("/*") {
                depth += 1
                blank(2)
            } else if sees("*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && position < input.count
    }

    /// The number of `#` before a string that begins here; nil when none does.
    private func stringStart() -> Int? {
        var hashes = 0
        while sees("#", at: hashes) { hashes += 1 }
        return sees("\"", at: hashes) ? hashes : nil
    }

    private mutating func string(_ hashes: Int) {
        let marks = String(repeating: "#", count: hashes)
        keep(hashes)
        let isLong = sees("\"\"\"")
        let quote = isLong ? "\"\"\"" : "\""
        keep(quote.count)
        while position < input.count {
            if sees(quote + marks) { return keep(quote.count + hashes) }
            if sees("\\" + marks + "(") {
                blank(1 + hashes)
                keep()
                code(until: ")")
                if position < input.count { keep() }
            } else if sees("\\" + marks) {
                blank(2 + hashes)
            } else {
                if !isLong, input[position] == "\n" { return }
                blank()
            }
        }
    }
}
