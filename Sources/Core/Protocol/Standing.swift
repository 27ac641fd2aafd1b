// May a worker get lanes? In: incidents and time. Out: yes, only when there is nobody else, or no.
import Base

/// How the coordinator thinks of a worker.
enum Standing: Sendable, Equatable {
    /// Gets its share of the work.
    case good
    /// Lost a lane to a second holder, or did not open one: gets none until the time is over and it was heard again, unless there is
    /// nobody else.
    case suspended(until: Milliseconds, heard: Bool)
    /// Reported a fault of its host: gets nothing until the time is over, even when nobody else is there; from then on as if suspended.
    case quarantined(until: Milliseconds, heard: Bool)

    /// When the last suspension or quarantine is or was over.
    var until: Milliseconds {
        switch self {
        case .good: 0
        case .suspended(let until, _), .quarantined(let until, _): until
        }
    }

    private var wasHeard: Bool {
        switch self {
        case .good: true
        case .suspended(_, let heard), .quarantined(_, let heard): heard
        }
    }

    /// Takes its share like everybody.
    func isGood(_ now: Milliseconds) -> Bool { wasHeard && now >= until }

    func isQuarantined(_ now: Milliseconds) -> Bool {
        if case .quarantined(let until, _) = self { now < until } else { false }
    }

    /// May be a late lane's second holder: it answers, and its host is not at fault.
    func maySecond(_ now: Milliseconds) -> Bool { wasHeard && !isQuarantined(now) }

    /// A message has come from it.
    mutating func hear() {
        switch self {
        case .good: break
        case .suspended(let until, _): self = .suspended(until: until, heard: true)
        case .quarantined(let until, _): self = .quarantined(until: until, heard: true)
        }
    }
}
