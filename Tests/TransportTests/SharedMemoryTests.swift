import Foundation
import Testing

@testable import Base
@testable import Transport

@Suite struct SharedMemoryTests {
    @Test func referencesSurviveTheWire() {
        let reference = SharedReference(offset: 4096, length: 1 << 40, stamp: .max)
        let bytes = reference.encoded()
        #expect(bytes.count == SharedReference.byteCount)
        #expect(bytes.withUnsafeBytes { SharedReference($0) } == reference)
        for index in 0..<8 {
            var other = bytes
            other[index] ^= 1
            #expect(other.withUnsafeBytes { SharedReference($0) } == nil)
        }
        #expect(bytes.dropLast().withUnsafeBytes { SharedReference($0) } == nil)
        #expect((bytes + [0]).withUnsafeBytes { SharedReference($0) } == nil)
    }

    @Test func bothSidesSeeTheSameBytes() throws {
        let ours = try SharedMemory(name: "t2v-test", byteCount: 8192)
        let theirs = try SharedMemory(descriptor: dup(ours.descriptor))
        #expect(theirs.bytes.count == 8192)
        ours.bytes[4100] = 7
        let payload = try #require(theirs.payload(SharedReference(offset: 4096, length: 100, stamp: 0)))
        #expect(payload.count == 100 && payload.data[4] == 7)
    }

    @Test func referencesToNowhereAreRefused() throws {
        let memory = try SharedMemory(name: "t2v-test", byteCount: 8192)
        for (offset, length) in [(0, 8193), (8192, 1), (8256, 0), (.max - 63, 128), (64, .max), (4, 8)] as [(UInt64, UInt64)] {
            #expect(memory.payload(SharedReference(offset: offset, length: length, stamp: 0)) == nil)
        }
        #expect(memory.payload(SharedReference(offset: 8192, length: 0, stamp: 0)) != nil)
        #expect(throws: InputError.self) { try SharedMemory(descriptor: -1) }
    }

    /// A worker so late that its version has been overwritten finds out.
    @Test func aPlaceThatIsUsedAgainIsSeen() throws {
        let shared = try SharedParameters(byteCount: 5000)
        var pool = MessageBufferPool(byteCount: 5000, buffers: shared.buffers(byteCount: 5000))
        var references: [SharedReference] = []
        var current: MessageBuffer?
        for update in 0..<6 as Range<UInt64> {
            let next = pool.next()
            shared.withdraw(next)
            for reference in references.suffix(3) {
                #expect(SharedParameters.isWhole(reference, in: shared.memory, byteCount: 5000), "the last three are whole")
            }
            references.append(try #require(shared.publish(next, update: update)))
            current = next
        }
        withExtendedLifetime(current) {}
        #expect(!SharedParameters.isWhole(references[0], in: shared.memory, byteCount: 5000))
        #expect(SharedParameters.isWhole(references[5], in: shared.memory, byteCount: 5000))
        #expect(shared.publish(MessageBuffer(byteCount: 5000), update: 7) == nil, "not one of the places")
    }

    @Test func buffersAreUsedAgainWhenNobodyHoldsThem() {
        var pool = MessageBufferPool(byteCount: 64, limit: 2)
        let first = pool.next().bytes.baseAddress
        #expect(pool.next().bytes.baseAddress == first)
        var held = [pool.next()]
        held.append(pool.next())
        held.append(pool.next())
        #expect(Set(held.map { $0.bytes.baseAddress }).count == 3)
        let last = held[1].bytes.baseAddress
        held.removeLast(2)
        #expect(pool.next().bytes.baseAddress == last)
    }
}
