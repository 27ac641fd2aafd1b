// The part of HTTP that two pages need. In: connections from anyone. Out: one answer each, within fixed time and memory.
import CLinux
import Glibc

/// An answer.
struct HTTPPage {
    var status: String
    var type = "text/plain; charset=utf-8"
    var body: String
    /// The methods that are allowed: must come with status 405 (RFC 9110, 15.5.6).
    var allow = ""

    /// The bytes on the wire; for HEAD the body is left out, but not its length.
    func bytes(withBody: Bool) -> [UInt8] {
        var head = ["HTTP/1.1 \(status)", "Content-Type: \(type)", "Content-Length: \(body.utf8.count)", "Cache-Control: no-store"]
        if !allow.isEmpty { head.append("Allow: \(allow)") }
        let text = (head + ["Connection: close", "", withBody ? body : ""]).joined(separator: "\r\n")
        return Array(text.utf8)
    }
}

/// The connections of one listening socket, served by one thread with poll(2).
struct Connections {
    /// When one more arrives, the one that has waited longest without sending its request is closed: silent clients delay no one.
    static let maximumConnections = 32
    /// The most connections accepted at a time.
    private static let acceptedAtOnce = 16
    static let maximumRequestBytes = 8_192
    /// From accept to the last byte; then it is closed whatever it is doing.
    static let deadline = Duration.seconds(5)

    private struct Connection {
        let descriptor: Int32
        let end: ContinuousClock.Instant
        var request: [UInt8] = []
        /// What is still to be sent; nil while the request is being read.
        var answer: ArraySlice<UInt8>?
        /// The write side is shut: bytes from the other end are discarded until it hangs up; otherwise a reset could overtake the answer.
        var isDraining = false
    }

    private let listener: Int32
    private let stop: EventFD
    private let page: (String) -> HTTPPage

    init(_ listener: Int32, stop: EventFD, page: @escaping (String) -> HTTPPage) {
        (self.listener, self.stop, self.page) = (listener, stop, page)
    }

    /// Serves until `stop` is signalled; closes the listener.
    func serve() {
        var open: [Connection] = []
        defer { for descriptor in open.map(\.descriptor) + [listener] { close(descriptor) } }
        while true {
            var items = [pollfd(fd: stop.descriptor, events: Int16(POLLIN), revents: 0)]
            items.append(pollfd(fd: listener, events: Int16(POLLIN), revents: 0))
            for connection in open {
                let waitsToSend = connection.answer != nil && !connection.isDraining
                items.append(pollfd(fd: connection.descriptor, events: Int16(waitsToSend ? POLLOUT : POLLIN), revents: 0))
            }
            let ready = poll(&items, nfds_t(items.count), open.isEmpty ? -1 : 500)
            guard ready >= 0 || errno == EINTR else { return }
            if items[0].revents != 0 { return }
            let now = ContinuousClock.now
            var left: [Connection] = []
            for (index, connection) in open.enumerated() {
                var connection = connection
                let isDue = now < connection.end && (items[index + 2].revents == 0 || proceed(&connection))
                if isDue { left.append(connection) } else { close(connection.descriptor) }
            }
            open = left
            if ready > 0, items[1].revents != 0 { accept(into: &open, now) }
        }
    }

    private func accept(into open: inout [Connection], _ now: ContinuousClock.Instant) {
        for _ in 0..<Connections.acceptedAtOnce {
            let descriptor = t2v_accept(listener)
            guard descriptor >= 0 else {
                // Out of descriptors: poll would report the listener again at once.
                if errno == EMFILE || errno == ENFILE { usleep(50_000) }
                return
            }
            if open.count >= Connections.maximumConnections {
                let silent = open.firstIndex { $0.answer == nil } ?? 0
                close(open.remove(at: silent).descriptor)
            }
            open.append(Connection(descriptor: descriptor, end: now + Connections.deadline))
        }
    }

    /// Reads or writes what is possible. - Returns: whether the connection stays open.
    private func proceed(_ connection: inout Connection) -> Bool {
        if connection.answer == nil {
            guard read(&connection) else { return false }
            if let page = answer(to: connection.request) { connection.answer = page[...] }
        }
        if connection.isDraining { return drain(connection.descriptor) }
        guard let answer = connection.answer else { return true }
        let sent = answer.withUnsafeBytes { send(connection.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent >= 0 else { return errno == EAGAIN || errno == EINTR }
        connection.answer = answer.dropFirst(sent)
        if sent == answer.count {
            shutdown(connection.descriptor, Int32(SHUT_WR))
            connection.isDraining = true
        }
        return true
    }

    private func read(_ connection: inout Connection) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 2_048)
        let count = recv(connection.descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
        connection.request += buffer[..<count]
        return true
    }

    private func drain(_ descriptor: Int32) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 2_048)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR))
    }

    /// - Returns: the answer's bytes, or nil while the request's head is incomplete.
    func answer(to request: [UInt8]) -> [UInt8]? {
        let isComplete = request.contains([13, 10, 13, 10]) || request.contains([10, 10])
        guard isComplete || request.count > Connections.maximumRequestBytes else { return nil }
        guard isComplete, request.count <= Connections.maximumRequestBytes else {
            return HTTPPage(status: "431 Request Header Fields Too Large", body: "the request is too long\n").bytes(withBody: true)
        }
        let line = request.prefix { $0 != 13 && $0 != 10 }
        let words = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[2].hasPrefix("HTTP/1."), words[1].hasPrefix("/") else {
            return HTTPPage(status: "400 Bad Request", body: "this is not an HTTP request\n").bytes(withBody: true)
        }
        guard words[0] == "GET" || words[0] == "HEAD" else {
            return HTTPPage(status: "405 Method Not Allowed", body: "only GET and HEAD\n", allow: "GET, HEAD").bytes(
                withBody: true)
        }
        return page(String(words[1].prefix { $0 != "?" })).bytes(withBody: words[0] == "GET")
    }
}
