// How fast shards are prepared. In: a model and a shard's text. Out: documents, tokens and CPU seconds, for benchmarks.
import Base
import CLinux
import Glibc
import Shards

/// One measurement of `ShardPreparer` on one thread, to be compared with spaCy's tokenizer on the same core. JSON, features and the shard's
/// bytes are included; opening the model is not.
package struct PreparationSpeed: Sendable {
    /// Documents prepared.
    package let documents: Int
    /// Their tokens.
    package let tokens: Int
    /// CPU time of the thread, which other programs on the machine hardly affect.
    package let cpuSeconds: Double

    /// Tokens per CPU second.
    package var tokensPerSecond: Double { Double(tokens) / max(cpuSeconds, 1e-9) }

    /// Prepares `jsonl` with a preparer that has seen nothing yet: every distinct word and chunk is new to it.
    /// - Throws: `ShardPreparationError` as `ShardPreparer.prepare`.
    package static func measure(model: VectorsModel, jsonl: UnsafeRawBufferPointer) throws(ShardPreparationError) -> PreparationSpeed {
        let preparer = ShardPreparer(model: model, schema: .spacy2, minLength: 0, maxLength: .max)
        let start = ThreadClock.seconds()
        let bytes = try preparer.prepare(jsonl: jsonl)
        let seconds = ThreadClock.seconds() - start
        func header(_ index: Int) -> Int {
            bytes.withUnsafeBytes { Int(truncatingIfNeeded: $0.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)) }
        }
        return PreparationSpeed(documents: header(2), tokens: header(3), cpuSeconds: seconds)
    }

}
