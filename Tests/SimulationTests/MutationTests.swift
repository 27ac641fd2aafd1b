// The test of the test. In: machines that are wrong on purpose. Out: each is caught by some seed.
import Foundation
import Testing

@Suite struct MutationTests {
    @Test(arguments: Mutation.allCases) func mutationIsCaught(_ mutation: Mutation) {
        let seeds: UInt64 = 4_000
        for seed in 0..<seeds {
            if let violation = World(Scenario(seed: seed), mutation: mutation).run() {
                print("mutation \(mutation) is caught by seed \(seed) \(violation)")
                return
            }
        }
        Issue.record("mutation \(mutation) is not caught within \(seeds) seeds")
    }
}
