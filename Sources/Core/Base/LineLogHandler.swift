// Log lines for people. In: swift-log messages. Out: one line each on standard error.
import Glibc
import Logging

/// Writes "level: message" lines to standard error; information without its level.
public struct LineLogHandler: LogHandler {
    public var logLevel = Logger.Level.info
    public var metadata = Logger.Metadata()
    private let label: String

    public init(label: String) { self.label = label }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let prefix = event.level <= .info ? "" : "\(event.level): "
        let text = "\(event.message)".split(whereSeparator: \.isNewline).joined(separator: " ")
        // Whoever read it may be gone: `write(_:)` would trap then.
        writeForPeople("\(label): \(prefix)\(text)\n", to: 2)
    }
}
