// The checkpoints of one run. In: a folder, how many to keep. Out: the last K files, and the newest whole one with a word on broken ones.
import Base
import CLinux
import FoundationEssentials
import Glibc

/// The folder in which a run keeps its last checkpoints, named checkpoint-<update>.safetensors. One process uses it at a time.
package struct CheckpointStore: Sendable {
    /// The folder; it must be there.
    package let folder: String
    /// Number of checkpoints that stay.
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

    /// The update numbers of the files that are there, oldest first.
    /// - Throws: `InputError` when the folder cannot be read.
    package func updates() throws(InputError) -> [Int] {
        return try Path.names(in: folder).compactMap { name in
            guard name.hasPrefix(Self.prefix), name.hasSuffix(Self.suffix) else { return nil }
            guard let update = Int(name.dropFirst(Self.prefix.count).dropLast(Self.suffix.count)), update >= 0 else { return nil }
            // "+1" and "01" are numbers too, but not names of ours.
            return name == Self.name(update: update) ? update : nil
        }.sorted()
    }

    /// Writes `checkpoint`.
    /// - Throws: `InputError` from the disk.
    package func write(_ checkpoint: Checkpoint) throws(InputError) { try checkpoint.write(to: path(update: checkpoint.state.update)) }

    /// Names of files that are no longer kept: all but the last `keep`, and those of later updates: a run that resumed before them (they
    /// were damaged) makes those updates again.
    /// - Throws: `InputError` when the folder cannot be read.
    package func stale(after update: Int) throws(InputError) -> [String] {
        let present = try updates()
        let kept = Set(present.filter { $0 <= update }.suffix(keep))
        return present.filter { !kept.contains($0) }.map(Self.name)
    }

    /// The newest checkpoint that is whole.
    /// - Returns: nil where there is none, and one error for every newer file that was passed over: it names the file and what is wrong.
    /// - Throws: `InputError` when the folder cannot be read.
    package func latestGood() throws(InputError) -> (checkpoint: Checkpoint?, skipped: [InputError]) {
        var skipped: [InputError] = []
        for update in try updates().reversed() {
            let path = path(update: update)
            do throws(InputError) {
                let checkpoint = try Checkpoint.load(path: path)
                guard checkpoint.state.update == update else {
                    throw InputError("it holds update \(checkpoint.state.update)", at: path, remedy: "give it back its name")
                }
                return (checkpoint, skipped)
            } catch {
                skipped.append(error)
            }
        }
        return (nil, skipped)
    }
}
