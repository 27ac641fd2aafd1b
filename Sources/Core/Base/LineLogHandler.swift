// Log lines for people. In: swift-log messages. Out: one line each on standard error.
import Glibc
import Logging

/// Writes "level: message" lines to standard error; for information, the message alone.
package struct LineLogHandler: LogHandler {
    package var logLevel = Logger.Level.info
    package var metadata = Logger.Metadata()
    private let label: String

    package init(label: String) { self.label = label }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let prefix = event.level <= .info ? "" : "\(event.level): "
        let text = "\(event.message)".split(whereSeparator: \.isNewline).joined(separator: " ").printable
        // The reader may be gone, and `write(_:)` would trap then.
        writeForPeople("\(label): \(prefix)\(text)\n", to: 2)
    }
}

extension String {
    /// The text without anything that a terminal would interpret, since host names and reasons come from outside. Control characters and
    /// those that change the direction of writing become question marks.
    package var printable: String {
        func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: false
            default: true
            }
        }
        guard !unicodeScalars.allSatisfy(isHarmless) else { return self }
        var out = String.UnicodeScalarView()
        for scalar in unicodeScalars { out.append(isHarmless(scalar) ? scalar : "?") }
        return String(out)
    }
}
