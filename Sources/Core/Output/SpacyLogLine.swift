// A line of spaCy 3's log.jsonl. In: sums. Out: JSON as srsly writes it.
import Base

/// spaCy 3's keys first, in its order and number format (srsly's ujson: no spaces, at most ten decimals), then t2v's.
package struct SpacyLogLine {
    var words: UInt64
    var loss: Double
    var epochLoss: Double
    var epoch: UInt64
    /// t2v's own keys with JSON values.
    var more: [(key: String, value: String)]

    package init(words: UInt64, loss: Double, epochLoss: Double, epoch: UInt64, more: [(key: String, value: String)] = []) {
        (self.words, self.loss, self.epochLoss, self.epoch, self.more) = (words, loss, epochLoss, epoch, more)
    }

    package var text: String {
        let own = more.map { ",\"\($0.key)\":\($0.value)" }.joined()
        return "{\"nr_word\":\(words),\"loss\":\(Self.number(loss)),\"epoch_loss\":\(Self.number(epochLoss)),\"epoch\":\(epoch)\(own)}"
    }

    /// At most ten decimals, and at least one: 1e-12 becomes 0.0. JSON has only finite numbers.
    package static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        var text = value.fixed(10)
        while text.hasSuffix("0"), !text.hasSuffix(".0") { text.removeLast() }
        return text == "-0.0" ? "0.0" : text
    }
}
