// From the command line to an exit status. In: arguments. Out: 0 done, 2 wrong arguments or input (one line), 75 stopped and resumable.
import ArgumentParser
import Base
import Foundation

/// What a run ends with when it was stopped early and can be resumed (EX_TEMPFAIL of sysexits.h).
public let stoppedEarlyStatus: Int32 = 75

/// Thrown by a command that ends early but well.
public struct EarlyExit75: Error {
    public init() {}
}

/// Starts a command. ArgumentParser's own errors take several lines and status 64; ours are one line and status 2.
public enum CommandRunner {
    /// Runs `prepare`, parses and runs. Never returns.
    public static func run(_ command: any ParsableCommand.Type, prepare: () throws -> Void) -> Never {
        signal(SIGPIPE, SIG_IGN)
        do {
            try prepare()
            var parsed = try command.parseAsRoot()
            try parsed.run()
            exit(0)
        } catch is EarlyExit75 {
            exit(stoppedEarlyStatus)
        } catch let error as InputError {
            fail("\(error)")
        } catch {
            if command.exitCode(for: error) == .success {
                // --help and --version.
                print(command.fullMessage(for: error))
                exit(0)
            }
            fail(oneLine(command.message(for: error)))
        }
    }

    /// The value that follows an option, looked up before anything is parsed.
    public static func value(of option: String) -> String? {
        let arguments = CommandLine.arguments
        for (index, argument) in arguments.enumerated() {
            if argument == option, index + 1 < arguments.count { return arguments[index + 1] }
            if argument.hasPrefix("\(option)=") { return String(argument.dropFirst(option.count + 1)) }
        }
        return nil
    }

    private static func oneLine(_ text: String) -> String {
        let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
        return "\(lines.joined(separator: " ")); see --help"
    }

    private static func fail(_ line: String) -> Never {
        try? FileHandle.standardError.write(contentsOf: Data("error: \(line)\n".utf8))
        exit(2)
    }
}
