import Testing

@testable import Base
@testable import Protocol

/// Which requests are served, which are not served yet, and which no honest worker makes.
@Suite struct ArtifactServerTests {
    private static let chunk = UInt64(WireLimits.chunk)

    private var server: ArtifactServer {
        var server = ArtifactServer(modelFiles: [10, 2 * Self.chunk + 5], texts: [7, 9], vectorRows: 100, bytesPerRow: 1_200)
        server.add(preparedShard: 0, byteCount: 30)
        server.add(planOf: Self.chunk)
        return server
    }

    @Test func servesWhatIsAskedForAsItShouldBe() {
        #expect(server.answer(FetchRequest(blob: .model(0), length: 10)) == .part(0..<10, total: 10))
        #expect(server.answer(FetchRequest(blob: .model(0))) == .part(0..<10, total: 10), "a chunk is the most")
        #expect(
            server.answer(FetchRequest(blob: .model(1), offset: 2 * Self.chunk, length: 5))
                == .part(2 * Int(Self.chunk)..<2 * Int(Self.chunk) + 5, total: 2 * Self.chunk + 5))
        #expect(server.answer(FetchRequest(blob: .text(1), length: 9)) == .part(0..<9, total: 9))
        #expect(server.answer(FetchRequest(blob: .prepared(0), length: 30)) == .part(0..<30, total: 30))
        #expect(server.answer(FetchRequest(blob: .plan)) == .part(0..<Int(Self.chunk), total: Self.chunk))
        #expect(server.answer(FetchRequest(blob: .rows(77), length: 2_400, rows: [99, 0])) == .part(0..<2_400, total: 2_400))
    }

    @Test func saysNothingToWhatIsNotThereYet() {
        #expect(server.answer(FetchRequest(blob: .prepared(1), length: 30)) == .nothing)
        #expect(ArtifactServer(modelFiles: [], texts: [], vectorRows: 1, bytesPerRow: 4).answer(FetchRequest(blob: .plan)) == .nothing)
        #expect(server.answer(FetchRequest(blob: .parameters(0))) == .nothing, "the machine answers those")
    }

    @Test(arguments: [
        FetchRequest(blob: .model(2), length: 1), FetchRequest(blob: .model(.max), length: 1), FetchRequest(blob: .text(2), length: 1),
        FetchRequest(blob: .prepared(2), length: 1), FetchRequest(blob: .plan, offset: 1 << 63), FetchRequest(blob: .plan, offset: .max),
        FetchRequest(blob: .plan, offset: chunk), FetchRequest(blob: .plan, offset: 1), FetchRequest(blob: .plan, length: 0),
        FetchRequest(blob: .plan, length: 7), FetchRequest(blob: .model(0), length: 9), FetchRequest(blob: .plan, rows: [1]),
        FetchRequest(blob: .rows(0), length: 1_200, rows: [100]), FetchRequest(blob: .rows(0), length: 1_200, rows: [.max]),
        FetchRequest(blob: .rows(0), length: 1_200), FetchRequest(blob: .rows(0), rows: [UInt32](repeating: 1, count: 1_000)),
        FetchRequest(blob: .rows(0), offset: 1, length: 1_200, rows: [1]),
    ]) func refusesWhatNoHonestWorkerAsks(request: FetchRequest) {
        guard case .refusal(let what) = server.answer(request) else { return #expect(Bool(false), "\(request) is served") }
        #expect(what.hasPrefix("a request for"))
    }

    @Test func partsAreExact() {
        #expect(FetchRequest(blob: .plan, offset: 5, length: 10).part(of: 8) == 5..<8)
        #expect(FetchRequest(blob: .plan, offset: 8).part(of: 8) == nil)
        #expect(FetchRequest(blob: .plan, offset: 1 << 63).part(of: .max) == nil)
    }
}
