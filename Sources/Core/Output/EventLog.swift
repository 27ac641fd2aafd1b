// What happens in a run, as a file that others read while it runs. In: events. Out: events.jsonl, one compact JSON object per line.
import Base
import FoundationEssentials
import Glibc
import Synchronization

/// A line of events.jsonl (docs/events.md) without its time.
package struct RunEvent: Sendable, Equatable {
    /// A field's value; numbers that are not finite become null.
    package enum Value: Sendable, Equatable {
        case text(String)
        case texts([String])
        case number(Double)
        case count(UInt64)
        case flag(Bool)

        var json: String {
            switch self {
            case .text(let text): ProgressText.quoted(text)
            case .texts(let texts): "[\(texts.map(ProgressText.quoted).joined(separator: ","))]"
            case .number(let number): SpacyLogLine.number(number)
            case .count(let count): "\(count)"
            case .flag(let flag): "\(flag)"
            }
        }
    }

    package let kind: String
    private let fields: [(name: String, value: Value)]

    /// - Parameter fields: in the order of the line; those that are nil are left out.
    package init(_ kind: String, _ fields: [(String, Value?)] = []) {
        self.kind = kind
        self.fields = fields.compactMap { name, value in value.map { (name, $0) } }
    }

    package static func == (a: RunEvent, b: RunEvent) -> Bool { a.line(at: 0) == b.line(at: 0) }

    /// - Parameter time: Unix seconds; three decimals are kept.
    package func line(at time: Double) -> String {
        let rest = fields.map { ",\"\($0.name)\":\($0.value.json)" }.joined()
        return "{\"time\":\(ProgressText.fixed(time, 3)),\"kind\":\(ProgressText.quoted(kind))\(rest)}"
    }
}

/// Appends events, from any thread. A file that cannot be written does not end a run: there is one warning, and the run continues without
/// it.
package final class EventLog: Sendable {
    private struct State {
        var descriptor: Int32 = -1
        var failure: String?
    }

    private let state = Mutex(State())

    package init() {}

    deinit { state.withLock { if $0.descriptor >= 0 { close($0.descriptor) } } }

    /// Opens the file, which may exist already. Until then events are dropped. A line that a killed process left incomplete is ended.
    package func open(_ path: String) {
        state.withLock { state in
            guard state.descriptor < 0 else { return }
            state.descriptor = Glibc.open(path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0o644)
            guard state.descriptor >= 0 else {
                state.failure = String(cString: strerror(errno))
                return
            }
            let end = lseek(state.descriptor, 0, SEEK_END)
            var last = UInt8(ascii: "\n")
            if end > 0, pread(state.descriptor, &last, 1, end - 1) == 1, last != UInt8(ascii: "\n") { Self.write("\n", to: &state) }
        }
    }

    package func append(_ event: RunEvent) {
        let line = event.line(at: Date().timeIntervalSince1970) + "\n"
        state.withLock { state in if state.descriptor >= 0 { Self.write(line, to: &state) } }
    }

    /// Why lines are missing; given only once.
    package func takeFailure() -> String? {
        state.withLock { state in
            defer { state.failure = nil }
            return state.failure
        }
    }

    /// One call per line, so that readers see whole lines. Nothing follows a line that could not be written.
    private static func write(_ text: String, to state: inout State) {
        let bytes = Array(text.utf8)
        let descriptor = state.descriptor
        guard bytes.withUnsafeBytes({ Glibc.write(descriptor, $0.baseAddress, $0.count) }) != bytes.count else { return }
        state.failure = errno == 0 ? "the disk is full" : String(cString: strerror(errno))
        close(descriptor)
        state.descriptor = -1
    }
}
