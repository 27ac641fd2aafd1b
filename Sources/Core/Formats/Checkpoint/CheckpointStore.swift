// The checkpoints of one run. In: a folder, how many to keep. Out: the last K files, and the newest undamaged one with a report of damaged
// ones.
import Base
import CLinux
import FoundationEssentials
import Glibc

/// The folder in which a run keeps its last checkpoints, named checkpoint-<update>.safetensors. One process uses it at a time.
package struct CheckpointStore: Sendable {
    /// The folder; it must exist.
    package let folder: String
    /// Number of checkpoints to keep.
    package let keep: Int

    /// - Parameter keep: 1 or more.
    package init(folder: String, keep: Int) {
        precondition(keep > 0, "keep must be positive")
        self.folder = folder
        self.keep = keep
    }

    private static let prefix = "checkpoint-", suffix = ".safetensors"

    /// The name of the checkpoint after `update` updates.
    package static func name(update: Int) -> String { "\(prefix)\(update)\(suffix)" }

    package func path(update: Int) -> String { "\(folder)/\(Self.name(update: update))" }

    /// The update numbers of the existing files, oldest first.
    /// - Throws: `InputError` when the folder cannot be read.
    package func updates() throws(InputError) -> [Int] {
        return try Path.names(in: folder).compactMap { name in
            guard name.hasPrefix(Self.prefix), name.hasSuffix(Self.suffix) else { return nil }
            guard let update = Int(name.dropFirst(Self.prefix.count).dropLast(Self.suffix.count)), update >= 0 else { return nil }
            // "+1" and "01" are numbers too, but this program writes no such names.
            return name == Self.name(update: update) ? update : nil
        }.ascending()
    }

    /// Writes `checkpoint`.
    /// - Throws: `InputError` from the disk.
    package func write(_ checkpoint: Checkpoint) throws(InputError) { try checkpoint.write(to: path(update: checkpoint.state.update)) }

    /// Names of files to delete: all but the last `keep`, and those of later updates. A run that resumed before them, because they were
    /// damaged, does those updates again.
    /// - Throws: `InputError` when the folder cannot be read.
    package func stale(after update: Int) throws(InputError) -> [String] {
        let present = try updates()
        let kept = Set(present.filter { $0 <= update }.suffix(keep))
        return present.filter { !kept.contains($0) }.map(Self.name)
    }

    /// The newest undamaged checkpoint.
    /// - Returns: nil if there is none, and an error for every newer file that was skipped: it names the file and what is wrong.
    /// - Throws: `InputError` when the folder cannot be read.
    package func latestGood() throws(InputError) -> (checkpoint: Checkpoint?, skipped: [InputError]) {
        var skipped: [InputError] = []
        for update in try updates().reversed() {
            let path = path(update: update)
            do throws(InputError) {
                let checkpoint = try Checkpoint.load(path: path)
                guard checkpoint.state.update == update else {
                    throw InputError("it holds update \(checkpoint.state.update)", at: path, remedy: "restore its name")
                }
                return (checkpoint, skipped)
            } catch {
                skipped.append(error)
            }
        }
        return (nil, skipped)
    }
}
