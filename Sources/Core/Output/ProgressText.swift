// What a run shows of its progress. In: figures and a width. Out: a live line, a row of the table, a JSON line.
import Base

/// The figures at one moment.
package struct ProgressFigures: Sendable, Equatable {
    package var epoch: UInt64 = 0
    package var lastEpoch: UInt64 = 0
    /// Words of the run so far, and of all its epochs.
    package var words: UInt64 = 0
    package var totalWords: UInt64 = 0
    package var wordsPerSecond = 0.0
    /// Summed over the run, as spaCy shows it.
    package var totalLoss = 0.0
    /// The current epoch's mean per selected word.
    package var epochLoss = 0.0
    package var workers = 0
    /// Whether documents are held out, and their last loss per selected word.
    package var holdsOut = false
    package var heldOutLoss: Double?

    package init() {}

    var secondsLeft: Double? {
        wordsPerSecond > 0 ? Double(totalWords - min(words, totalWords)) / wordsPerSecond : nil
    }

    /// One line of at most `width` columns. What does not fit is left out, the least important part first.
    package func liveLine(width: Int) -> String {
        let left = secondsLeft.map { "\(ProgressText.duration($0)) left" }
        // In the order of importance; shown in the order of the second member.
        var parts: [(text: String, place: Int)] = [
            ("epoch \(epoch)/\(lastEpoch)", 0), ("loss \(ProgressText.fixed(epochLoss, 4))", 3),
            ("\(ProgressText.grouped(UInt64(max(0, min(wordsPerSecond, 1e15))))) words/s", 2),
        ]
        if let left { parts.append((left, 6)) }
        parts.append(("\(ProgressText.grouped(words)) words", 1))
        if let heldOutLoss { parts.append(("held-out \(ProgressText.fixed(heldOutLoss, 4))", 4)) }
        parts.append((ProgressText.count(workers, "worker"), 5))
        while true {
            let line = parts.ascending(\.place).map(\.text).joined(separator: "  ")
            if line.count <= width { return line }
            if parts.count == 1 { return String(line.prefix(max(0, width))) }
            parts.removeLast()
        }
    }

    /// spaCy's columns: epoch, words, total loss, loss, words per second; then t2v's. At most `width` characters: what does not fit is left
    /// out, the least important column first.
    package func columns(width: Int) -> String {
        line(["#", "# Words", "Total Loss", "Loss", "w/s", "Held-out"], width)
    }

    /// A row of the table.
    package func row(width: Int) -> String {
        let cells = [
            "\(epoch)", "\(words)", ProgressText.fixed(totalLoss, 1), ProgressText.fixed(epochLoss, 4),
            // The speed is unknown before the second update.
            wordsPerSecond > 0 ? "\(UInt64(min(wordsPerSecond, 1e15)))" : "-", heldOutLoss.map { ProgressText.fixed($0, 4) } ?? "-",
        ]
        return line(cells, width)
    }

    /// Widths of the columns, and their order of importance.
    private static let widths = [3, 11, 13, 7, 8, 8], importance = [0, 3, 5, 1, 4, 2]

    private func line(_ cells: [String], _ width: Int) -> String {
        var kept = Self.importance.filter { $0 < 5 || holdsOut }
        while kept.count > 1, kept.reduce(-2, { $0 + Self.widths[$1] + 2 }) > width { kept.removeLast() }
        return kept.ascending().map { ProgressText.right(cells[$0], Self.widths[$0]) }.joined(separator: "  ")
    }

    /// - Parameter event: "progress" or "epoch".
    package func json(event: String) -> String {
        let left = secondsLeft.map { ",\"seconds_left\":\(UInt64(min($0, 1e15)))" } ?? ""
        func number(_ value: Double) -> String { value.isFinite ? "\(value)" : "null" }
        let heldOut = holdsOut ? ",\"held_out_loss\":\(number(heldOutLoss ?? .nan))" : ""
        return "{\"event\":\"\(event)\",\"epoch\":\(epoch),\"last_epoch\":\(lastEpoch),\"words\":\(words),\"total_words\":\(totalWords),"
            + "\"words_per_second\":\(UInt64(max(0, min(wordsPerSecond, 1e15)))),\"loss\":\(number(totalLoss)),"
            + "\"loss_per_selected_word\":\(number(epochLoss))\(heldOut),\"workers\":\(workers)\(left)}"
    }
}

/// Numbers and words for people.
package enum ProgressText {
    /// "1 worker", "2 workers".
    package static func count(_ number: some BinaryInteger, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// With that many decimals.
    package static func fixed(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite else { return "\(value)" }
        var scale: UInt64 = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = (value.magnitude * Double(scale)).rounded()
        guard scaled < 1e18 else { return "\(value)" }
        let whole = UInt64(scaled)
        let fraction = "\(whole % scale)"
        let sign = value < 0 && whole > 0 ? "-" : ""
        return digits == 0
            ? "\(sign)\(whole)" : "\(sign)\(whole / scale).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }

    /// 1,234,567.
    package static func grouped(_ value: UInt64) -> String {
        let digits = Array("\(value)")
        var out = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { out.append(",") }
            out.append(digit)
        }
        return out
    }

    /// "3 h 5 min", "2 min 10 s", "9 s".
    package static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e12 else { return "years" }
        let total = Int(max(0, seconds))
        if total >= 172_800 { return "\(total / 86_400) d \(total / 3600 % 24) h" }
        return total >= 3600 ? "\(total / 3600) h \(total / 60 % 60) min" : total >= 60 ? "\(total / 60) min \(total % 60) s" : "\(total) s"
    }

    /// A JSON string with its quotes.
    package static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let hex = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }

    static func right(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
}

/// Words a second over the last ten seconds.
package struct WordSpeed: Sendable {
    private var samples: [(time: Milliseconds, words: UInt64)] = []

    package init() {}

    package mutating func add(words: UInt64, at now: Milliseconds) {
        samples.append((now, words))
        while samples.count > 2, now - samples[0].time > 10_000 { samples.removeFirst() }
    }

    package var wordsPerSecond: Double {
        guard let first = samples.first, let last = samples.last, last.time > first.time, last.words >= first.words else { return 0 }
        return Double(last.words - first.words) * 1000 / Double(last.time - first.time)
    }
}
