// What the user sees. In: figures. Out: a live line on a terminal, spaCy's rows, JSON lines, or nothing.
import Base
import CLinux
import FoundationEssentials
import Glibc
import Logging
import Output
import Run

/// Shows preparation and training on standard output; warnings go to standard error. A reader that has gone does not stop the run.
package final class ProgressDisplay {
    package enum Style {
        /// A live line and a row for each epoch on a terminal; elsewhere only rows.
        case automatic
        case quiet
        case json
    }

    package let logger = Logger(label: "t2v-coordinator") { LineLogHandler(label: $0) }
    private let style: Style
    /// Whether a line can be overwritten; only carriage returns and spaces are used for this.
    private let isLive: Bool
    /// Columns of the line that can be overwritten.
    private var openColumns = 0
    private var lastShown: Milliseconds = 0
    private var lastRow: Milliseconds = Startup.milliseconds()
    private var saidColumns = ""
    private var speed = WordSpeed()

    /// Time between two states of the live line, and between two rows of an epoch if there is no live line.
    private static let liveMilliseconds: Milliseconds = 250, rowMilliseconds: Milliseconds = 30_000

    package init(style: Style) {
        self.style = style
        let terminal = ProcessInfo.processInfo.environment["TERM"] ?? ""
        isLive = style == .automatic && isatty(1) != 0 && !terminal.isEmpty && terminal != "dumb"
    }

    var wordsPerSecond: Double { speed.wordsPerSecond }

    /// A line that stays.
    package func say(_ text: String) {
        switch style {
        case .quiet: return
        case .json: write("{\"event\":\"message\",\"text\":\(ProgressText.quoted(text))}\n")
        case .automatic:
            clearLine()
            write(text + "\n")
        }
    }

    /// A warning on standard error, whatever the style.
    package func warn(_ text: String) {
        clearLine()
        logger.warning("\(text)")
    }

    func preparing(done: Int, of total: Int, workers: Int) {
        guard isDue(Startup.milliseconds()) else { return }
        if style == .json {
            write("{\"event\":\"preparing\",\"shards\":\(done),\"total_shards\":\(total),\"workers\":\(workers)}\n")
            return
        }
        let text = "preparing: \(done) of \(ProgressText.count(total, "shard")), \(ProgressText.count(workers, "worker"))"
        if isLive { show(String(text.prefix(width))) } else { say(text) }
    }

    /// Called after every update.
    /// - Parameters:
    ///   - figures: all but the speed.
    ///   - isScored: the held-out documents were scored after it.
    func training(_ figures: ProgressFigures, endsEpoch: Bool, isScored: Bool = false) {
        let now = Startup.milliseconds()
        var figures = figures
        if endsEpoch || now >= lastShown + Self.liveMilliseconds { speed.add(words: figures.words, at: now) }
        figures.wordsPerSecond = speed.wordsPerSecond
        if endsEpoch || isScored {
            if style == .json { write(figures.json(event: endsEpoch ? "epoch" : "evaluation") + "\n") } else { row(figures) }
        } else if isDue(now) {
            if style == .json { write(figures.json(event: "progress") + "\n") } else if isLive { show(figures.liveLine(width: width)) }
        }
        guard !isLive, style == .automatic, now >= lastRow + Self.rowMilliseconds else { return }
        row(figures)
    }

    private func isDue(_ now: Milliseconds) -> Bool {
        let pause = isLive ? Self.liveMilliseconds : style == .json ? 1000 : Self.rowMilliseconds
        guard style != .quiet, now >= lastShown + pause else { return false }
        lastShown = now
        return true
    }

    private func row(_ figures: ProgressFigures) {
        lastRow = Startup.milliseconds()
        // A terminal may be resized during the run.
        let columns = figures.columns(width: tableWidth)
        if columns != saidColumns {
            saidColumns = columns
            say(columns)
        }
        say(figures.row(width: tableWidth))
    }

    /// A terminal's last column stays free: writing to it may begin a new line.
    private var width: Int {
        let columns = Int(t2v_terminal_columns(1))
        return (columns > 0 ? min(columns, 80) : 80) - 1
    }

    /// Of a row, which must fit one line; a file or a pipe gets all columns.
    private var tableWidth: Int { t2v_terminal_columns(1) > 0 ? width : .max }

    private func show(_ text: String) {
        write("\r" + text + String(repeating: " ", count: max(0, openColumns - text.count)))
        openColumns = text.count
    }

    package func clearLine() {
        guard openColumns > 0 else { return }
        write("\r" + String(repeating: " ", count: openColumns) + "\r")
        openColumns = 0
    }

    private func write(_ text: String) { try? StandardOutput.write(text) }
}
