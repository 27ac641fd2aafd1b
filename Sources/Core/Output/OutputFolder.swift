// The output folder of a run. In: what a run writes. Out: files that are complete or absent; files of others are left alone.
import Base
import CLinux
import Formats
import FoundationEssentials
import Glibc
import Synchronization

/// OUTPUT_DIR. It holds weights and the log under the names that spaCy's users know; everything else is in OUTPUT_DIR/t2v.
///
/// Looking at the folder changes nothing. A run enters it with `begin` (a new one) or `resume`, after every input has been validated.
/// `t2v/run.json` is the mark of a run that can be resumed: it is written after the first checkpoint. Only files that `t2v/manifest.json`
/// names are ever removed or overwritten, and a file is named there before it is written.
package final class OutputFolder: @unchecked Sendable {
    /// What the folder held when it was opened.
    package enum Contents: Equatable, Sendable {
        case noRun
        case run
        /// A run of t2v 0.1.0: checkpoints/ beside the weights, options in config.json.
        case earlierLayout
    }

    package let path: String
    package private(set) var contents = Contents.noRun
    private var lock: FolderLock?
    private var earlierLock: FolderLock?
    /// Between `begin` and `commit`.
    private var isBeginning = false
    /// The thread that writes files and the one that owns the run both add names.
    private let manifest = Mutex(OutputManifest())

    /// Names relative to the output folder.
    enum Name {
        static let own = "t2v", lock = "t2v/lock", manifest = "t2v/manifest.json", run = "t2v/run.json"
        static let checkpoints = "t2v/checkpoints", spool = "t2v/texts.spool.jsonl", previous = "t2v/previous"
        static let log = "log.jsonl", events = "t2v/events.jsonl"
        static func model(_ epoch: Int, temporary: Bool) -> String { "model\(epoch)\(temporary ? ".temp" : "").bin" }

        /// The epoch of weights with this name; nil for other files.
        static func epoch(ofModel name: String, temporary: Bool) -> Int? {
            guard let epoch = Int(name.dropFirst(5).prefix { $0.isNumber }), model(epoch, temporary: temporary) == name else { return nil }
            return epoch
        }
    }

    /// Looks at the folder, which need not exist. A folder that holds a run is locked, and what a killed process left unfinished is cleaned
    /// up.
    /// - Throws: `InputError` when the path is not a folder, cannot be written, or another coordinator uses it.
    package init(_ path: String) throws(InputError) {
        self.path = path
        guard try checkPlace() else { return }
        guard exists(Name.own) else {
            if try isEarlierRun() { try lockEarlier() }
            return
        }
        lock = try FolderLock(full(Name.lock))
        try recover()
        if exists(Name.run) { contents = .run } else if try isEarlierRun() { try lockEarlier() }
    }

    private func lockEarlier() throws(InputError) {
        earlierLock = try FolderLock(full(".lock"))
        contents = .earlierLayout
    }

    private func full(_ name: String) -> String { "\(path)/\(name)" }
    private func exists(_ name: String) -> Bool {
        var status = stat()
        return lstat(full(name), &status) == 0
    }

    /// - Returns: whether there is anything at the path.
    private func checkPlace() throws(InputError) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else {
            guard errno == ENOENT else { throw AtomicFile.failure("cannot look at the output folder", errno, at: path) }
            var ancestor = AtomicFile.parent(of: path)
            while access(ancestor, F_OK) != 0, ancestor != "/", ancestor != "." { ancestor = AtomicFile.parent(of: ancestor) }
            guard access(ancestor, W_OK | X_OK) == 0 else { throw AtomicFile.failure("cannot make the output folder", errno, at: path) }
            return false
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw InputError("the output path is not a folder", at: path, remedy: "choose another OUTPUT_DIR")
        }
        guard access(path, W_OK | X_OK) == 0 else { throw AtomicFile.failure("cannot write to the output folder", errno, at: path) }
        return true
    }

    private func isEarlierRun() throws(InputError) -> Bool {
        guard !exists(Name.manifest), exists("config.json") else { return false }
        let text = String(decoding: try read("config.json"), as: UTF8.self)
        return text.contains("\"t2v_version\"")
    }

    private func read(_ name: String) throws(InputError) -> [UInt8] {
        let file = try MappedFile(full(name))
        return withExtendedLifetime(file) { Array(file.bytes) }
    }

    // MARK: What is where

    package var logPath: String { full(Name.log) }
    /// Standard input or compressed texts, kept for later epochs and for resuming.
    package var spoolPath: String { full(contents == .earlierLayout ? "texts.spool.jsonl" : Name.spool) }
    package var checkpointFolder: String { full(contents == .earlierLayout ? "checkpoints" : Name.checkpoints) }
    package static func modelName(epoch: Int) -> String { Name.model(epoch, temporary: false) }
    /// Relative to the folder.
    package func checkpointName(update: Int) -> String { "\(Name.checkpoints)/\(CheckpointStore.name(update: update))" }
    /// The options that the run last had.
    package var runPath: String { full(contents == .earlierLayout ? "config.json" : Name.run) }

    // MARK: A new run

    /// Checks that a new run would not overwrite files of others.
    /// - Parameter names: files that the run writes besides the log and the weights, for example "config.json".
    /// - Throws: `InputError` that names the files in the way.
    package func requireRoom(for names: [String]) throws(InputError) {
        guard exists("."), contents != .earlierLayout else { return }
        let own = manifest.withLock { $0 }
        let present = try folderNames(path)
        let inTheWay = present.filter { name in
            !own.contains(name) && (name == Name.log || names.contains(name) || Self.isWeights(name))
        }.ascending()
        guard inTheWay.isEmpty else {
            let more = inTheWay.count > 3 ? " and \(inTheWay.count - 3) more" : ""
            throw InputError(
                "the output folder holds files that this run would write over: \(inTheWay.prefix(3).joined(separator: ", "))\(more)",
                at: path, remedy: "move them away, or choose another OUTPUT_DIR")
        }
    }

    /// modelN.bin, modelN.temp.bin, model-last.bin, model-best.bin.
    static func isWeights(_ name: String) -> Bool {
        guard name.hasPrefix("model"), name.hasSuffix(".bin") else { return false }
        var middle = name.dropFirst(5).dropLast(4)
        if middle == "-last" || middle == "-best" { return true }
        if middle.hasSuffix(".temp") { middle = middle.dropLast(5) }
        return !middle.isEmpty && middle.allSatisfy { $0.isASCII && $0.isNumber }
    }

    /// Begins a new run in the folder: makes and locks it, moves an earlier run aside, and writes `files`. Call `commit` when the first
    /// checkpoint is on disk; if the process ends before that, the earlier run stays as it was.
    /// - Parameters:
    ///   - files: names and bytes of the files that the run begins with.
    ///   - spool: texts that are to be kept.
    package func begin(files: [(name: String, bytes: [UInt8])], spool: UnnamedFile?) throws(InputError) {
        try makeFolder(Name.own)
        if lock == nil {
            lock = try FolderLock(full(Name.lock))
            // Another coordinator may have started while the inputs were being prepared.
            try recover()
            guard !exists(Name.run) else {
                throw InputError("another run has begun in this folder in the meantime", at: path, remedy: "choose another OUTPUT_DIR")
            }
        }
        isBeginning = true
        if contents == .earlierLayout { try adopt() }
        try requireRoom(for: files.map(\.name))
        if contents == .run { try moveAside() }
        manifest.withLock { $0 = OutputManifest() }
        try saveManifest()
        try makeFolder(Name.checkpoints)
        for file in files { try write(file.bytes, to: file.name) }
        if let spool {
            try claim(Name.spool)
            try spool.link(to: full(Name.spool))
        }
    }

    /// The first checkpoint is on disk: from now on this is the folder's run, and the earlier one is removed.
    package func commit(run: [UInt8]) throws(InputError) {
        try write(run, to: Name.run)
        contents = .run
        isBeginning = false
        removePrevious()
    }

    /// Undoes `begin`, unless `commit` followed.
    package func abandon() {
        guard isBeginning else { return }
        isBeginning = false
        try? recover()
    }

    /// Continues the folder's run.
    /// - Parameters:
    ///   - run: the options that it now has.
    ///   - spool: texts to keep, if those kept before are gone.
    ///   - logByteCount: length of the log according to the checkpoint; the rest belongs to updates that are done again.
    /// - Returns: the log's length, which is less if someone has shortened it.
    package func resume(run: [UInt8], spool: UnnamedFile?, logByteCount: Int) throws(InputError) -> Int {
        if contents == .earlierLayout { try adopt() }
        try write(run, to: Name.run)
        if let spool, !exists(Name.spool) {
            try claim(Name.spool)
            try spool.link(to: full(Name.spool))
        }
        var status = stat()
        guard stat(logPath, &status) == 0 else { return 0 }
        let length = min(Int(status.st_size), logByteCount)
        guard truncate(logPath, off_t(length)) == 0 else { throw AtomicFile.failure("cannot shorten the log", errno, at: logPath) }
        return length
    }

    // MARK: Files of a run

    /// Adds a file to the manifest before it is written.
    /// - Throws: `InputError` when the name belongs to a file that is not t2v's.
    package func claim(_ name: String) throws(InputError) {
        guard !manifest.withLock({ $0.contains(name) }) else { return }
        guard !exists(name) else {
            throw InputError("t2v did not write this file and does not overwrite it", at: full(name), remedy: "move it away")
        }
        _ = manifest.withLock { $0.add(name) }
        try saveManifest()
    }

    /// - Returns: the path of events.jsonl, which the run appends to.
    package func claimEvents() throws(InputError) -> String {
        try claim(Name.events)
        return full(Name.events)
    }

    /// Writes a whole file.
    package func write(_ bytes: [UInt8], to name: String) throws(InputError) {
        try claim(name)
        try AtomicFile.write(bytes, to: full(name))
    }

    package func writeModel(_ bytes: [UInt8], epoch: Int, temporary: Bool) throws(InputError) {
        try write(bytes, to: Name.model(epoch, temporary: temporary))
    }

    /// Appends a line to log.jsonl and waits until it is on disk.
    /// - Parameter byteCount: the log's length; what a failed attempt left beyond it is overwritten.
    /// - Returns: the new length.
    package func appendLog(_ line: String, after byteCount: Int) throws(InputError) -> Int {
        try claim(Name.log)
        let descriptor = open(logPath, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw AtomicFile.failure("cannot open the log", errno, at: logPath) }
        defer { close(descriptor) }
        let bytes = Array((line + "\n").utf8)
        let written = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, off_t(byteCount)) }
        guard written == bytes.count else { throw AtomicFile.failure("cannot write the log", written < 0 ? errno : ENOSPC, at: logPath) }
        guard ftruncate(descriptor, off_t(byteCount + bytes.count)) == 0, fsync(descriptor) == 0 else {
            throw AtomicFile.failure("cannot write the log", errno, at: logPath)
        }
        return byteCount + bytes.count
    }

    /// Writes a checkpoint, and then removes those of this run that are no longer kept.
    package func save(_ checkpoint: Checkpoint, keep: Int) throws(InputError) {
        let store = CheckpointStore(folder: checkpointFolder, keep: keep)
        let prefix = "\(Name.checkpoints)/"
        try claim(prefix + CheckpointStore.name(update: checkpoint.state.update))
        try store.write(checkpoint)
        let stale = try store.stale(after: checkpoint.state.update).map { prefix + $0 }
        let own = manifest.withLock { manifest in stale.filter { manifest.contains($0) } }
        guard !own.isEmpty else { return }
        for name in own { unlink(full(name)) }
        try AtomicFile.syncFolder(store.folder)
        manifest.withLock { manifest in for name in own { manifest.remove(name) } }
        try saveManifest()
    }

    /// Removes weights of this run that are no longer kept: modelN.bin up to `epoch` except the last `keep`, and modelN.temp.bin before
    /// them. Those of later epochs remain if the run has resumed before them, and are overwritten.
    package func removeModels(before epoch: Int, keep: Int) throws(InputError) {
        let names = manifest.withLock { $0.files }
        let kept = names.compactMap { Name.epoch(ofModel: $0, temporary: false) }.filter { $0 <= epoch }.ascending().suffix(keep)
        guard let first = kept.first else { return }
        let stale = names.filter { name in
            [false, true].contains { temporary in Name.epoch(ofModel: name, temporary: temporary).map { $0 < first } ?? false }
        }
        guard !stale.isEmpty else { return }
        for name in stale { unlink(full(name)) }
        try AtomicFile.syncFolder(path)
        manifest.withLock { manifest in for name in stale { manifest.remove(name) } }
        try saveManifest()
    }

    private func saveManifest() throws(InputError) {
        let bytes = try manifest.withLock { $0 }.encoded()
        try AtomicFile.write(bytes, to: full(Name.manifest))
    }
}

// MARK: Replacing a run, and what a killed process left

extension OutputFolder {
    /// Files of a run besides those that its manifest names.
    private static let marks = [Name.run, Name.manifest]

    /// Moves the run into t2v/previous. The order is such that `recover` can deal with an interruption at any point: the mark of a run goes
    /// first.
    private func moveAside() throws(InputError) {
        let files = manifest.withLock { $0.files }
        for folder in ["", "/t2v", "/\(Name.checkpoints)"] { try makeFolder(Name.previous + folder) }
        for name in Self.marks + files.filter({ !Self.marks.contains($0) }) where exists(name) {
            let folder = AtomicFile.parent(of: "\(Name.previous)/\(name)")
            try makeFolder(folder)
            guard rename(full(name), full("\(Name.previous)/\(name)")) == 0 else {
                throw AtomicFile.failure("cannot move the earlier run aside", errno, at: full(name))
            }
        }
        try AtomicFile.syncFolder(path)
    }

    /// Removes the run that was moved aside: its files, and the folders that are then empty.
    private func removePrevious() {
        guard exists(Name.previous) else { return }
        let bytes = try? read("\(Name.previous)/\(Name.manifest)")
        let files = bytes.flatMap { try? OutputManifest.decode($0, place: Name.previous) }?.files ?? []
        // The mark of a run goes last: until then `recover` knows that this run is to be removed.
        for name in files.filter({ !Self.marks.contains($0) }) + [Name.manifest, Name.run] { unlink(full("\(Name.previous)/\(name)")) }
        removeFolders(Name.previous)
    }

    /// Brings the folder to one of three states: no run, a run, a run of the earlier layout.
    private func recover() throws(InputError) {
        AtomicFile.removeLeftovers(in: path)
        AtomicFile.removeLeftovers(in: full(Name.own))
        AtomicFile.removeLeftovers(in: full(Name.checkpoints))
        if exists("\(Name.previous)/\(Name.run)") {
            if exists(Name.run) { removePrevious() } else { try restorePrevious() }
        } else {
            removeFolders(Name.previous)
        }
        guard exists(Name.manifest) else { return }
        let found = try OutputManifest.decode(try read(Name.manifest), place: full(Name.manifest))
        if exists(Name.run) {
            manifest.withLock { $0 = found }
        } else {
            remove(found)
        }
    }

    /// Undoes a run that never wrote its first checkpoint.
    private func remove(_ attempt: OutputManifest) {
        for name in attempt.files { unlink(full(name)) }
        unlink(full(Name.manifest))
        rmdir(full(Name.checkpoints))
    }

    /// Puts back the run that was moved aside.
    private func restorePrevious() throws(InputError) {
        let aside = "\(Name.previous)/\(Name.manifest)"
        if exists(aside) {
            if exists(Name.manifest) { remove(try OutputManifest.decode(try read(Name.manifest), place: full(Name.manifest))) }
            let files = try OutputManifest.decode(try read(aside), place: full(aside)).files.filter { !Self.marks.contains($0) }
            for name in files + [Name.manifest] { try moveBack(name) }
        }
        try moveBack(Name.run)
        removeFolders(Name.previous)
        try AtomicFile.syncFolder(path)
    }

    private func moveBack(_ name: String) throws(InputError) {
        let aside = "\(Name.previous)/\(name)"
        guard exists(aside) else { return }
        try makeFolder(AtomicFile.parent(of: name))
        guard !exists(name) else {
            throw InputError("a file is in the way of the run that was to be replaced", at: full(name), remedy: "move it away")
        }
        guard rename(full(aside), full(name)) == 0 else { throw AtomicFile.failure("cannot put the run back", errno, at: full(name)) }
    }

    /// Converts a run of the earlier layout. An interruption loses nothing at any point; the manifest is written last.
    private func adopt() throws(InputError) {
        try makeFolder(Name.own)
        if lock == nil { lock = try FolderLock(full(Name.lock)) }
        var found = OutputManifest()
        let names = try folderNames(path)
        for name in names where name == "config.json" || name == Name.log { _ = found.add(name) }
        // The log says which weights that run wrote.
        let log = exists(Name.log) ? String(decoding: try read(Name.log), as: UTF8.self) : ""
        for match in log.matches(of: /"epoch":([0-9]{1,9})\b/) {
            guard let epoch = Int(match.output.1) else { continue }
            for temporary in [false, true] where exists(Name.model(epoch, temporary: temporary)) {
                _ = found.add(Name.model(epoch, temporary: temporary))
            }
        }
        for (old, new) in [("checkpoints", Name.checkpoints), ("texts.spool.jsonl", Name.spool)] where exists(old) && !exists(new) {
            guard rename(full(old), full(new)) == 0 else { throw AtomicFile.failure("cannot move the run's files", errno, at: full(old)) }
        }
        if exists(Name.spool) { _ = found.add(Name.spool) }
        let updates = exists(Name.checkpoints) ? try CheckpointStore(folder: full(Name.checkpoints), keep: 1).updates() : []
        for update in updates {
            _ = found.add("\(Name.checkpoints)/\(CheckpointStore.name(update: update))")
        }
        try AtomicFile.write(try read("config.json"), to: full(Name.run))
        _ = found.add(Name.run)
        manifest.withLock { [found] in $0 = found }
        try saveManifest()
        contents = .run
    }

    private func folderNames(_ folder: String) throws(InputError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw AtomicFile.failure("cannot read the folder", errno, at: folder)
        }
    }

    /// Removes a folder below the output folder with all empty folders in it.
    private func removeFolders(_ name: String) {
        var status = stat()
        guard lstat(full(name), &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return }
        for inner in (try? folderNames(full(name))) ?? [] { removeFolders("\(name)/\(inner)") }
        rmdir(full(name))
    }

    /// Makes a folder below the output folder, with its parents.
    private func makeFolder(_ name: String) throws(InputError) {
        do {
            try FileManager.default.createDirectory(atPath: full(name), withIntermediateDirectories: true)
        } catch {
            throw AtomicFile.failure("cannot make the folder", errno, at: full(name))
        }
    }
}
