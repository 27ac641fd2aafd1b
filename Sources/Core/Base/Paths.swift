// Paths and folders, without Foundation. In: paths. Out: their parts, and folders with errors that say what to do.
import Glibc

package enum Path {
    /// The part after the last slash; trailing slashes do not count.
    package static func name(_ path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? (path.isEmpty ? "" : "/")
    }

    /// The part before the last slash: "." for a bare name.
    package static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// `path` as an absolute path, which stays valid in another working folder.
    package static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        return "\(String(cString: here))/\(path)"
    }

    /// $TMPDIR, or /tmp.
    package static var temporaryFolder: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp" }

    /// Makes a folder and its missing parents.
    /// - Throws: `InputError` with a remedy that fits the reason.
    package static func makeFolder(_ path: String) throws(InputError) {
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return }
        let above = parent(path)
        if above != path, access(above, F_OK) != 0 { try makeFolder(above) }
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
            throw AtomicFile.failure("cannot make the folder", errno, at: path)
        }
    }

    /// Names of what is in a folder, sorted.
    package static func names(in folder: String) throws(InputError) -> [String] {
        guard let stream = opendir(folder) else { throw AtomicFile.failure("cannot read the folder", errno, at: folder) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.ascending()
    }
}
