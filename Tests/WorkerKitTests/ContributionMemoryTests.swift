// Places for payloads in memory that the coordinator reads.
import Testing

@testable import Transport
@testable import WorkerKit

@Suite struct ContributionMemoryTests {
    @Test func placesFollowEachOther() throws {
        let memory = ContributionMemory(try SharedMemory(name: "t2v-test", byteCount: 4096))
        let first = try #require(memory.room(update: 3, byteCount: 1000))
        // Written at the same time: the length of the first is not yet known.
        let second = try #require(memory.room(update: 3, byteCount: 1000))
        #expect(memory.close(first, byteCount: 100) == SharedReference(offset: 0, length: 100, stamp: 4))
        #expect(memory.close(second, byteCount: 200) == SharedReference(offset: 1024, length: 200, stamp: 4))
        // What the second left over is free again.
        let third = try #require(memory.room(update: 3, byteCount: 2500))
        #expect(memory.close(third, byteCount: 2500).offset == 1280)
        #expect(memory.room(update: 3, byteCount: 1000) == nil)
    }

    /// A late payload must not overwrite what the coordinator is reading.
    @Test func updatesDoNotShareRoom() throws {
        let memory = ContributionMemory(try SharedMemory(name: "t2v-test", byteCount: 4096))
        let late = try #require(memory.room(update: 3, byteCount: 1000))
        #expect(memory.room(update: 4, byteCount: 1000) == nil)
        _ = memory.close(late, byteCount: 10)
        #expect(memory.room(update: 4, byteCount: 4096) != nil)
        #expect(memory.room(update: 3, byteCount: 10) == nil)
    }
}
