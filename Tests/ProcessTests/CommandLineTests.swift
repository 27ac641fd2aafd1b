// The command line, exit statuses and the display, with the real programs. In: arguments, environments, terminals. Out: what users see.
import Base
import CLinux
import Foundation
import Numerics
import Testing

@Suite(.serialized) struct CommandLineTests {
    private func shell(_ command: String, seconds: Double = 120) throws -> (status: Int32, output: String) {
        let program = try Program(
            "/bin/bash", ["-c", command],
            environment: ["C": Program.folder.appending(path: "t2v-coordinator").path, "T": Demo.texts, "V": Demo.vectors])
        return (program.wait(seconds: seconds), program.output)
    }

    private func pretrain(_ more: [String], environment: [String: String] = [:], workers: Int = 2) throws
        -> (status: Int32, output: String, folder: String)
    {
        let output = Scratch.path("out")
        let program = try Program(
            "t2v-coordinator",
            ["pretrain", Demo.texts, Demo.vectors, output, "--cache", Demo.cache, "--workers", "\(workers)", "-i", "1"] + Demo.small + more,
            environment: environment)
        return (program.wait(), program.output, output)
    }

    @Test(arguments: [
        (["-i", "1000000000000000000"], "--n-iter"), (["-i", "-1"], "--n-iter"), (["-d", "-0.1"], "--dropout is -0.1"),
        (["-chr"], "--use-chars"), (["-sa", "1"], "--sa-depth"), (["-cW", "2"], "--cnn-window"), (["-lstm", "1"], "--bilstm-depth"),
        (["-xhy"], "-xhy"), (["-se", "0"], "--n-save-every"), (["-er", "100000000", "-cw", "4096"], "--embed-rows"),
        (["--learn-rate", "-1"], "--learn-rate"), (["--beta1", "1"], "--beta1"), (["--lanes", "5000"], "--lanes"),
        (["--quiet", "--json-progress"], "--quiet"), (["-t2v", "nosuch.bin"], "cannot open the weights: No such file"),
    ]) func isRefused(options: [String], word: String) throws {
        let (status, text, folder) = try pretrain(options)
        let errors = text.split(separator: "\n").filter { $0.hasPrefix("error: ") }
        #expect(status == 2 && errors.count == 1 && errors.first?.contains(word) == true, "\(text)")
        #expect(!text.contains("crashed") && !FileManager.default.fileExists(atPath: folder), "\(text)")
    }

    @Test func neutralOptionsOfSpacy() throws {
        let (status, text, folder) = try pretrain(["-sa", "0", "-cW", "1", "-lstm", "0"])
        #expect(status == 0, "\(text)")
        #expect(Demo.results(folder) == (try Demo.reference(epochs: 1)))
    }

    /// 750 words are a quarter of spaCy's 3,000: half the rate.
    @Test func aScaledLearningRate() throws {
        let words = ["-bs", "750"]
        let scaled = try pretrain(words + ["--scale-learn-rate"])
        #expect(scaled.status == 0 && scaled.output.contains("learning rate times 0.500"), "\(scaled.output)")
        let given = try pretrain(words + ["--learn-rate", "0.0005"])
        #expect(Demo.results(scaled.folder) == Demo.results(given.folder))
        let config = try String(contentsOfFile: "\(scaled.folder)/config.json", encoding: .utf8)
        #expect(config.contains("\"scale_learn_rate\" : true") && config.contains("\"learn_rate\" : 0.001"), "\(config)")
        let other = try shell(
            "\"$C\" pretrain \"$T\" \"$V\" '\(given.folder)' --resume auto \(Demo.small.joined(separator: " ")) -bs 750 --scale-learn-rate")
        #expect(other.status == 2 && other.output.contains("--scale-learn-rate (the run does not use it)"), "\(other.output)")
    }

    /// The bits differ from float32's, and are the same however many workers compute them.
    @Test(.enabled(if: (try? Arithmetic.bf16.checkHost()) != nil, "this CPU has no AVX512-BF16")) func precisionOfProducts() throws {
        let two = try pretrain(["--precision", "bf16"])
        let one = try pretrain(["--precision", "bf16"], workers: 1)
        #expect(two.status == 0 && two.output.contains("matrix products in bf16"), "\(two.output)")
        #expect(Demo.results(two.folder).count == 2 && Demo.results(one.folder) == Demo.results(two.folder))
        #expect(Demo.results(two.folder) != (try Demo.reference(epochs: 1)))
        let warns = two.output.contains("precision bf16 is slower than float32 on this CPU")
        #expect(warns == (Arithmetic.bf16.warning != nil), "\(two.output)")
    }

    /// As `taskset`, Slurm and containers set it: cores of others are not used.
    @Test func onlyTheCoresThatItMayUse() throws {
        let (status, text) = try shell(
            "core=$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//'); "
                + "taskset -c $core \"$C\" pretrain \"$T\" \"$V\" $(mktemp -d)/o -i 1 -cw 32 -cd 1 -er 100")
        #expect(status == 0 && text.contains("using 1 of 1 core\n"), "\(text)")
    }

    @Test func textsAndModelInEitherOrder() throws {
        let first = try shell("\"$C\" features \"$V\" \"$T\" | sha256sum")
        let second = try shell("\"$C\" features \"$T\" \"$V\" | sha256sum")
        #expect(first.status == 0 && first.output == second.output && !first.output.contains("error"), "\(second.output)")
    }

    @Test func emptyPaths() throws {
        let (status, text) = try shell("cd $(mktemp -d) && \"$C\" pretrain \"$T\" \"$V\" ''; s=$?; ls; exit $s")
        #expect(status == 2 && text.contains("OUTPUT_DIR is empty"), "\(text)")
        #expect(text.split(separator: "\n").count == 1, "nothing was written: \(text)")
    }

    @Test func weightsWithAnEndlessNumber() throws {
        let (status, text) = try shell(
            "cd $(mktemp -d) && \"$C\" pretrain \"$T\" \"$V\" a -i 1 -cw 32 -cd 1 -er 100 && "
                + "cp a/model0.bin model9223372036854775807.bin && \"$C\" pretrain \"$T\" \"$V\" b -t2v model9223372036854775807.bin")
        #expect(status == 2 && text.contains("the epoch in the file's name is too large"), "\(text)")
    }

    @Test func outputThatCannotBeWritten() throws {
        let head = try shell("set -o pipefail; \"$C\" features \"$V\" \"$T\" | head -c 10")
        #expect(head.status == 0 && head.output == "{\"tokens\":", "\(head.output)")
        let model = try pretrain([]).folder + "/model0.bin"
        for command in ["features \"$V\" \"$T\"", "inspect \(model)", "--help"] {
            let (status, text) = try shell("\"$C\" \(command) > /dev/full")
            #expect(
                status == 1 && text == "error: standard output: cannot write: No space left on device; free space on its disk\n", "\(text)")
        }
    }

    @Test func workersThatEndAtOnce() throws {
        let (status, text) = try shell(
            "d=$(mktemp -d) && cp \"$C\" $d/ && printf '#!/bin/sh\\nexit 1\\n' > $d/t2v-worker && chmod +x $d/t2v-worker && "
                + "$d/t2v-coordinator pretrain \"$T\" \"$V\" $d/out --cache $d/cache --workers 1 -i 1")
        #expect(status == 75 && text.contains("local workers end as soon as they start") && text.contains("start it again"), "\(text)")
    }

    /// Whoever ignores SIGCHLD passes that on to its children: the kernel would then collect the workers, and forget how they ended.
    @Test func aParentThatIgnoresItsChildren() throws {
        let (status, text) = try shell(
            "d=$(mktemp -d) && cp \"$C\" $d/ && printf '#!/bin/sh\\nexit 7\\n' > $d/t2v-worker && chmod +x $d/t2v-worker && "
                + "env --ignore-signal=CHLD $d/t2v-coordinator pretrain \"$T\" \"$V\" $d/out --cache $d/cache --workers 1 -i 1")
        #expect(status == 75 && text.contains("exit status 7"), "\(text)")
    }

    @Test func tooFewOpenFiles() throws {
        let (status, text) = try shell("ulimit -n 256; \"$C\" pretrain \"$T\" \"$V\" $(mktemp -d)/o --workers 64 --lanes 64 -i 1")
        #expect(status == 2 && text.contains("the limit is 256"), "\(text)")
        let raised = try shell("ulimit -S -n 100; \"$C\" pretrain \"$T\" \"$V\" $(mktemp -d)/o --workers 8 -i 1 -cw 32 -cd 1 -er 100")
        #expect(raised.status == 0, "\(raised.output)")
    }

    /// One worker is leased all of them at once.
    @Test func manyLanes() throws {
        let program = try Program(
            "t2v-coordinator",
            [
                "pretrain", Demo.texts, Demo.vectors, Scratch.path("out"), "--cache", Demo.cache, "--workers", "1", "--lanes", "1500",
                "-i", "1", "-cw", "16", "-cd", "1", "-er", "100", "-bs", "20000",
            ])
        #expect(program.wait() == 0, "\(program.output)")
        #expect(!program.output.contains("takes no messages"), "\(program.output)")
    }

    @Test func theOptimizersConstants() throws {
        let (status, text, folder) = try pretrain(
            ["--learn-rate", "0.002"], environment: ["SPACY_LEARN_RATE": "0.5", "L2_penalty": "0.1"])
        #expect(status == 0, "\(text)")
        #expect(text.contains("the environment sets the optimizer: SPACY_LEARN_RATE=0.5"), "\(text)")
        let config = try String(contentsOfFile: "\(folder)/t2v/run.json", encoding: .utf8)
        #expect(config.contains("0.002") && config.contains("0.1"), "\(config)")
        let resumed = try Program("t2v-coordinator", ["resume", folder, "-i", "2", "--learn-rate", "0.0005"])
        #expect(resumed.wait() == 0 && resumed.output.contains("the learning rate changes from 0.002 to 0.0005"), "\(resumed.output)")
        #expect(try String(contentsOfFile: "\(folder)/t2v/run.json", encoding: .utf8).contains("0.0005"))
    }

    @Test func aLossThatIsNotANumber() throws {
        let (status, text, folder) = try pretrain(["--learn-rate", "1e30", "--grad-clip", "0"])
        #expect(status == 75, "\(text)")
        #expect(text.contains("resume with --learn-rate") && text.contains("resume \(folder)`"), "\(text)")
        #expect(text.contains("lanes"), "\(text)")
    }

    @Test func processesHaveNames() throws {
        let program = try Demo.pretrain(Scratch.path("out"), ["--workers", "1", "-i", "1000"])
        program.waitFor("training:")
        let names = try ([program.processID] + program.workers).map { try String(contentsOfFile: "/proc/\($0)/comm", encoding: .utf8) }
        #expect(names == ["t2v-coordinator\n", "t2v-worker\n"])
        // A closed terminal does not stop the run.
        program.signal(SIGHUP)
        usleep(300_000)
        #expect(program.isRunning)
        program.signal(SIGTERM)
        #expect(program.wait(seconds: 20) == 75, "\(program.output)")
    }

    /// What a terminal of that width shows, as lines and as states of the live line.
    private func onTerminal(_ columns: Int, environment: String) throws -> (rows: [String], states: [String]) {
        let script = """
            import fcntl, os, pty, struct, sys, termios
            pid, fd = pty.fork()
            if pid == 0:
                fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, \(columns), 0, 0))
                os.execv(sys.argv[1], sys.argv[1:])
            while True:
                try: data = os.read(fd, 65536)
                except OSError: break
                if not data: break
                sys.stdout.buffer.write(data)
            os.waitpid(pid, 0)
            """
        let path = Scratch.path("terminal") + ".py"
        try script.write(toFile: path, atomically: true, encoding: .utf8)
        let (status, text) = try shell(
            "\(environment) python3 \(path) \"$C\" pretrain \"$T\" \"$V\" \(Scratch.path("out")) --cache \(Demo.cache) --workers 1 -i 20 "
                + Demo.small.joined(separator: " "))
        #expect(status == 0, "\(text)")
        #expect(!text.unicodeScalars.contains { $0.value == 0x1B }, "no escape sequences")
        let lines = text.replacingOccurrences(of: "\r\n", with: "\n").split(separator: "\n").map(String.init)
        return (lines.map { String($0.split(separator: "\r").last ?? "") }, lines.flatMap { $0.split(separator: "\r").map(String.init) })
    }

    @Test(arguments: [40, 80, 200]) func theDisplayFits(columns: Int) throws {
        let (rows, states) = try onTerminal(columns, environment: "TERM=xterm")
        let live = states.filter { $0.hasPrefix("epoch ") }
        #expect(!live.isEmpty && live.allSatisfy { $0.count < min(columns, 80) })
        // One row for each epoch, whatever else was shown.
        #expect(rows.compactMap { Int($0.split(separator: " ").first ?? "") } == Array(0..<20))
    }

    @Test func aDumbTerminalGetsRowsAlone() throws {
        let (rows, states) = try onTerminal(80, environment: "TERM=dumb")
        #expect(states.allSatisfy { !$0.hasPrefix("epoch ") })
        #expect(rows.compactMap { Int($0.split(separator: " ").first ?? "") } == Array(0..<20))
    }

    @Test func quietAndJSON() throws {
        let quiet = try pretrain(["--quiet"])
        #expect(quiet.status == 0 && !quiet.output.contains("training:") && !quiet.output.contains("# Words"), "\(quiet.output)")
        let (status, text, _) = try pretrain(["--json-progress"])
        #expect(status == 0, "\(text)")
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("{") }
        let objects = lines.compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
        #expect(objects.count == lines.count && objects.contains { $0["event"] as? String == "epoch" }, "\(text)")
    }
}
