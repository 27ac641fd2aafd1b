// The run in figures. In: counters that the coordinator keeps. Out: Prometheus' text format 0.0.4, and whether the run is healthy.
import FoundationEssentials

/// What the coordinator publishes about a run. Counters only grow while the process lives.
package struct MetricsSnapshot: Sendable {
    /// What the coordinator is doing: "preparing", "waiting for workers", "training", "stopping", "finished".
    package var state = "starting"
    /// Applied updates of the whole run, including those before a resume.
    package var updates = 0
    /// The epoch that is being trained, counted from 0.
    package var epoch = 0
    /// Words trained on in the whole run.
    package var words = 0
    /// Over the last few seconds.
    package var wordsPerSecond = 0.0
    /// Loss per selected word of the last update; nil before the first.
    package var lossPerWord: Double?
    /// Workers that hold a lease or could hold one.
    package var readyWorkers = 0
    /// All connected workers, including those that are still preparing.
    package var connectedWorkers = 0
    /// Lanes that moved from one worker to another, or were leased a second time.
    package var leasesMoved = 0
    /// Reason -> how many peers or messages were refused for it. Use few, fixed reasons.
    package var refusals: [String: Int] = [:]
    /// Header and payload bytes from workers.
    package var bytesReceived = 0
    /// Header and payload bytes to workers.
    package var bytesSent = 0
    /// When the last update was applied; nil before the first.
    package var lastUpdate: Date?
    /// When the last checkpoint was safe on disk; nil before the first.
    package var lastCheckpoint: Date?

    /// Nothing done yet.
    package init() {}

    /// The page for `/metrics`.
    func prometheusText(now: Date) -> String {
        var page = ""
        func metric(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: Double)]) {
            guard !samples.isEmpty else { return }
            page += "# HELP t2v_\(name) \(help)\n# TYPE t2v_\(name) \(type)\n"
            for sample in samples { page += "t2v_\(name)\(sample.labels) \(MetricsSnapshot.number(sample.value))\n" }
        }
        func one(_ value: Double?) -> [(labels: String, value: Double)] { value.map { [("", $0)] } ?? [] }
        func label(_ name: String, _ value: String) -> String { "{\(name)=\"\(MetricsSnapshot.escape(value))\"}" }
        metric("info", "gauge", "What the coordinator is doing.", [(label("state", state), 1)])
        metric("updates_total", "counter", "Applied updates (optimizer steps).", one(Double(updates)))
        metric("epoch", "gauge", "The epoch that is being trained, from 0.", one(Double(epoch)))
        metric("words_total", "counter", "Words trained on.", one(Double(words)))
        metric("words_per_second", "gauge", "Words per second over the last few seconds.", one(wordsPerSecond))
        metric("loss_per_word", "gauge", "Loss per selected word of the last update.", one(lossPerWord))
        metric(
            "workers", "gauge", "Workers by what they can do.",
            [(label("state", "ready"), Double(readyWorkers)), (label("state", "connected"), Double(connectedWorkers))])
        metric("leases_moved_total", "counter", "Lanes leased to another or to a second worker.", one(Double(leasesMoved)))
        metric(
            "refusals_total", "counter", "Peers and messages that were refused.",
            refusals.ascending(\.key).map { (label("reason", $0.key), Double($0.value)) })
        metric("received_bytes_total", "counter", "Bytes of messages from workers.", one(Double(bytesReceived)))
        metric("sent_bytes_total", "counter", "Bytes of messages to workers.", one(Double(bytesSent)))
        metric("last_update_timestamp_seconds", "gauge", "When the last update was applied.", one(lastUpdate?.timeIntervalSince1970))
        metric("last_update_age_seconds", "gauge", "Time since the last update.", one(lastUpdate.map { now.timeIntervalSince($0) }))
        metric(
            "checkpoint_age_seconds", "gauge", "Time since the last durable checkpoint.",
            one(lastCheckpoint.map { now.timeIntervalSince($0) }))
        return page
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return abs(value) < 9e15 && value == value.rounded() ? String(Int64(value)) : String(value)
    }

    private static func escape(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
