import Foundation
import Testing

@testable import Base
@testable import Protocol
@testable import Text
@testable import WorkerKit

/// Blobs that arrive in pieces: complete or not at all.
@Suite struct BlobStoreTests {
    private func store(_ store: BlobStore, _ blob: BlobID, _ offset: UInt64, _ bytes: [UInt8]) throws(InputError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(InputError) in try store.store(Chunk(blob: blob, offset: offset, total: 0), bytes) }
        }
        try result.get()
    }

    @Test func givesAwayWhatIsWhole() throws {
        let blobs = BlobStore()
        blobs.expect(.plan, byteCount: 5)
        try store(blobs, .plan, 3, [4, 5])
        #expect(blobs.take(.plan) == nil)
        try store(blobs, .plan, 0, [1, 2, 3])
        #expect(blobs.take(.plan) == [1, 2, 3, 4, 5])
        #expect(blobs.take(.plan) == nil && !blobs.isExpected(.plan))
    }

    /// Room is taken by what arrives, not by what was announced.
    @Test func aSizeThatIsALieTakesNoMemory() {
        let blobs = BlobStore()
        blobs.expect(.plan, byteCount: .max)
        #expect(blobs.take(.plan) == nil && blobs.isExpected(.plan))
    }

    @Test(arguments: [(.max, 1), (5, 1), (4, 2), (1 << 63, 3)] as [(UInt64, Int)]) func chunksBeyondTheBlobEndIt(offset: UInt64, count: Int)
    {
        let blobs = BlobStore()
        blobs.expect(.plan, byteCount: 5)
        #expect(throws: InputError.self) { try store(blobs, .plan, offset, [UInt8](repeating: 1, count: count)) }
        #expect(!blobs.isExpected(.plan), "a blob with a hole does not count")
    }

    /// A chunk that could not be written: the rest of the file is dropped, and it never gets a name.
    @Test func aFileWithAHoleIsForgotten() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "t2v-blobs-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let blobs = BlobStore()
        blobs.expect(.prepared(1), file: try IncomingFile(target: "\(folder)/shard"))
        try store(blobs, .prepared(1), 0, [1])
        // No file can be that long: the write fails as it would on a full disk.
        #expect(throws: InputError.self) { try store(blobs, .prepared(1), .max, [2]) }
        try store(blobs, .prepared(1), 1, [3])
        #expect(blobs.takeFile(.prepared(1)) == nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
    }
}
