// Locks, paths, numbers and JSON trees, all without Foundation.
import TestSupport
import Testing

@testable import Base

@Suite("Small parts")
struct SmallPartsTests {
    @Test func threadsHandOverUnderTheLock() throws {
        let lock = ThreadLock()
        nonisolated(unsafe) var count = 0
        for _ in 0..<4 {
            try startThread("count") {
                for _ in 0..<1000 {
                    lock.lock()
                    count += 1
                    lock.signal()
                    lock.unlock()
                }
            }
        }
        lock.lock()
        while count < 4000 { lock.wait(milliseconds: 100) }
        lock.unlock()
        #expect(count == 4000)
    }

    @Test(arguments: [
        ("/a/b/model1.bin", "model1.bin", "/a/b"), ("/a/b/", "b", "/a/b"), ("model1.bin", "model1.bin", "."), ("/x", "x", "/"),
        ("/", "/", "/"),
    ])
    func partsOfAPath(path: String, name: String, parent: String) {
        #expect(Path.name(path) == name)
        #expect(Path.parent(path) == parent)
    }

    @Test func makesFoldersAndListsThem() throws {
        let folder = try TemporaryFolder()
        try Path.makeFolder("\(folder.path)/a/b/c")
        try Path.makeFolder("\(folder.path)/a/b/c")
        _ = try folder.file("a/b/z", "")
        #expect(try Path.names(in: "\(folder.path)/a/b") == ["c", "z"])
        #expect(throws: InputError.self) { try Path.makeFolder("\(folder.path)/a/b/z/d") }
        #expect(throws: InputError.self) { try Path.names(in: "\(folder.path)/nothing") }
    }

    @Test(arguments: [(0.125, 2, "0.12"), (0.375, 2, "0.38"), (-1.5, 0, "-2"), (1e20, 1, "100000000000000000000.0")])
    func numbersAsPrintfHasThem(value: Double, digits: Int, text: String) { #expect(value.fixed(digits) == text) }

    @Test func jsonKeepsWholeNumbersWhole() throws {
        let text = #"{"a":[1,-2,18446744073709551615,0.2,1e300],"b":{"c":null,"d":true},"e":"é\n"}"#
        let value = try JSONValue.parse(Array(text.utf8))
        #expect(value.members?["a"] == .array([.integer(1), .integer(-2), .unsigned(.max), .number(0.2), .number(1e300)]))
        #expect(value.members?["e"]?.text == "é\n")
        #expect(try JSONValue.parse(Array(try value.prettyText().utf8)) == value)
        #expect(throws: (any Error).self) { try JSONValue.parse(Array("{".utf8)) }
    }
}

@Suite struct SecretBytesTests {
    @Test func takeTheBytesAndLeaveNone() throws {
        var bytes: [UInt8] = [1, 2, 3]
        let secret = try #require(SecretBytes(taking: &bytes))
        #expect(bytes == [0, 0, 0])
        #expect(secret.withBytes { Array($0) } == [1, 2, 3])
    }
}
