// Both state machines in a simulated cluster, seed after seed. In: T2V_SIM_SEEDS or T2V_SIM_SEED. Out: green, or the seed and how to replay it.
import Foundation
import Testing

@testable import Core

@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment

    /// What to type to see a seed again.
    private static func replay(_ seed: UInt64) -> String {
        "T2V_SIM_SEED=\(seed) swift test -c release -Xswiftc -enable-testing --filter SimulationTests (or: make simulate SEED=\(seed))"
    }

    @Test func everySeedEndsInTheBitsOfAnUndisturbedRun() throws {
        if let seed = Self.environment["T2V_SIM_SEED"].flatMap(UInt64.init) {
            let world = World(Scenario(seed: seed), traces: true)
            let violation = world.run()
            for line in world.lines ?? [] { print(line) }
            #expect(violation == nil, "seed \(seed): \(violation ?? "")")
            return
        }
        let seeds = Self.environment["T2V_SIM_SEEDS"].flatMap(UInt64.init) ?? 2_000
        var coverage = Coverage()
        var failed = 0
        let start = Date()
        for seed in 0..<seeds {
            let world = World(Scenario(seed: seed))
            if let violation = world.run() {
                failed += 1
                Issue.record("seed \(seed) \(violation); replay: \(Self.replay(seed))")
                if failed == 10 { break }
            }
            if world.coverage.recovery > 60_000, Self.environment["T2V_SIM_SLOW"] != nil { print("slow seed \(seed): \(world.coverage.recovery) ms") }
            coverage = coverage + world.coverage
        }
        print("simulated \(seeds) seeds in \(Int(Date().timeIntervalSince(start) * 1000)) ms: \(coverage)")
    }
}
