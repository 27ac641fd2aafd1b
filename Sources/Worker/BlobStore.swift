// Blobs as they arrive. In: chunks. Out: whole bytes in memory, or whole files in the cache.
import Core
import Foundation

/// Collects fetched blobs. Small ones stay in memory; prepared shards and model files go to the cache's disk.
final class BlobStore {
    private var memory: [BlobID: [UInt8]] = [:]
    private var files: [BlobID: IncomingFile] = [:]

    /// Announces a blob that will arrive in memory.
    func expect(_ blob: BlobID, byteCount: UInt64) { memory[blob] = [UInt8](repeating: 0, count: Int(byteCount)) }

    /// Announces a blob that will arrive as a file.
    func expect(_ blob: BlobID, file: IncomingFile) { files[blob] = file }

    /// - Throws: `InputError` when the disk fails.
    func store(_ chunk: Chunk, _ bytes: UnsafeRawBufferPointer) throws(InputError) {
        if let file = files[chunk.blob] {
            try file.write(bytes, at: chunk.offset)
        } else if let count = memory[chunk.blob]?.count, Int(chunk.offset) + bytes.count <= count {
            memory[chunk.blob]?.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[Int(chunk.offset)..<Int(chunk.offset) + bytes.count]).copyMemory(from: bytes)
            }
        }
    }

    /// Gives a finished blob away.
    func take(_ blob: BlobID) -> [UInt8]? { memory.removeValue(forKey: blob) }

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
