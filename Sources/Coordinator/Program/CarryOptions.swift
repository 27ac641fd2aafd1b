// How a run is executed, not what it computes. In: the command line. Out: options that `pretrain` and `resume` share.
import ArgumentParser
import Base
import CoordinatorKit
import Glibc
import Launch
import Protocol
import Run
import Transport

/// A text that can also be unset: "none" forgets what a run remembers.
struct Forgettable: ExpressibleByArgument {
    var value: String?

    init?(argument: String) {
        guard !argument.isEmpty else { return nil }
        value = argument == "none" ? nil : argument
    }
}

/// Options that `pretrain` and `resume` share. A run remembers them; options of `resume` replace those that it remembers.
struct CarryOptions: ParsableArguments {
    @Option(help: "Local workers (default: 1, with a thread for each core that this process may use). 0: only workers on other hosts.")
    var workers: Int?
    @Option(help: "Lanes that a local worker computes at a time (default: 1 with --workers, else one for each core).") var threads: Int?
    @Option(help: "Endpoint for workers on other hosts, for example tcp://0.0.0.0:5599; none: no others.") var bind: Forgettable?
    @Option(help: "Wait for this many workers before training starts (default: 1).") var minWorkers: Int?
    @Option(help: "Seconds between checkpoints within an epoch (default: 300).") var checkpointEvery: Int?
    @Option(help: "Checkpoints that are kept (default: 3).") var keepCheckpoints: Int?
    @Option(help: "How many of the last modelN.bin to keep (default, or none: all).") var keepModels: Forgettable?
    @Option(
        parsing: .unconditional,
        help: "End the run after this many evaluations of the held-out documents without an improvement (default: 0, never).")
    var patience: Int?
    @Option(help: "Threads for traffic with other hosts (default, or none: enough for 10 Gbit/s with keys, at most the cores).")
    var ioThreads: Forgettable?
    @Flag(inversion: .prefixedNo, help: "Refuse workers whose arithmetic gives other bits.") var strictBits: Bool?
    @Option(help: "OpenBLAS core to use, for example Haswell, so that mixed clusters compute equal bits; none: the CPU's own.")
    var blasCore: Forgettable?
    @Option(help: "File with the coordinator's secret key; none: no keys.") var key: Forgettable?
    @Option(help: "File with the public keys of the workers that may join; none: no keys.") var allow: Forgettable?
    @Flag(inversion: .prefixedNo, help: "Bind without keys: anyone who can reach the port can read the texts and change the model.")
    var insecure: Bool?
    @Option(help: "Folder for prepared shards, shared by all runs (default, or none: ~/.cache/t2v).") var cache: Forgettable?
    @Option(help: "Serve Prometheus metrics and /health on HOST:PORT; none: serve none.") var metrics: Forgettable?
    @Flag(help: "Show only warnings and errors.") var quiet = false
    @Flag(help: "Show progress as JSON lines on standard output.") var jsonProgress = false

    func apply(to options: inout RunOptions) throws(InputError) {
        if let bind { options.bind = bind.value }
        if let minWorkers { options.minWorkers = minWorkers }
        if let checkpointEvery { options.checkpointEvery = checkpointEvery }
        if let keepCheckpoints { options.keepCheckpoints = keepCheckpoints }
        if let keepModels { options.keepModels = try count(keepModels, "--keep-models", "a number of files") }
        if let ioThreads { options.ioThreads = try count(ioThreads, "--io-threads", "a number of threads") }
        if let patience { options.patience = patience == 0 ? nil : patience }
        try options.validateEvaluation()
        if let strictBits { options.strictBits = strictBits }
        if let blasCore { options.blasCore = blasCore.value }
        if let key { options.keyFile = key.value.map(absolute) }
        if let allow { options.allowFile = allow.value.map(absolute) }
        if let insecure { options.insecure = insecure }
        if let cache { options.cache = cache.value.map(absolute) }
        if let metrics { options.metrics = metrics.value }
        try validate(options)
    }

    private func count(_ given: Forgettable, _ option: String, _ what: String) throws(InputError) -> Int? {
        guard let text = given.value else { return nil }
        guard let number = Int(text) else {
            throw InputError("\(option) is \(text)", at: "", remedy: "give \(what), or none")
        }
        return number
    }

    /// The workers to start: as asked for now, else as the run remembers.
    /// - Parameter remembered: nil for a new run.
    func place(_ options: inout RunOptions, lanes: Int?, remembered: RunOptions?) -> [String] {
        let placement = Placement(
            cores: CoreBudget.ofThisProcess().cores, workers: workers ?? remembered?.askedWorkers,
            threads: threads ?? remembered?.askedThreads, lanes: lanes, lanesAreFixed: remembered != nil,
            batchSize: options.settings.batchSize)
        options.askedWorkers = workers ?? remembered?.askedWorkers
        options.askedThreads = threads ?? remembered?.askedThreads
        (options.workers, options.threads, options.settings.lanes) = (placement.workers, placement.threads, placement.lanes)
        let setting = options.job == nil ? "--batch-size" : "--pretraining.batcher.size"
        return placement.notes + [placement.hint(batchSize: options.settings.batchSize, setting: setting)].compactMap { $0 }
    }

    private func validate(_ options: RunOptions) throws(InputError) {
        func require(_ good: Bool, _ what: String, _ remedy: String) throws(InputError) {
            guard good else { throw InputError(what, at: "", remedy: remedy) }
        }
        let (mostWorkers, mostThreads) = (Placement.maximumWorkers, RunBounds.maximumThreads)
        try require((0...mostWorkers).contains(workers ?? 1), "--workers is \(workers ?? 0)", "give 0 to \(mostWorkers)")
        try require((1...mostThreads).contains(threads ?? 1), "--threads is \(threads ?? 0)", "give 1 to \(mostThreads)")
        try require(
            workers ?? options.askedWorkers ?? 1 > 0 || options.bind != nil, "--workers 0 without --bind: no worker could ever join",
            "give --bind tcp://HOST:PORT, or --workers")
        try require((1...100_000).contains(options.minWorkers), "--min-workers is \(options.minWorkers)", "give 1 to 100000")
        try require(
            (1...1_000_000).contains(options.checkpointEvery), "--checkpoint-every is \(options.checkpointEvery)", "give seconds, 1 or more"
        )
        try require((1...1000).contains(options.keepCheckpoints), "--keep-checkpoints is \(options.keepCheckpoints)", "give 1 to 1000")
        try require((1...64).contains(options.ioThreads ?? 1), "--io-threads is \(options.ioThreads ?? 0)", "give 1 to 64, or none")
        try require((options.keyFile == nil) == (options.allowFile == nil), "--key and --allow go together", "give both, or neither")
        try require(
            options.keyFile == nil || options.bind != nil, "--key and --allow without --bind", "they are for workers on other hosts")
        try require(!quiet || !jsonProgress, "--quiet and --json-progress cannot be combined", "give one of them")
        if let bind = options.bind, options.keyFile == nil, !options.insecure, try !Endpoint(bind).isLocal {
            throw InputError(
                "other hosts can reach this endpoint and there are no keys", at: bind,
                remedy: "make keys with `t2v-coordinator keygen FOLDER` and give --key and --allow, or say --insecure")
        }
    }

    /// Checks what depends on the number of workers that will be started.
    static func validatePlacement(_ options: RunOptions) throws(InputError) {
        guard options.bind != nil || options.minWorkers <= options.workers else {
            throw InputError(
                "--min-workers \(options.minWorkers) is more than the \(options.workers) local workers, "
                    + "and without --bind no others can join",
                at: "", remedy: "give --bind, or fewer")
        }
        try Startup.requireOpenFiles(localWorkers: options.workers)
    }

    var progress: ProgressDisplay { ProgressDisplay(style: quiet ? .quiet : jsonProgress ? .json : .automatic) }
}

/// An absolute path: a run may be resumed from another folder.
func absolute(_ path: String) -> String {
    Path.absolute(path)
}
