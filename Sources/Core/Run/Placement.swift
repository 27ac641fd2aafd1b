// How a run is spread over this machine. In: cores and what the user asked for. Out: workers, threads, lanes, and a line that says so.
import Base

/// Local workers, their threads, and the lanes that feed them.
package struct Placement: Sendable, Equatable {
    /// Words of an update that a lane should have: with fewer, the overhead of a lane outweighs its work.
    package static let wordsPerLane = 64
    /// Words of an update that a core should have: with fewer it waits for the others, and for the step, longer than it computes.
    package static let wordsPerCore = 500
    /// Lanes that a run has at least unless it is told otherwise.
    package static let fewestLanes = 4

    package var workers: Int
    package var threads: Int
    package var lanes: Int
    /// What the user should know: "using 4 of 64 cores; --workers 64 would use more".
    package var notes: [String] = []
    /// The size of an update that would give each core enough to do; nil: they have it, or the size is fixed.
    package private(set) var fittingBatchSize: Int?

    /// - Parameters:
    ///   - workers: as asked for; nil: as many as the cores and lanes allow.
    ///   - threads: of a worker; nil: 1.
    ///   - lanes: as asked for, or a resumed run's; nil: 4, or as many as there are local compute threads where an update feeds that many.
    ///   - lanesAreFixed: the run was begun with them.
    ///   - batchSize: words of an update.
    package init(cores: Int, workers asked: Int?, threads askedThreads: Int?, lanes askedLanes: Int?, lanesAreFixed: Bool, batchSize: Int) {
        let fed = max(Self.fewestLanes, batchSize / Self.wordsPerLane)
        threads = askedThreads ?? 1
        let compute = max(0, asked ?? max(1, cores / max(1, threads))) * threads
        lanes = askedLanes ?? min(max(Self.fewestLanes, compute), fed, ReductionTree.maximumLanes)
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
                line += "; --lanes \(min(cores, ReductionTree.maximumLanes)) --workers \(max(1, cores / threads)) would use more"
            } else {
                line += "; larger updates (-bs \(cores * Self.wordsPerLane)) would use more"
            }
        }
        notes.append(line)
        if used > 1, !lanesAreFixed, batchSize < used * Self.wordsPerCore {
            fittingBatchSize = (used * Self.wordsPerCore + 999) / 1000 * 1000
        }
    }

    /// What the user should know of updates that are too small for the cores.
    /// - Parameters:
    ///   - batchSize: words of an update.
    ///   - setting: what sets them: "--batch-size".
    package func hint(batchSize: Int, setting: String) -> String? {
        guard let size = fittingBatchSize else { return nil }
        return "each core has only a few of the \(batchSize) words of an update, and waits more than it computes: \(setting) \(size) with "
            + "--scale-learn-rate would use the cores better, but learn less from each word (docs/scale.md says how much)"
    }
}
