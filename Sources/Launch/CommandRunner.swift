// From the command line to an exit status. In: arguments. Out: the status, and at most one line on standard error.
import ArgumentParser
import Base
import Glibc

/// What the programs end with; docs/operations.md has the table for users.
package enum ExitStatus {
    package static let done: Int32 = 0
    /// A fault that is not in the user's input and that repeating the command does not fix.
    package static let failed: Int32 = 1
    /// Wrong arguments or input: the same command fails again.
    package static let wrongInput: Int32 = 2
    /// Stopped early: the same command with --resume auto continues (EX_TEMPFAIL of sysexits.h).
    package static let stoppedEarly: Int32 = 75
}

/// Starts a command. ArgumentParser's own errors take several lines and status 64; ours are one line and status 2.
package enum CommandRunner {
    /// Runs `prepare`, parses and runs. Never returns.
    package static func run(_ command: any ParsableCommand.Type, prepare: () throws -> Void) -> Never {
        signal(SIGPIPE, SIG_IGN)
        do {
            try prepare()
            var parsed = try command.parseAsRoot()
            try parsed.run()
            exit(ExitStatus.done)
        } catch is OutputClosed {
            exit(ExitStatus.done)
        } catch let error as StoppedEarly {
            if let reason = error.reason { say("\(reason)") }
            exit(ExitStatus.stoppedEarly)
        } catch let error as InputError {
            say("\(error)")
            exit(ExitStatus.wrongInput)
        } catch {
            conclude(command, error)
        }
    }

    /// ArgumentParser's own errors, which include requests for help, and anything unexpected.
    private static func conclude(_ command: any ParsableCommand.Type, _ error: any Error) -> Never {
        switch command.exitCode(for: error) {
        case .success: help(command, error)
        case .validationFailure:
            say(oneLine(command.message(for: error)))
            exit(ExitStatus.wrongInput)
        default:
            say("\(error)")
            exit(ExitStatus.failed)
        }
    }

    private static func help(_ command: any ParsableCommand.Type, _ request: any Error) -> Never {
        let arguments = CommandLine.arguments.dropFirst()
        // ArgumentParser reads letters after a single dash as one-letter options, and so takes -xhy for a request for help.
        let isAsked = arguments.contains { ["-h", "--help", "-help", "help", "--version"].contains($0) }
        if !isAsked, let unknown = arguments.first(where: { $0.hasPrefix("-") && !$0.hasPrefix("--") && $0.contains("h") }) {
            say(oneLine("Unknown option '\(unknown)'"))
            exit(ExitStatus.wrongInput)
        }
        do {
            try StandardOutput.write(command.fullMessage(for: request) + "\n")
            exit(ExitStatus.done)
        } catch is OutputClosed {
            exit(ExitStatus.done)
        } catch {
            say("\(error)")
            exit(ExitStatus.failed)
        }
    }

    /// The value that follows an option, looked up before anything is parsed.
    package static func value(of option: String) -> String? {
        let arguments = CommandLine.arguments
        for (index, argument) in arguments.enumerated() {
            if argument == option, index + 1 < arguments.count { return arguments[index + 1] }
            if argument.hasPrefix("\(option)=") { return String(argument.dropFirst(option.count + 1)) }
        }
        return nil
    }

    private static func oneLine(_ text: String) -> String {
        let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmed }
        return "\(lines.joined(separator: " ")); see --help"
    }

    private static func say(_ line: String) {
        let bytes = Array("error: \(line.split(whereSeparator: \.isNewline).joined(separator: " "))\n".utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
