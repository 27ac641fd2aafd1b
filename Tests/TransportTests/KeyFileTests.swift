// Key files: what keygen writes can be read, and faults are named without quoting the file.
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Transport

@Suite struct KeyFileTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    func mode(_ path: String) -> Int {
        (try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int) ?? -1
    }

    @Test func keygenWritesPairsThatOnlyTheOwnerReads() throws {
        let target = "\(folder.path)/keys"
        let files = try KeyFile.generate(in: target)
        #expect(files.map { $0.dropFirst(target.count + 1) } == ["coordinator.key", "coordinator.pub", "worker.key", "worker.pub"])
        #expect(files.allSatisfy { mode($0) == 0o600 } && mode(target) == 0o700)
        for role in ["coordinator", "worker"] {
            let secret = try KeyFile.readSecret("\(target)/\(role).key")
            #expect(secret.warning == nil)
            #expect(try KeyPair(secret.key).publicKey == KeyFile.readPublic("\(target)/\(role).pub"))
        }
        let allow = try AllowList(path: "\(target)/worker.pub")
        #expect(try allow.count == 1 && allow.name(of: KeyFile.readPublic("\(target)/worker.pub").z85) == "worker")
        #expect(try KeyFile.readPublic(files[1]) != KeyFile.readPublic(files[3]))
    }

    @Test func keygenOverwritesNothing() throws {
        let old = try folder.file("worker.pub", "mine")
        let error = #expect(throws: InputError.self) { try KeyFile.generate(in: folder.path) }
        #expect(error?.place == old)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["worker.pub"])
        #expect(try String(contentsOfFile: old, encoding: .utf8) == "mine")
    }

    @Test func warnsOfSecretsThatOthersRead() throws {
        try KeyFile.generate(in: folder.path)
        let path = "\(folder.path)/worker.key"
        for mode in [0o640, 0o604, 0o660] {
            #expect(chmod(path, mode_t(mode)) == 0)
            #expect(try KeyFile.readSecret(path).warning?.contains("chmod 600") == true)
        }
    }

    @Test func namesWhatIsWrongAndQuotesNoSecret() throws {
        let pair = try KeyPair.generate()
        let secretText = pair.secretKey.z85
        func failure(_ text: String, secret: Bool) throws -> String {
            let path = try folder.file("f", text)
            do {
                if secret { _ = try KeyFile.readSecret(path) } else { _ = try KeyFile.readPublic(path) }
                return "accepted"
            } catch { return error.description }
        }
        #expect(try failure("secret \(secretText) w", secret: false).contains("secret key where a public one belongs"))
        #expect(try failure("public \(pair.publicKey) w", secret: true).contains("not a secret key"))
        #expect(try failure("", secret: true).contains("0 secret keys"))
        #expect(try failure("secret \(secretText)\nsecret \(secretText)\n", secret: true).contains("2 secret keys"))
        #expect(try failure("secret \(secretText.dropLast())", secret: true).contains("39 characters"))
        #expect(try failure("secret", secret: true).contains("no key after"))
        #expect(try failure("\(secretText.dropLast())\u{e9}", secret: false).contains("40 Z85"))
        for text in ["secret \(secretText) w", "secret \(secretText)x", "secret \(secretText.dropLast(2))  "] {
            #expect(try !failure(text, secret: false).contains(secretText.prefix(20)))
        }
        #expect("\(pair.secretKey) \(pair)".contains("(secret key)") && !"\(pair)\(String(reflecting: pair))".contains(secretText))
        var dumped = ""
        dump(pair, to: &dumped)
        #expect(!dumped.contains(secretText))
        #expect(throws: InputError.self) { try KeyFile.readSecret("\(folder.path)/none") }
        #expect(throws: InputError.self) { try KeyFile.readSecret(folder.path) }
        #expect(throws: InputError.self) { try AllowList(path: "\(folder.path)/none") }
    }

    @Test func commentsAndKeysThatLookLikeThem() throws {
        let key = "#" + String(repeating: "0", count: 39)
        #expect(PublicKey(z85: key) == nil, "five characters that stand for more than 32 bits")
        let legal = String(repeating: "0", count: 39) + "#"
        let path = try folder.file(
            "list", "# comment\n#\(legal)\n\n  \(legal)  name with words # remark\r\npublic \(legal.reversed().count)")
        #expect(throws: InputError.self) { try AllowList(path: path) }
        let good = try folder.file("list", "# comment\n#\(legal)\n\n  \(legal)  name with words # remark\r\n")
        let allow = try AllowList(path: good)
        #expect(allow.count == 1 && allow.name(of: legal) == "name with words")
    }

    @Test(arguments: [
        "", "x", String(repeating: "0", count: 39), String(repeating: "0", count: 39) + "\"", String(repeating: "\u{e9}", count: 20),
    ])
    func refusesWhatIsNoKey(text: String) { #expect(PublicKey(z85: text) == nil) }
}
