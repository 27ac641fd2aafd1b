// Applies every rule to every source file, and shows that each rule finds what it is meant to find.
import Foundation
import Testing

/// The Swift files of the repository that this test was built in.
enum Repository {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Read once: it takes seconds.
    private static let read = Result {
        try ["Sources", "Tests"].flatMap { top -> [SourceText] in
            let folder = root.appending(path: top)
            guard let walk = FileManager.default.enumerator(atPath: folder.path) else { return [] }
            return try walk.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }.sorted().map { name in
                SourceText(path: "\(top)/\(name)", text: try String(contentsOf: folder.appending(path: name), encoding: .utf8))
            }
        }
    }

    static func swiftFiles() throws -> [SourceText] { try read.get() }
}

@Suite struct HouseTests {
    @Test(arguments: Rule.all.map { $0.name }) func isKept(rule name: String) throws {
        let rule = try #require(Rule.all.first { $0.name == name })
        let files = try Repository.swiftFiles()
        #expect(files.count > 20, "the sources are where this test looks for them")
        for violation in files.flatMap(rule.violations) { Issue.record("\(violation)") }
    }

    /// Every path `Sources/...` or `Tests/...` on the pages for contributors exists.
    @Test(arguments: ["ARCHITECTURE.md", "CONTRIBUTING.md", "PROTOCOL.md", "README.md"])
    func mapNamesWhatIsThere(page: String) throws {
        let text = try String(contentsOf: Repository.root.appending(path: page), encoding: .utf8)
        for match in text.matches(of: /`((?:Sources|Tests)\/[\w\/+.]+)`/) {
            let path = Repository.root.appending(path: String(match.output.1)).path
            #expect(FileManager.default.fileExists(atPath: path), "\(page) names \(match.output.1)")
        }
    }

    /// Each C library is used by one folder, so that it can be replaced there.
    @Test(arguments: [
        ("CZMQ", "Sources/Core/Transport/"), ("COpenBLAS", "Sources/Core/Numerics/Kernels/"), ("CPCRE2", "Sources/Core/Text/Tokens/"),
        ("CSodium", "Sources/Core/Base/"), ("CKernels", "Sources/Core/Numerics/Kernels/"),
    ])
    func hidesItsLibraries(module: String, folder: String) throws {
        let users = try Repository.swiftFiles().filter { $0.path.hasPrefix("Sources/") && $0.imports.contains { $0.module == module } }
        #expect(users.allSatisfy { $0.path.hasPrefix(folder) })
    }

    /// A rule, a file, and how often it breaks the rule.
    struct Example: Sendable, CustomTestStringConvertible {
        let rule: String
        let path: String
        let text: String
        var count = 1
        var testDescription: String { "\(rule): \(text.prefix(40))" }
    }

    static let pure = "Sources/Core/Protocol/X.swift"
    static let rim = "Sources/Core/Transport/X.swift"

    @Test(arguments: [
        Example(rule: Rule.imports.name, path: pure, text: "import Foundation\n"),
        Example(rule: Rule.imports.name, path: pure, text: "@preconcurrency public import Glibc\nimport struct CZMQ.zmq_msg_t\n", count: 2),
        Example(rule: Rule.imports.name, path: rim, text: "import Glibc\nimport COpenBLAS\n// import CSodium\n"),
        Example(rule: Rule.imports.name, path: "Sources/Core/New/X.swift", text: ""),
        Example(
            rule: Rule.reproducible.name, path: pure, text: "let a = Date()\nlet b = \"Date()\" // Date()\nlet c = \"\\(UUID())\"\n",
            count: 2),
        Example(
            rule: Rule.reproducible.name, path: pure, text: "x.shuffled()\nInt.random(in: 0...1)\nfunc f() async {}\nx.hashValue\n",
            count: 4),
        Example(rule: Rule.noTraps.name, path: rim, text: "let a = try! f()\nlet b = c as! D\nfatalError()\n", count: 3),
        Example(rule: Rule.noTraps.name, path: rim, text: "f(a!)\na!.b\na[0]!\nf()!\nvar x: Int!\na![0]\n", count: 6),
        Example(rule: Rule.fileLength.name, path: rim, text: String(repeating: "\n", count: 501)),
        Example(rule: Rule.lineLength.name, path: rim, text: String(repeating: "x", count: 141)),
        Example(rule: Rule.purpose.name, path: rim, text: "import Foundation\n"),
        Example(rule: Rule.moduleNames.name, path: rim, text: "public final class Worker: Sendable {}\nstruct WorkerShell {}\n"),
        Example(rule: Rule.simd.name, path: rim, text: "public func f(_ x: SIMD8<Float>)\nfunc g(_ x: SIMD8<Float>)\n"),
        Example(rule: Rule.quiet.name, path: rim, text: "print(1)\n"),
        Example(rule: Rule.functionLength.name, path: rim, text: "func f() {\n" + String(repeating: "x\n", count: 69) + "}\n"),
        Example(
            rule: Rule.functionLength.name, path: rim,
            text: "init?(a: Int = { 1 }(),\n b: Int)\n throws {\n" + String(repeating: "{\n}\n", count: 34) + "}\n"),
    ]) func findsWhatItIsFor(example: Example) throws {
        let rule = try #require(Rule.all.first { $0.name == example.rule })
        let found = rule.violations(SourceText(path: example.path, text: example.text))
        #expect(found.count == example.count, "\(found)")
    }

    @Test(arguments: [
        Example(
            rule: Rule.imports.name, path: rim, text: "import CZMQ\nimport FoundationEssentials\nlet s = \"\"\"\nimport CSodium\n\"\"\"\n"),
        Example(rule: Rule.reproducible.name, path: rim, text: "let a = Date()\n"),
        Example(
            rule: Rule.reproducible.name, path: pure,
            text: "/* Date() /* nested */ UUID() */ let updated = DateLike(); let r = #\"\\(UUID()) \"Date\" \"#\n"),
        Example(
            rule: Rule.noTraps.name, path: rim,
            text: "if !a, b != c, x! = y, !f() { \"a!\" }\nlet t = \"a\\(b)!\"\n// try! as!\n".replacing("x! = y, ", with: "")),
        Example(rule: Rule.fileLength.name, path: rim, text: String(repeating: "\n", count: 500)),
        Example(rule: Rule.functionLength.name, path: rim, text: "func f() {\n" + String(repeating: "x\n", count: 68) + "}\n"),
        Example(
            rule: Rule.functionLength.name, path: rim,
            text: "protocol P {\n func f() throws\n init()\n}\nstruct S {\n" + String(repeating: "let x = 1\n", count: 90) + "}\n"),
        Example(rule: Rule.purpose.name, path: rim, text: "// What the sockets share. In: frames. Out: frames.\nimport Foundation\n"),
    ]) func leavesTheRestInPeace(example: Example) throws {
        let rule = try #require(Rule.all.first { $0.name == example.rule })
        #expect(rule.violations(SourceText(path: example.path, text: example.text)) == [])
    }
}
