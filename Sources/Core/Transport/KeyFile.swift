// Key files. In: a folder or a file's path. Out: files of one line, `secret KEY NAME` or `public KEY NAME`, and keys from them.
import Base
import FoundationEssentials
import Glibc

/// Reading and writing key files.
///
/// A file holds one line `secret KEY [NAME]` or `public KEY [NAME]`, and comment lines that begin with `#`. Because of the first word, a
/// file given in the wrong place causes an error that says so, instead of a connection that is never made.
package enum KeyFile {
    /// The meaning of a line of a key file or an allow-list.
    enum Line: Equatable {
        case nothing
        case publicKey(PublicKey, name: String)
        case secretKey(String)
        case wrong(String)
    }

    /// A comment begins with `#`; but so may a key, since `#` is a digit of Z85.
    static func parse(_ line: Substring) -> Line {
        let fields = line.split(whereSeparator: \.isWhitespace)
        guard let first = fields.first else { return .nothing }
        if first.hasPrefix("#"), PublicKey(z85: first) == nil { return .nothing }
        let isTagged = first == "public" || first == "secret"
        guard let key = isTagged ? fields.dropFirst().first : first else { return .wrong("there is no key after \"\(first)\"") }
        guard PublicKey(z85: key) != nil else { return .wrong("there is no key of 40 Z85 characters (found \(key.count) characters)") }
        if first == "secret" { return .secretKey(String(key)) }
        let name = fields.dropFirst(isTagged ? 2 : 1).prefix { !$0.hasPrefix("#") }.joined(separator: " ")
        guard let publicKey = PublicKey(z85: key) else { return .nothing }
        return .publicKey(publicKey, name: name)
    }

    /// Makes the keys of one cluster: `coordinator.key` and `worker.key` (secret, mode 0600), `coordinator.pub` and `worker.pub`.
    /// The coordinator is given `--key coordinator.key --allow worker.pub`, every worker `--server-key coordinator.pub --key worker.key`.
    /// An allow-list is any number of `.pub` lines in one file; with a key for each worker, one can be locked out without the others.
    /// - Returns: the paths, in the order above.
    /// - Throws: `InputError` when one of the files exists (nothing is changed then) or cannot be written.
    @discardableResult
    package static func generate(in folder: String, roles: [String] = ["coordinator", "worker"]) throws(InputError) -> [String] {
        let files = roles.flatMap { ["\(folder)/\($0).key", "\(folder)/\($0).pub"] }
        for path in files where FileManager.default.fileExists(atPath: path) {
            throw InputError("the file exists and is not overwritten", at: path, remedy: "name another folder, or move the old keys away")
        }
        if !FileManager.default.fileExists(atPath: folder), mkdir(folder, 0o700) != 0 {
            throw InputError(
                "cannot make the folder: \(String(cString: strerror(errno)))", at: folder, remedy: "make its parent folder first")
        }
        for role in roles {
            let pair = try KeyPair.generate()
            try write(
                "# CURVE secret key. Anyone who can read this file can pose as the \(role).\nsecret \(pair.secretKey.z85) \(role)\n",
                to: "\(folder)/\(role).key")
            try write("# CURVE public key. No secret.\npublic \(pair.publicKey.z85) \(role)\n", to: "\(folder)/\(role).pub")
        }
        return files
    }

    /// - Returns: the key, and a warning when other users can read the file.
    /// - Throws: `InputError` when the file is missing or holds anything but one secret key. The error never quotes the file.
    package static func readSecret(_ path: String) throws(InputError) -> (key: SecretKey, warning: String?) {
        let (text, mode) = try read(path)
        var found: [SecretKey] = []
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            switch parse(line) {
            case .nothing: continue
            case .secretKey(let z85): if let key = SecretKey(z85: z85) { found.append(key) }
            case .publicKey:
                throw InputError(
                    "this is not a secret key (no \"secret\" before it)", at: "\(path):\(number + 1)", remedy: "give the .key file")
            case .wrong(let what): throw InputError(what, at: "\(path):\(number + 1)", remedy: "make keys with `t2v-coordinator keygen`")
            }
        }
        guard found.count == 1, let key = found.first else {
            throw InputError(
                "\(found.count) secret keys in the file, 1 expected", at: path, remedy: "make keys with `t2v-coordinator keygen`")
        }
        let isOpen = mode & 0o077 != 0
        let modeText = String(mode & 0o777, radix: 8)
        return (key, isOpen ? "\(path): other users may read this secret key (mode \(modeText)); run chmod 600 on it" : nil)
    }

    /// - Throws: `InputError` when the file is missing or holds anything but one public key.
    package static func readPublic(_ path: String) throws(InputError) -> PublicKey {
        let keys = try readPublicList(path)
        guard keys.count == 1, let key = keys.first?.key else {
            throw InputError("\(keys.count) public keys in the file, 1 expected", at: path, remedy: "give the coordinator's .pub file")
        }
        return key
    }

    /// - Throws: `InputError` when the file is missing or a line of it is neither a public key nor a comment.
    static func readPublicList(_ path: String) throws(InputError) -> [(key: PublicKey, name: String)] {
        var found: [(PublicKey, String)] = []
        for (number, line) in try read(path).text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let place = "\(path):\(number + 1)"
            switch parse(line) {
            case .nothing: continue
            case .publicKey(let key, let name): found.append((key, name))
            case .secretKey: throw InputError("a secret key where a public one belongs", at: place, remedy: "give the .pub file")
            case .wrong(let what): throw InputError(what, at: place, remedy: "write PUBLIC-KEY NAME, or a comment after #")
            }
        }
        return found
    }

    /// The longest key file or allow-list that is read: 100,000 keys.
    private static let maximumBytes = 8 << 20

    private static func read(_ path: String) throws(InputError) -> (text: String, mode: mode_t) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw InputError("cannot open: \(String(cString: strerror(errno)))", at: path, remedy: "check the path and its permissions")
        }
        defer { close(descriptor) }
        var status = stat()
        // The mode and size of a pipe or a device (process substitution, /dev/stdin) mean nothing.
        let isFile = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        guard status.st_mode & S_IFMT != S_IFDIR, var bytes = readAll(descriptor, limit: maximumBytes + 1) else {
            throw InputError("cannot be read", at: path, remedy: "give the path of a key file")
        }
        defer { SecretBytes.wipe(&bytes) }
        guard bytes.count <= maximumBytes, let text = String(validating: bytes, as: UTF8.self) else {
            throw InputError(
                "this is not a key file: it is not text, or it is longer than \(maximumBytes) bytes", at: path, remedy: "give a key file")
        }
        return (text, isFile ? status.st_mode & 0o7777 : 0)
    }

    private static func write(_ text: String, to path: String) throws(InputError) {
        // O_EXCL: no key is lost even if two of these run at once.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw InputError("cannot write: \(String(cString: strerror(errno)))", at: path, remedy: "choose a folder that you can write to")
        }
        defer { close(descriptor) }
        do throws(InputError) {
            var sink = FileSink(descriptor: descriptor, path: path)
            try sink.write(Array(text.utf8))
            try sink.flush()
            guard fsync(descriptor) == 0 else { throw AtomicFile.failure("cannot force to disk", errno, at: path) }
        } catch {
            unlink(path)
            throw error
        }
    }
}
