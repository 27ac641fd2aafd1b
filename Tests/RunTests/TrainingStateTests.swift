import Foundation
import Testing

@testable import Base
@testable import Model
@testable import Numerics
@testable import Protocol
@testable import Run
@testable import Transport

/// An update that cannot be applied changes nothing.
@Suite struct TrainingStateTests {
    private static let settings: TrainingSettings = {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows, settings.vectorWidth, settings.lanes) = (12, 1, 70, 5, 2)
        return settings
    }()

    /// A lane's contribution whose floats after the tables are `value`, except one of them.
    private func node(_ lane: LaneID, _ value: Float, loss: Double = 1, last: Float? = nil) throws -> TrainingState.ReceivedNode {
        let coding = GradientCoding(layout: ParameterLayout(spec: .spacy2(Self.settings)))
        var floats = [Float](repeating: value, count: coding.restCount)
        if let last { floats[floats.count - 1] = last }
        let bytes = [UInt8](repeating: 0, count: coding.bitmapBytes) + floats.withUnsafeBytes { Array($0) }
        let contribution = Contribution(
            run: 1, roster: 0, update: 0, parameterHash: 0, node: TreeNode(lane: lane), selected: 2, words: 9, losses: [loss], hash: 0)
        return (TreeNode(lane: lane), contribution, try ZMQMessage(bytes))
    }

    private func all(_ training: TrainingState) -> [[UInt32]] {
        let buffers = training.buffers
        return [buffers.parameters, buffers.moment1, buffers.moment2, buffers.averages].map { pointer in
            (0..<training.layout.count).map { pointer[$0].bitPattern }
        }
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity, 3e38]) func aGradientThatIsNotFiniteIsNotApplied(value: Float) throws {
        let training = TrainingState(settings: Self.settings, spec: .spacy2(Self.settings))
        try training.apply([try node(0, 0.1), try node(1, 0.2)])
        let (before, hash, step) = (all(training), training.broadcast().hash, training.buffers.step)
        let bad = try node(1, 0.1, last: value)
        do {
            try training.apply([try node(0, 0.1), bad])
            Issue.record("it was applied")
        } catch TrainingState.UpdateError.notFinite(let nodes) {
            #expect(nodes == (value.isFinite ? [] : [TreeNode(lane: 1)]), "the lane is named; a sum may overflow by itself")
        }
        #expect(all(training) == before && training.broadcast().hash == hash && training.buffers.step == step)
        #expect(training.update == 1 && training.wordCount == 18 && training.loss == 2)
        try training.apply([try node(0, 0.1), try node(1, 0.2)])
        #expect(training.update == 2)
    }

    @Test func aLossThatIsNotFiniteStopsToo() throws {
        let training = TrainingState(settings: Self.settings, spec: .spacy2(Self.settings))
        let before = all(training)
        do {
            try training.apply([try node(0, 0.1, loss: .nan), try node(1, 0.2)])
            Issue.record("it was applied")
        } catch TrainingState.UpdateError.notFinite(let nodes) {
            #expect(nodes == [TreeNode(lane: 0)])
        }
        #expect(all(training) == before)
    }

    /// Blocks are hashed as they are made: several blocks, with layers that end within them.
    @Test(arguments: [WirePrecision.float32, .bf16]) func theHashIsThatOfWhatTravels(precision: WirePrecision) throws {
        var settings = Self.settings
        (settings.rows, settings.wirePrecision) = (9000, precision)
        let training = TrainingState(settings: settings, spec: .spacy2(settings))
        #expect(training.layout.count * 4 > 2 * Digest64.block)
        for _ in 0..<2 {
            let broadcast = training.broadcast()
            #expect(broadcast.hash == Digest64.hash(blocks: broadcast.message.data))
            try training.apply([])
        }
    }

    /// A check of the payload beforehand finds the faults that `apply` would find.
    @Test func payloadsAreCheckedBeforeTheyCount() throws {
        let coding = GradientCoding(layout: ParameterLayout(spec: .spacy2(Self.settings)))
        let good = try node(0, 1)
        let bytes = try #require(good.payload).data
        try coding.check(payload: bytes)
        func refused(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { (try? coding.check(payload: $0)) == nil } }
        #expect(refused([]) && refused(Array(bytes.dropLast())) && refused(Array(bytes) + [0]))
        var padded = Array(bytes)
        padded[coding.bitmapBytes - 1] |= 0x80
        #expect(refused(padded), "a bit beyond the last row")
        var other = Array(bytes)
        other[0] |= 1
        #expect(refused(other), "a row that does not exist")
    }
}
