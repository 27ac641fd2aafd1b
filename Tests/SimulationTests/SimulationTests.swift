// Both state machines in a simulated cluster, seed after seed. In: T2V_SIM_SEEDS or T2V_SIM_SEED. Out: green, or the seed and how to
// replay it.
import Foundation
import Testing

@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment

    /// The command that replays a seed.
    private static func replay(_ seed: UInt64) -> String {
        "make simulate SEED=\(seed)   (T2V_SIM_SEED=\(seed) swift test -c release -Xswiftc -enable-testing --filter SimulationTests)"
    }

    /// `T2V_SIM_SEED=n` replays one seed and prints what happened; `T2V_SIM_SEEDS=n` runs that many (default 2,000), from T2V_SIM_FIRST on.
    @Test func everySeedEndsInTheBitsOfAnUndisturbedRun() throws {
        if let seed = Self.environment["T2V_SIM_SEED"].flatMap(UInt64.init) {
            let world = World(Scenario(seed: seed), traces: true)
            let violation = world.run()
            for line in world.lines ?? [] { print(line) }
            print("seed \(seed): \(violation ?? "done, with the bits of an undisturbed run")")
            #expect(violation == nil)
            return
        }
        let first = Self.environment["T2V_SIM_FIRST"].flatMap(UInt64.init) ?? 0
        let seeds = Self.environment["T2V_SIM_SEEDS"].flatMap(UInt64.init) ?? 2_000
        let (coverage, failures) = Self.run(first..<first + seeds)
        for (seed, violation) in failures { Issue.record("seed \(seed) \(violation)\nreplay: \(Self.replay(seed))") }
        print("simulated \(seeds) seeds: \(coverage)")
        if seeds >= 2_000, failures.isEmpty { Self.expectThatMuchHappened(coverage) }
    }

    /// Stops after ten failures.
    private static func run(_ seeds: Range<UInt64>) -> (Coverage, [(UInt64, String)]) {
        var coverage = Coverage()
        var failures: [(UInt64, String)] = []
        for seed in seeds where failures.count < 10 {
            let world = World(Scenario(seed: seed))
            if let violation = world.run() { failures.append((seed, violation)) }
            coverage = coverage + world.coverage
        }
        return (coverage, failures)
    }

    /// A simulation in which nothing happens is green too.
    private static func expectThatMuchHappened(_ coverage: Coverage) {
        for fault in Fault.allCases { #expect(coverage.faults[fault, default: 0] > 300, "\(fault)") }
        #expect(coverage.lost > 1_000)
        #expect(coverage.doubleLeases > 100)
        #expect(coverage.duplicates > 100)
        #expect(coverage.moves > 1_000)
        #expect(coverage.mismatches > 10)
        #expect(coverage.refusals > 100)
        #expect(coverage.evaluations > 1_000)
        #expect(coverage.evaluationFaults > 300)
        #expect(coverage.earlyEnds > 100)
        #expect(coverage.pieces > 100_000)
        #expect(coverage.gradientPieces > 100_000)
    }

    @Test func aSeedIsTheSameEveryTime() {
        for seed in [3, 16, 77] as [UInt64] {
            let worlds = (0..<2).map { _ in World(Scenario(seed: seed), traces: true) }
            for world in worlds { _ = world.run() }
            #expect(worlds[0].lines == worlds[1].lines)
            #expect((worlds[0].lines ?? []).count > 100)
        }
    }
}
