// One document of a prepared shard. In: a shard and an index. Out: the document's place among the shard's tokens.

/// A document of a prepared shard.
public struct DocumentView {
    /// Identifies the document in random draws: its line number in the corpus.
    public var key: UInt64
    /// The shard that holds it.
    public var shard: PreparedShard
    /// Index of the document in the shard.
    public var index: Int

    /// The document at `index` of `shard`.
    public init(key: UInt64, shard: PreparedShard, index: Int) {
        self.key = key
        self.shard = shard
        self.index = index
    }

    /// The document's tokens, as indices of the shard's distinct words.
    public var tokens: Range<Int> { Int(shard.starts[index])..<Int(shard.starts[index + 1]) }
}
