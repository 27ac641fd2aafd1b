// Prepared shards in memory. In: bytes from a builder or a preparer. Out: shards.
import Shards

/// Keeps the bytes, aligned like a mapped file.
private final class ShardMemory {
    let buffer: UnsafeMutableRawBufferPointer

    init(_ bytes: [UInt8]) {
        buffer = .allocate(byteCount: bytes.count, alignment: 16)
        buffer.copyBytes(from: bytes)
    }

    deinit { buffer.deallocate() }
}

extension PreparedShard {
    /// A shard of these bytes.
    package convenience init(bytes: [UInt8], schema: FeatureSchema) throws {
        let memory = ShardMemory(bytes)
        try self.init(bytes: UnsafeRawBufferPointer(memory.buffer), owner: memory, schema: schema, place: "x")
    }
}
