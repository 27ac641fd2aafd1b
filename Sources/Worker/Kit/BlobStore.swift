// Blobs as they arrive. In: chunks. Out: whole bytes in memory, or whole files in the cache.
import Base
import Glibc
import Protocol
import Text

/// Collects fetched blobs. Small ones stay in memory; prepared shards and model files go to the cache's disk.
final class BlobStore {
    /// A blob in memory, and which of its chunks have come.
    private struct Incoming {
        var bytes: [UInt8]
        var missing: Int
        var offsets: Set<UInt64> = []

        mutating func store(_ offset: UInt64, _ chunk: UnsafeRawBufferPointer) {
            guard Int(offset) + chunk.count <= bytes.count, offsets.insert(offset).inserted else { return }
            missing -= chunk.count
            bytes.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)..<Int(offset) + chunk.count]).copyMemory(from: chunk)
            }
        }
    }

    private var memory: [BlobID: Incoming] = [:]
    private var files: [BlobID: IncomingFile] = [:]

    /// Announces a blob that will arrive in memory.
    func expect(_ blob: BlobID, byteCount: UInt64) {
        memory[blob] = Incoming(bytes: [UInt8](repeating: 0, count: Int(byteCount)), missing: Int(byteCount))
    }

    /// Announces a blob that will arrive as a file.
    func expect(_ blob: BlobID, file: IncomingFile) { files[blob] = file }

    /// - Throws: `InputError` when the disk fails.
    func store(_ chunk: Chunk, _ bytes: UnsafeRawBufferPointer) throws(InputError) {
        if let file = files[chunk.blob] {
            try file.write(bytes, at: chunk.offset)
        } else {
            memory[chunk.blob]?.store(chunk.offset, bytes)
        }
    }

    /// Gives a finished blob away; nil while bytes of it are under way: another lane's, say, that was asked for at the same time.
    func take(_ blob: BlobID) -> [UInt8]? {
        guard memory[blob]?.missing == 0 else { return nil }
        return memory.removeValue(forKey: blob)?.bytes
    }

    /// Gives a finished file its name.
    func finishFile(_ blob: BlobID) throws(InputError) {
        guard let file = files.removeValue(forKey: blob) else { return }
        try file.finish()
    }

    func isExpected(_ blob: BlobID) -> Bool { memory[blob] != nil || files[blob] != nil }

    func removeAll() {
        memory = [:]
        files = [:]
    }
}
