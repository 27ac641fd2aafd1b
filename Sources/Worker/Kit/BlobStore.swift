// Blobs as they arrive. In: chunks. Out: whole bytes in memory, or whole files on disk.
import Base
import Glibc
import Protocol
import Text

/// Collects fetched blobs. Small ones stay in memory; prepared shards and model files go to the cache's disk.
///
/// A blob of which a chunk could not be stored is forgotten: later chunks are dropped, and it never counts as complete.
final class BlobStore {
    /// A blob in memory: the chunks that have arrived. It takes no more room than they do, whatever size was announced.
    private struct Incoming {
        let byteCount: UInt64
        var received: UInt64 = 0
        var chunks: [UInt64: [UInt8]] = [:]

        /// - Returns: false for a chunk that is not within the blob, or not aligned with the others.
        mutating func store(_ offset: UInt64, _ chunk: UnsafeRawBufferPointer) -> Bool {
            let size = UInt64(chunk.count)
            guard offset <= byteCount, size <= byteCount - offset, size <= byteCount - received else { return false }
            guard chunks[offset] == nil else { return true }
            chunks[offset] = Array(chunk)
            received += size
            return true
        }

        /// nil while a byte is missing.
        var bytes: [UInt8]? {
            guard received == byteCount else { return nil }
            var whole: [UInt8] = []
            for (offset, chunk) in chunks.ascending(\.key) {
                guard offset == UInt64(whole.count) else { return nil }
                whole += chunk
            }
            return whole
        }
    }

    private var memory: [BlobID: Incoming] = [:]
    private var files: [BlobID: IncomingFile] = [:]

    /// Announces a blob that will arrive in memory.
    func expect(_ blob: BlobID, byteCount: UInt64) { memory[blob] = Incoming(byteCount: byteCount) }

    /// Announces a blob that will arrive as a file.
    func expect(_ blob: BlobID, file: IncomingFile) { files[blob] = file }

    /// - Throws: `InputError` when the disk fails or the chunk does not fit; the blob is forgotten then.
    func store(_ chunk: Chunk, _ bytes: UnsafeRawBufferPointer) throws(InputError) {
        do throws(InputError) {
            if let file = files[chunk.blob] {
                try file.write(bytes, at: chunk.offset)
            } else if memory[chunk.blob]?.store(chunk.offset, bytes) == false {
                throw InputError("a chunk does not fit into its blob", at: "\(chunk.blob)", remedy: "install the same t2v on both hosts")
            }
        } catch {
            forget(chunk.blob)
            throw error
        }
    }

    /// Hands over a finished blob; nil while bytes of it are in transit: those of another lane, say, that were asked for at the same time.
    func take(_ blob: BlobID) -> [UInt8]? {
        guard let bytes = memory[blob]?.bytes else { return nil }
        memory[blob] = nil
        return bytes
    }

    /// Hands over a finished file; nil if there is none.
    func takeFile(_ blob: BlobID) -> IncomingFile? { files.removeValue(forKey: blob) }

    func isExpected(_ blob: BlobID) -> Bool { memory[blob] != nil || files[blob] != nil }

    private func forget(_ blob: BlobID) { (memory[blob], files[blob]) = (nil, nil) }

    func removeAll() { (memory, files) = ([:], [:]) }
}
