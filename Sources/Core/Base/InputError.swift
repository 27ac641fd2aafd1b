// Errors that a user can cause and fix. One line each: what is wrong, where, what to do.

/// A fault in what the user gave: arguments, corpus, model folder, checkpoint. The programs print `description` as one line and exit 2.
public struct InputError: Error, CustomStringConvertible, Equatable, Sendable {
    /// What is wrong, with what was expected and what was found.
    public var what: String
    /// File, line number, byte offset, tensor or peer.
    public var place: String
    /// What the user can do.
    public var remedy: String

    /// - Parameter place: empty where there is nothing to name.
    public init(_ what: String, at place: String, remedy: String) {
        self.what = what
        self.place = place
        self.remedy = remedy
    }

    /// One line: where, what is wrong, what to do.
    public var description: String {
        let line = place.isEmpty ? what : "\(place): \(what)"
        let whole = remedy.isEmpty ? line : "\(line); \(remedy)"
        return whole.split(whereSeparator: \.isNewline).joined(separator: " ").printable
    }
}

/// The end of a run that can be resumed, or of an attempt that can be repeated: a signal, a full disk, workers that were killed. The
/// programs exit 75.
public struct StoppedEarly: Error, CustomStringConvertible, Equatable, Sendable {
    /// What stopped it; nil if the user has been told.
    public var reason: InputError?

    /// - Parameter reason: nil if the user has been told.
    public init(_ reason: InputError? = nil) { self.reason = reason }

    /// The reason, if the user has not been told.
    public var description: String { reason?.description ?? "stopped early" }
}

/// A fault that is not in the user's input and that repeating the command does not fix. The programs exit 1.
public struct ProgramFailure: Error, CustomStringConvertible, Equatable, Sendable {
    /// What went wrong.
    public var reason: InputError

    /// - Parameter reason: what the user is told.
    public init(_ reason: InputError) { self.reason = reason }

    /// The reason.
    public var description: String { reason.description }
}
