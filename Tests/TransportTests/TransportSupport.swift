// Helpers of the transport's tests: waiting with a deadline, temporary folders, a socket that breaks the rules.
import CZMQ
import Foundation
import Testing

@testable import Base
@testable import Transport

/// Calls `step` until it returns a value or five seconds have passed.
@discardableResult
func eventually<T>(_ what: String, seconds: Double = 5, _ step: () throws -> T?) throws -> T {
    let end = ContinuousClock.now + .milliseconds(Int(seconds * 1_000))
    while ContinuousClock.now < end {
        if let value = try step() { return value }
        usleep(1_000)
    }
    throw InputError("not seen within \(seconds) s", at: what, remedy: "")
}

extension RouterSocket {
    /// The next well-formed message.
    func nextMessage() throws -> RouterMessage {
        try eventually("message at the router") {
            guard let event = receive() else { return nil }
            guard case .message(let message) = event else { throw InputError("\(event)", at: "router", remedy: "") }
            return message
        }
    }
}

extension DealerSocket {
    /// The next well-formed message.
    func nextMessage() throws -> (header: [UInt8], payload: ZMQMessage?) {
        try eventually("message at the dealer") {
            guard let event = receive() else { return nil }
            guard case .message(let header, let payload) = event else { throw InputError("\(event)", at: "dealer", remedy: "") }
            return (header, payload)
        }
    }

    /// Sends once the connection is up.
    func sendWhenReady(_ header: [UInt8], _ payload: ZMQMessage? = nil) throws {
        try eventually("connection") { send(header: header, payload: payload) == .sent ? true : nil }
    }
}

/// A DEALER without t2v's rules: any number of frames, any key.
final class RawDealer {
    let raw: UnsafeMutableRawPointer
    let context: ZMQContext

    init(_ context: ZMQContext, to endpoint: String) throws {
        raw = try #require(zmq_socket(context.raw, ZMQ_DEALER))
        self.context = context
        var zero: Int32 = 0
        zmq_setsockopt(raw, ZMQ_LINGER, &zero, 4)
        try #require(zmq_connect(raw, endpoint) == 0)
    }

    deinit { zmq_close(raw) }

    func send(_ frames: [[UInt8]]) {
        for (index, frame) in frames.enumerated() { zmq_send(raw, frame, frame.count, index + 1 < frames.count ? ZMQ_SNDMORE : 0) }
    }
}

/// Collects a monitor's events until one fits.
func waitFor(_ monitor: SocketMonitor, _ what: String, seconds: Double = 5, _ fits: (SocketEvent) -> Bool) throws -> SocketEvent {
    var seen: [SocketEvent] = []
    do {
        return try eventually(what, seconds: seconds) {
            while let event = monitor.next() {
                if fits(event) { return event }
                seen.append(event)
            }
            return nil
        }
    } catch {
        throw InputError("not seen; seen \(seen)", at: what, remedy: "")
    }
}
