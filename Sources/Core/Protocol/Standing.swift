// Whether a worker may get lanes. In: incidents and time. Out: yes, only if there is no other worker, or no.
import Base

/// A worker's standing with the coordinator.
enum Standing: Sendable, Equatable {
    /// Gets its share of the work.
    case good
    /// Lost a lane to a second holder, or did not open one: gets none until the time is over and a message from it has arrived, unless
    /// there is no other worker.
    case suspended(until: Milliseconds, heard: Bool)
    /// Reported a fault of its host: gets nothing until the time is over, even if it is the only worker; after that as if suspended.
    case quarantined(until: Milliseconds, heard: Bool)

    /// The end of the last suspension or quarantine.
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

    /// Gets its share of the work.
    func isGood(_ now: Milliseconds) -> Bool { wasHeard && now >= until }

    func isQuarantined(_ now: Milliseconds) -> Bool {
        if case .quarantined(let until, _) = self { now < until } else { false }
    }

    /// May be the second holder of a late lane: it answers, and its host is not at fault.
    func maySecond(_ now: Milliseconds) -> Bool { wasHeard && !isQuarantined(now) }

    /// A message from it has arrived.
    mutating func hear() {
        switch self {
        case .good: break
        case .suspended(let until, _): self = .suspended(until: until, heard: true)
        case .quarantined(let until, _): self = .quarantined(until: until, heard: true)
        }
    }
}
