// Which workers may take part. In: a file of public keys that can change at any time. Out: yes or no for a key.
import Base
import Glibc
import Synchronization

/// The public keys of the workers that are let in. Any thread may ask.
///
/// The file has one key per line, with an optional name (see `KeyFile`). When a key is removed, its worker loses an open session: the
/// coordinator asks `contains(message.userID)` for every message, and calls `refreshIfChanged()` about once a second and on SIGHUP.
package final class AllowList: Sendable {
    /// What has changed since the file was last read.
    package struct Change: Sendable, Equatable {
        /// Keys that are now allowed.
        package var added: [PublicKey] = []
        /// Keys that are no longer allowed.
        package var removed: [PublicKey] = []
        /// The same keys as before.
        package var isEmpty: Bool { added.isEmpty && removed.isEmpty }
    }

    /// Tells versions of the file apart without reading it.
    private struct Stamp: Equatable {
        var inode: UInt = 0
        var size = 0
        var seconds = 0
        var nanoseconds = 0
    }

    private struct State {
        /// Z85 key -> name.
        var names: [String: String]
        var stamp: Stamp
    }

    /// The file.
    package let path: String
    private let state: Mutex<State>

    /// - Throws: `InputError` when the file is missing or a line of it is malformed.
    package init(path: String) throws(InputError) {
        self.path = path
        let stamp = AllowList.stamp(path)
        state = Mutex(State(names: try AllowList.read(path), stamp: stamp))
    }

    /// - Parameter userID: `RouterMessage.userID`: the public key in Z85.
    package func contains(_ userID: String) -> Bool { state.withLock { $0.names[userID] != nil } }

    /// The name that follows the key in the file; empty if there is none.
    package func name(of userID: String) -> String { state.withLock { $0.names[userID] ?? "" } }

    /// How many keys are allowed.
    package var count: Int { state.withLock { $0.names.count } }

    /// Reads the file again. On an error the list stays as it was: a half-written file must not lock the cluster out.
    /// - Throws: `InputError` when the file is missing or a line of it is malformed.
    package func refresh() throws(InputError) -> Change {
        // Taken before reading: a change in between is seen the next time.
        let stamp = AllowList.stamp(path)
        state.withLock { $0.stamp = stamp }
        let names = try AllowList.read(path)
        return state.withLock { state in
            let change = Change(
                added: names.keys.filter { state.names[$0] == nil }.ascending().compactMap { PublicKey(z85: $0) },
                removed: state.names.keys.filter { names[$0] == nil }.ascending().compactMap { PublicKey(z85: $0) })
            state.names = names
            return change
        }
    }

    /// Reads the file again if its inode, size or time of change differ from the last reading, good or bad.
    /// - Throws: as `refresh()`, once for each state of the file.
    package func refreshIfChanged() throws(InputError) -> Change {
        let now = AllowList.stamp(path)
        return state.withLock { $0.stamp == now } ? Change() : try refresh()
    }

    private static func read(_ path: String) throws(InputError) -> [String: String] {
        var names: [String: String] = [:]
        for (key, name) in try KeyFile.readPublicList(path) { names[key.z85] = name }
        return names
    }

    private static func stamp(_ path: String) -> Stamp {
        var status = stat()
        guard stat(path, &status) == 0 else { return Stamp() }
        return Stamp(
            inode: UInt(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }
}
