// The run's events (docs/events.md). In: what the shell does, notices of the state machine. Out: lines of OUT/t2v/events.jsonl.
import Base
import Output
import Protocol
import Run
import Text

/// The starting values for the figures of the current row and epoch.
struct EventPace {
    /// Between two `progress` events.
    private static let interval: Milliseconds = 10_000

    private var started: Milliseconds = 0
    private var rowAt: Milliseconds = 0
    private var rowLoss = 0.0
    private var rowSelected: UInt64 = 0
    private var epochAt: Milliseconds = 0
    private var epochWords: UInt64 = 0

    init() {}

    init(_ training: TrainingState, at now: Milliseconds) {
        (started, rowAt, epochAt) = (now, now, now)
        (rowLoss, rowSelected, epochWords) = (training.loss, training.selectedCount, training.wordCount)
    }

    func seconds(at now: Milliseconds) -> Double { Double(now - started) / 1000 }

    /// The loss per selected word since the last row, if a row is due.
    mutating func row(_ training: TrainingState, at now: Milliseconds) -> Double? {
        guard now >= rowAt + Self.interval, training.selectedCount > rowSelected else { return nil }
        defer { (rowAt, rowLoss, rowSelected) = (now, training.loss, training.selectedCount) }
        return (training.loss - rowLoss) / Double(training.selectedCount - rowSelected)
    }

    /// Seconds, and words per second, of the epoch that ends now; only of the part that this process has done.
    mutating func epoch(_ training: TrainingState, at now: Milliseconds) -> (seconds: Double, speed: Double) {
        defer { (epochAt, epochWords) = (now, training.wordCount) }
        let seconds = Double(now - epochAt) / 1000
        return (seconds, seconds > 0 ? Double(training.wordCount - epochWords) / seconds : 0)
    }
}

extension RunShell {
    /// Training begins: from now on there is an output folder to write to.
    func startEvents(_ updates: UpdatePlan, documents: Int) {
        let (options, resumed) = (setup.options, setup.checkpoint != nil)
        pace = EventPace(training, at: Startup.milliseconds())
        do throws(InputError) { record.open(try setup.folder.claimEvents()) } catch { say(.warning, "\(error)") }
        record.append(
            RunEvent(
                "started",
                [
                    ("resumed", .flag(resumed)), ("version", .text(Version.current)),
                    ("texts", .texts(options.texts ?? [options.textsLoc])),
                    ("documents", .count(UInt64(documents))), ("words", .count(updates.words)),
                    ("updates_per_epoch", .count(updates.updatesPerEpoch)), ("lanes", .count(UInt64(options.settings.lanes))),
                    ("workers", .count(UInt64(machine.workerCount))), ("max_epochs", .count(UInt64(options.epochStart + options.nIter))),
                    ("nr_word", .count(training.wordCount)),
                ]))
        for notice in machine.present { note(notice) }
    }

    /// The run ends in this process.
    func endEvents(_ status: String, _ why: String) {
        let now = Startup.milliseconds()
        for case .joined(let worker, let host, _, let workers) in machine.present.reversed() {
            note(.left(worker: worker, host: host, reason: "finished", workers: workers - 1))
        }
        record.append(
            RunEvent(
                "stopped",
                [
                    ("status", .text(status)), ("why", .text(why)), ("nr_word", .count(training.wordCount)),
                    ("seconds", .number(pace.seconds(at: now))),
                ]))
    }

    func note(_ notice: CoordinatorStateMachine.Notice) {
        switch notice {
        case .joined(let worker, let host, let threads, let workers):
            record.append(
                RunEvent(
                    "worker_joined",
                    [
                        ("worker", .count(UInt64(worker))), ("host", .text(host)), ("threads", .count(UInt64(threads))),
                        ("workers", .count(UInt64(workers))),
                    ]))
        case .left(let worker, let host, let reason, let workers):
            record.append(
                RunEvent(
                    "worker_left",
                    [
                        ("worker", .count(UInt64(worker))), ("host", .text(host)), ("reason", .text(reason)),
                        ("workers", .count(UInt64(workers))),
                    ]))
        }
    }

    /// After an update.
    func noteProgress(epoch: UInt64) {
        guard let loss = pace.row(training, at: Startup.milliseconds()) else { return }
        record.append(
            RunEvent(
                "progress",
                [
                    ("epoch", .count(epoch)), ("nr_word", .count(training.wordCount)),
                    ("words_per_second", .number(progress.wordsPerSecond.rounded())), ("workers", .count(UInt64(machine.workerCount))),
                    ("loss", .number(loss)),
                ]))
    }

    /// The end of an epoch. - Parameter file: its weights, if they are saved.
    func epochEvent(_ epoch: UInt64, file: String?) -> RunEvent {
        let (seconds, speed) = pace.epoch(training, at: Startup.milliseconds())
        return RunEvent(
            "epoch",
            [
                ("epoch", .count(epoch)), ("nr_word", .count(training.wordCount)), ("words_per_second", .number(speed.rounded())),
                ("seconds", .number(seconds)), ("workers", .count(UInt64(machine.workerCount))),
                ("loss", .number(training.epochLossPerWord)),
                ("file", file.map { .text($0) }),
            ])
    }
}
