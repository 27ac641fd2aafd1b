// t2v-coordinator. In: a command line. Out: weights for `spacy train -t2v`.
import ArgumentParser
import Launch
import Run

struct CoordinatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "t2v-coordinator", abstract: "Pretrain spaCy's tok2vec layer on many cores and hosts.", version: Version.current,
        subcommands: [
            PretrainCommand.self, ResumeCommand.self, FeaturesCommand.self, InspectCommand.self, KeygenCommand.self, ProfileCommand.self,
            AttributesCommand.self,
        ])
}

/// A resumed run keeps the core that it was started with: different bits would make it another run.
func blasCoreOfResumedRun() -> String? {
    let arguments = CommandLine.arguments.dropFirst()
    guard arguments.first == "resume" || CommandRunner.value(of: "--resume") == "auto" else { return nil }
    return arguments.dropFirst().lazy.compactMap { RunOptions.blasCore(inFolder: $0) }.first
}

/// "none": the CPU's own core, whatever the run remembers.
func wantedBlasCore() -> String? {
    let given = CommandRunner.value(of: "--blas-core")
    return given == "none" ? nil : given ?? blasCoreOfResumedRun()
}

CommandRunner.run(CoordinatorCommand.self) { try Startup.prepare(blasCore: wantedBlasCore()) }
