// How a run is spread over this machine. In: cores and what the user asked for. Out: workers, threads, lanes, and a line that says so.
import Base

/// Local workers, their threads, and the lanes that feed them.
package struct Placement: Sendable, Equatable {
    /// Words of an update that a lane should have: with fewer, the overhead of a lane outweighs its work.
    package static let wordsPerLane = 64
    /// Words of an update that a core should have: with fewer, it spends more time waiting for the others and for the step than computing.
    package static let wordsPerCore = 500
    /// The most local workers of a run.
    package static let maximumWorkers = 1_024
    /// The fewest lanes of a run, unless the user gives a number.
    package static let fewestLanes = 4

    /// Lanes for each thread of a worker: documents are not split, so lanes of an update are uneven; with two, a thread that had a long one
    /// takes a short one next (docs/scale.md). Lanes of single-threaded workers are assigned in advance, and more would not help.
    package static let lanesPerThread = 2

    package var workers: Int
    package var threads: Int
    package var lanes: Int
    /// What the user should know: "using 4 of 64 cores; --workers 64 would use more".
    package var notes: [String] = []
    /// The size of an update that would give each core enough to do; nil: they have enough, or the size is fixed.
    package private(set) var fittingBatchSize: Int?

    /// - Parameters:
    ///   - workers: as asked for; nil: as many as the cores and lanes allow, or, if `threads` is nil too, one: its threads take lanes as
    ///     they become free and sum them, while lanes of separate workers are assigned in advance.
    ///   - threads: of a worker; nil: 1 if the number of workers is given, else one for each core.
    ///   - lanes: as asked for, or a resumed run's; nil: 4, or two for each local compute thread (one if workers have one thread) if an
    ///     update has enough words for them.
    ///   - lanesAreFixed: the run was begun with them.
    ///   - batchSize: words of an update.
    package init(cores: Int, workers asked: Int?, threads askedThreads: Int?, lanes askedLanes: Int?, lanesAreFixed: Bool, batchSize: Int) {
        let fed = max(Self.fewestLanes, batchSize / Self.wordsPerLane)
        threads = askedThreads ?? (asked == nil ? max(1, cores) : 1)
        let compute = max(0, asked ?? max(1, cores / max(1, threads))) * threads
        lanes = askedLanes ?? min(max(Self.fewestLanes, compute * (threads > 1 ? Self.lanesPerThread : 1)), fed, ReductionTree.maximumLanes)
        threads = max(1, min(threads, lanes))
        workers = asked ?? max(1, min(lanes, cores) / threads)
        let most = (lanes + threads - 1) / threads
        if workers > most {
            let remedy = lanesAreFixed ? "" : "; --lanes \(min(workers * threads, ReductionTree.maximumLanes)) would feed them"
            notes.append("\(workers) workers were asked for, but \(lanes) lanes feed only \(most)\(remedy)")
            workers = most
        }
        guard workers > 0 else { return }
        let used = min(workers * threads, lanes, cores)
        var line = "using \(used) of \(cores) core\(cores == 1 ? "" : "s")"
        if used < cores {
            if workers * threads < lanes, workers * threads < cores {
                line += "; --workers \(max(1, min(cores, lanes) / threads)) would use more"
            } else if lanesAreFixed {
                line += "; this run has \(lanes) lanes, and no setting uses more"
            } else if askedLanes != nil || lanes < fed {
                line += "; --lanes \(min(cores, ReductionTree.maximumLanes))"
                // If neither workers nor threads are given, there will be one for each core.
                if asked != nil || askedThreads != nil { line += " --workers \(max(1, cores / threads))" }
                line += " would use more"
            } else {
                line += "; larger updates (-bs \(cores * Self.wordsPerLane)) would use more"
            }
        }
        notes.append(line)
        if used > 1, !lanesAreFixed, batchSize < used * Self.wordsPerCore {
            fittingBatchSize = (used * Self.wordsPerCore + 999) / 1000 * 1000
        }
    }

    /// A hint for the user when updates are too small for the cores.
    /// - Parameters:
    ///   - batchSize: words of an update.
    ///   - setting: the option that sets it: "--batch-size".
    package func hint(batchSize: Int, setting: String) -> String? {
        guard let size = fittingBatchSize else { return nil }
        // For fewer words than the rate is meant for, scaling would lower it.
        let canScale = size > RunOptions.unscaledWords && size < RunOptions.tooLargeToScale
        let scaling = canScale ? " with --scale-learn-rate" : ""
        return "each core has only a few of the \(batchSize) words of an update, and waits longer than it computes: "
            + "\(setting) \(size)\(scaling) would use the cores better, but learn less from each word (docs/scale.md says how much)"
    }
}
