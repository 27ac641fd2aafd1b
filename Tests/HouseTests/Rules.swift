// The rules of the house (CONTRIBUTING.md), each as a function. In: a source file. Out: what breaks the rule, as "path:line: what".
import Foundation

/// A rule that a single file can break.
struct Rule: Sendable {
    let name: String
    let violations: @Sendable (SourceText) -> [String]

    static let all = [
        imports, reproducible, noTraps, fileLength, functionLength, lineLength, purpose, moduleNames, simd, quiet,
    ]

    private init(_ name: String, _ violations: @escaping @Sendable (SourceText) -> [String]) {
        (self.name, self.violations) = (name, violations)
    }

    /// Modules from outside the package that a folder may import. Package.swift says what it may import from the package. Folders that
    /// decide import nothing: their callers give them what they need. No folder imports Foundation: it brings 34 MB of locale data.
    static let allowedImports: [(folder: String, modules: Set<String>)] = [
        ("Sources/Core/Base/", ["CLinux", "CSodium", "FoundationEssentials", "Glibc", "Logging"]),
        ("Sources/Core/Shards/", ["Glibc"]),
        ("Sources/Core/Model/", ["FoundationEssentials", "Glibc"]),
        ("Sources/Core/Formats/", ["CLinux", "FoundationEssentials", "Glibc"]),
        ("Sources/Core/Text/Corpus/", ["CLinux", "FoundationEssentials", "Glibc", "Synchronization"]),
        ("Sources/Core/Text/Features/", ["FoundationEssentials", "Glibc"]),
        ("Sources/Core/Text/Tokens/", ["CLinux", "CPCRE2", "FoundationEssentials", "Glibc", "Synchronization"]),
        ("Sources/Core/Numerics/Gradient/", ["FoundationEssentials", "Glibc"]),
        ("Sources/Core/Numerics/Kernels/", ["CKernels", "COpenBLAS"]),
        ("Sources/Core/Numerics/", []),
        ("Sources/Core/Protocol/", []),
        ("Sources/Core/Transport/", ["CLinux", "CZMQ", "Dispatch", "FoundationEssentials", "Glibc", "Synchronization"]),
        ("Sources/Core/Output/", ["CLinux", "FoundationEssentials", "Glibc", "Synchronization"]),
        ("Sources/Core/Run/", ["CLinux", "Dispatch", "FoundationEssentials", "Glibc", "Synchronization"]),
        ("Sources/Launch/", ["ArgumentParser", "FoundationEssentials", "Glibc"]),
        ("Sources/Coordinator/Kit/", ["CLinux", "CZlib", "FoundationEssentials", "Glibc", "Logging", "Synchronization"]),
        ("Sources/Coordinator/Program/", ["ArgumentParser", "CLinux", "FoundationEssentials", "Glibc", "Logging"]),
        ("Sources/Worker/Kit/", ["CLinux", "FoundationEssentials", "Glibc", "Logging", "Synchronization"]),
        ("Sources/Worker/Program/", ["ArgumentParser", "CLinux", "FoundationEssentials", "Glibc", "Logging"]),
    ]

    /// The package's own modules.
    static let ownModules: Set<String> = [
        "Base", "Shards", "Model", "Formats", "Text", "Numerics", "Protocol", "Transport", "Output", "Run", "CoordinatorKit", "WorkerKit",
        "Coordinator", "Worker", "Launch",
    ]

    /// Folders whose results must be the same on every run: no clock, files, threads, environment or unseeded randomness.
    static let pureFolders = ["Protocol/", "Numerics/Reduce/", "Numerics/Optimizer/", "Numerics/Objective/", "Model/"]
        .map { "Sources/Core/" + $0 }

    static let imports = Rule("A folder imports only what it needs") { file in
        guard file.path.hasPrefix("Sources/") else { return [] }
        guard let allowed = allowedImports.first(where: { file.path.hasPrefix($0.folder) }) else {
            return ["\(file.path):1: no import list for this folder; add one to Tests/HouseTests/Rules.swift"]
        }
        return file.imports.filter { !allowed.modules.contains($0.module) && !ownModules.contains($0.module) }
            .map { "\(file.path):\($0.line): \(allowed.folder) may not import \($0.module)" }
    }

    static let reproducible = Rule("Folders that decide know no clock, file, thread or chance") { file in
        guard pureFolders.contains(where: file.path.hasPrefix) else { return [] }
        // A case may be called `random`; a call of that name draws a number.
        return (file.matches(of: /\.?\w+/) + file.matches(of: /\.random\(in/))
            .filter { unforeseeable.contains($0.text) || $0.text.hasSuffix("Socket") }
            .map { "\(file.path):\($0.line): \($0.text) in a folder that only decides" }
    }

    /// Words that bring in the time, the world or chance. With a dot: only as a member.
    static let unforeseeable: Set<Substring> = [
        "Date", "ContinuousClock", "SuspendingClock", "DispatchTime", "clock_gettime", "usleep", "sleep", "UUID", "FileManager",
        "FileHandle",
        "ProcessInfo", "getenv", "fopen", "SystemRandomNumberGenerator", "Hasher", ".hashValue", ".random(in", ".shuffled",
        ".randomElement",
        "Thread", "Task", "DispatchQueue", "DispatchSemaphore", "Mutex", "Atomic", "async", "await", "actor", "ZMQMessage", "ZMQContext",
    ]

    static let noTraps = Rule("Nothing from outside can trap") { file in
        guard file.path.hasPrefix("Sources/") else { return [] }
        // `precondition` is for bugs and stays legal; so does `!` before a condition and in `!=`.
        let forbidden = /\btry!|\bas!|\bfatalError\b|\bunsafeDowncast\b|[\w\)\]\}>"]!(?![=\w("])|[\w\)\]\}>"]!(?=[\.\[\(])|:\s*[\w\.]+!/
        return file.matches(of: forbidden).map { "\(file.path):\($0.line): \($0.text) can trap; throw an InputError" }
    }

    static let fileLength = Rule("A file has at most 500 lines") { file in
        file.lines.count > 501 ? ["\(file.path):501: \(file.lines.count - 1) lines; 300 are the aim, 500 the limit"] : []
    }

    static let lineLength = Rule("A line has at most 140 columns") { file in
        file.lines.enumerated().filter { $0.element.count > 140 }.map { "\(file.path):\($0.offset + 1): \($0.element.count) columns" }
    }

    static let purpose = Rule("A file begins with what flows in and what flows out") { file in
        guard file.path.hasPrefix("Sources/") else { return [] }
        let head = file.lines.prefix { $0.hasPrefix("//") }.joined(separator: " ")
        return head.count >= 30 ? [] : ["\(file.path):1: no comment that says what the file is for"]
    }

    static let moduleNames = Rule("No type has the name of a module") { file in
        // A nested type hides nothing: only a type at the left margin does.
        file.matches(of: /^((public|package|final|indirect)\s+)*(class|struct|enum|actor|protocol|typealias)\s+\w+/)
            .filter { match in match.text.split(separator: " ").last.map { ownModules.contains(String($0)) } ?? false }
            .map { "\(file.path):\($0.line): \($0.text) is a module's name" }
    }

    static let simd = Rule("No SIMD type in a signature that other targets see") { file in
        guard file.path.hasPrefix("Sources/") else { return [] }
        return file.matches(of: /\b(?:public|package)\b[^{]*\bSIMD\d+</).map { "\(file.path):\($0.line): \($0.text)" }
    }

    static let quiet = Rule("The library does not print") { file in
        guard file.path.hasPrefix("Sources/Core/") else { return [] }
        return file.matches(of: /\b(print|debugPrint|dump|NSLog)\(/).map { "\(file.path):\($0.line): \($0.text)...) in the library" }
    }

    static let functionLength = Rule("A function has at most 70 lines") { file in
        functions(file).filter { $0.last - $0.first + 1 > 70 }
            .map { "\(file.path):\($0.first): \($0.name) has \($0.last - $0.first + 1) lines" }
    }

    /// Every function, initializer and subscript with a body: the lines where its declaration begins and of its closing brace.
    static func functions(_ file: SourceText) -> [(name: String, first: Int, last: Int)] {
        let scalars = Array(file.code.joined(separator: "\n").unicodeScalars)
        let code = String(String.UnicodeScalarView(scalars))
        var found: [(String, Int, Int)] = []
        for match in code.matches(of: /(?:^|[^\w.`])(func\s+[^\s(<]+|init[?!]?(?=\s*[<(])|deinit|subscript(?=\s*[<(]))/) {
            let start = code.unicodeScalars.distance(from: code.startIndex, to: match.output.1.startIndex)
            let after = code.unicodeScalars.distance(from: code.startIndex, to: match.range.upperBound)
            guard let end = bodyEnd(scalars, from: after) else { continue }
            let first = scalars[..<start].count { $0 == "\n" } + 1
            found.append((String(match.output.1), first, first + scalars[start..<end].count { $0 == "\n" }))
        }
        return found
    }

    /// The place after the brace that closes the body; nil if there is none (a protocol's requirement, a call).
    private static func bodyEnd(_ code: [Unicode.Scalar], from start: Int) -> Int? {
        var (position, depth) = (start, 0)
        while position < code.count, depth > 0 || code[position] != "{" {
            switch code[position] {
            case "(", "[", "{": depth += 1
            case ")", "]", "}": depth -= 1
            // After the parameters, a body begins on the line where they end, or where `throws`, `->` or `where` end.
            case "\n" where depth == 0:
                let next = code[position...].drop { $0 == " " || $0 == "\n" }.prefix { $0 != "\n" }
                let line = String(String.UnicodeScalarView(next))
                if !["{", "->", "where", "throws", "async", "rethrows"].contains(where: line.hasPrefix) { return nil }
            default: break
            }
            if depth < 0 { return nil }
            position += 1
        }
        guard position < code.count else { return nil }
        depth = 0
        while position < code.count {
            if code[position] == "{" { depth += 1 }
            if code[position] == "}" { depth -= 1 }
            position += 1
            if depth == 0 { return position }
        }
        return nil
    }
}
