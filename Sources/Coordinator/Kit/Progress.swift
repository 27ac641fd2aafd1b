// What the user sees. In: figures. Out: a live line on a terminal, spaCy's rows elsewhere.
import Base
import CLinux
import Foundation
import Run

/// Shows preparation and training on standard output.
package final class Progress {
    private let isTerminal = isatty(1) != 0
    var isInteractive: Bool { isTerminal }
    private var lineIsOpen = false
    private var lastShown: Milliseconds = 0
    private var lastRow: Milliseconds = 0
    private var saidColumns = false
    /// Words of the last row: an epoch that ends with a row just printed needs no second one.
    private var rowWords: UInt64?
    private let rowMilliseconds: Milliseconds
    /// (time, words) of the last seconds, for the current speed.
    private var samples: [(time: Milliseconds, words: UInt64)] = []

    package init(rowMilliseconds: Milliseconds = 10_000) { self.rowMilliseconds = rowMilliseconds }

    /// A line that stays.
    package func say(_ text: String) {
        clearLine()
        write(text + "\n")
    }

    func preparing(done: Int, of total: Int, workers: Int) {
        let now = Startup.milliseconds()
        guard now >= lastShown + (isTerminal ? 100 : rowMilliseconds) else { return }
        lastShown = now
        let text = "preparing: \(done) of \(total) shards, \(workers) worker\(workers == 1 ? "" : "s")"
        if isTerminal { show(text) } else { say(text) }
    }

    struct Figures {
        var epoch: UInt64
        var lastEpoch: UInt64
        var words: UInt64
        var totalWords: UInt64
        var loss: Double
        var lossPerWord: Double
        var workers: Int
    }

    /// Called after every update.
    func training(_ figures: Figures) {
        let now = Startup.milliseconds()
        guard now >= lastShown + 100 else { return }
        lastShown = now
        samples.append((now, figures.words))
        samples.removeAll { now - $0.time > 10_000 && samples.count > 2 }
        let speed = wordsPerSecond
        if isTerminal {
            let left = speed > 0 ? Double(figures.totalWords - min(figures.words, figures.totalWords)) / speed : 0
            show(
                "epoch \(figures.epoch)/\(figures.lastEpoch)  \(grouped(figures.words)) words  \(grouped(UInt64(speed))) words/s  "
                    + "loss/selected word \(fixed(figures.lossPerWord, 4))  \(figures.workers) workers  \(duration(left)) left")
        } else if now >= lastRow + rowMilliseconds {
            row(figures)
        }
    }

    /// One of spaCy's rows: epoch, words, total loss, loss, words per second.
    func row(_ figures: Figures) {
        lastRow = Startup.milliseconds()
        guard rowWords != figures.words else { return }
        rowWords = figures.words
        // Nothing is known of the speed before the second update.
        let speed = wordsPerSecond > 0 ? "\(UInt64(wordsPerSecond))" : "-"
        if !saidColumns {
            saidColumns = true
            say(columns("#", "# Words", "Total Loss", "Loss", "w/s"))
        }
        say(columns("\(figures.epoch)", "\(figures.words)", fixed(figures.loss, 1), fixed(figures.lossPerWord, 4), speed))
    }

    var wordsPerSecond: Double {
        guard let first = samples.first, let last = samples.last, last.time > first.time else { return 0 }
        return Double(last.words - first.words) * 1000 / Double(last.time - first.time)
    }

    private func write(_ text: String) { try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) }

    private func columns(_ a: String, _ b: String, _ c: String, _ d: String, _ e: String) -> String {
        func right(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
        return [right(a, 3), right(b, 11), right(c, 13), right(d, 7), right(e, 8)].joined(separator: "  ")
    }

    private func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

    private func grouped(_ value: UInt64) -> String {
        let digits = Array("\(value)")
        var out = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { out.append(",") }
            out.append(digit)
        }
        return out
    }

    private func duration(_ seconds: Double) -> String {
        let total = Int(seconds)
        return total >= 3600 ? "\(total / 3600) h \(total / 60 % 60) min" : total >= 60 ? "\(total / 60) min \(total % 60) s" : "\(total) s"
    }

    private func show(_ text: String) {
        write("\r\u{1B}[K\(text)")
        lineIsOpen = true
    }

    package func clearLine() {
        guard lineIsOpen else { return }
        write("\r\u{1B}[K")
        lineIsOpen = false
    }
}
