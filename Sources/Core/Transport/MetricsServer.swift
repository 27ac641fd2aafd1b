// Serves metrics. In: HTTP GET on /metrics or /health. Out: the newest snapshot. Has its own thread and cannot slow the run down.
import Base
import Dispatch
import FoundationEssentials
import Glibc
import Synchronization

/// A very small HTTP/1.1 server: two pages, no request bodies, one answer per connection, everything bounded.
///
/// It listens when `init` returns and ends with the last reference.
package final class MetricsServer: Sendable {
    /// What its thread and its owner share.
    private final class Shared: Sendable {
        let latest = Mutex<(snapshot: MetricsSnapshot, at: ContinuousClock.Instant)>((MetricsSnapshot(), .now))
        let stop: EventFD
        let finished = DispatchSemaphore(value: 0)
        init() throws(InputError) { stop = try EventFD() }
    }

    /// `HOST:PORT` it listens on, with the real port.
    package let address: String
    private let shared: Shared

    /// - Parameters:
    ///   - address: `HOST:PORT`, `[IPV6]:PORT`, or `PORT` or `:PORT` for 127.0.0.1. Port 0: any free one.
    ///   - silenceSeconds: `/health` answers 503 if `update` has not been called for this long.
    /// - Throws: `InputError` when the address is malformed, in use, or not one of this host's.
    package init(_ address: String, silenceSeconds: Int = 30) throws(InputError) {
        let (host, port) = try MetricsServer.parse(address)
        let listener = try MetricsServer.listen(host, port, address)
        self.address = MetricsServer.name(of: listener)
        let shared = try Shared()
        self.shared = shared
        try startThread("metrics") {
            Connections(listener, stop: shared.stop) { path in
                let (snapshot, at) = shared.latest.withLock { $0 }
                return MetricsServer.page(path, snapshot, silent: ContinuousClock.now - at > .seconds(silenceSeconds), silenceSeconds)
            }.serve()
            shared.finished.signal()
        }
    }

    deinit {
        shared.stop.signal()
        shared.finished.wait()
    }

    /// Gives new figures; call it about once a second, even if nothing has changed: `/health` relies on it. From any thread.
    package func update(_ snapshot: MetricsSnapshot) { shared.latest.withLock { $0 = (snapshot, .now) } }

    private static func page(_ path: String, _ snapshot: MetricsSnapshot, silent: Bool, _ silenceSeconds: Int) -> HTTPPage {
        switch path {
        case "/metrics":
            return HTTPPage(status: "200 OK", type: "text/plain; version=0.0.4; charset=utf-8", body: snapshot.prometheusText(now: Date()))
        case "/health":
            let trouble = silent ? "the coordinator has not reported for \(silenceSeconds) s" : nil
            let body = "\(trouble.map { "unwell: \($0)" } ?? "ok")\nstate: \(snapshot.state)\n"
            return HTTPPage(status: trouble == nil ? "200 OK" : "503 Service Unavailable", body: body)
        case "/": return HTTPPage(status: "200 OK", body: "t2v-coordinator: /metrics /health\n")
        default: return HTTPPage(status: "404 Not Found", body: "available: /metrics and /health\n")
        }
    }

    private static func parse(_ address: String) throws(InputError) -> (host: String, port: String) {
        let text = address.contains(":") ? address : ":\(address)"
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw InputError("no port in the address for metrics", at: address, remedy: "write HOST:PORT, as in 127.0.0.1:9464")
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        return (host.isEmpty ? "127.0.0.1" : host, String(port))
    }

    private static func listen(_ host: String, _ port: String, _ place: String) throws(InputError) -> Int32 {
        func failure(_ why: String) -> InputError {
            InputError("cannot serve metrics: \(why)", at: place, remedy: "choose an address of this host and a free port")
        }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, port, &hints, &found)
        guard code == 0, let found else { throw failure(String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(found) }
        let listener = socket(found.pointee.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard listener >= 0 else { throw failure(String(cString: strerror(errno))) }
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
        guard bind(listener, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0, Glibc.listen(listener, 128) == 0 else {
            let why = String(cString: strerror(errno))
            close(listener)
            throw failure(why)
        }
        return listener
    }

    private static func name(of listener: Int32) -> String {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getsockname(listener, address, &length) == 0 ? numericAddress(address, length) : ""
            }
        }
    }
}

/// `HOST:PORT` of a TCP address, `[HOST]:PORT` for IPv6; empty for any other family.
func numericAddress(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String {
    var (host, port) = ([CChar](repeating: 0, count: 64), [CChar](repeating: 0, count: 8))
    let family = Int32(address.pointee.sa_family)
    guard family == AF_INET || family == AF_INET6,
        getnameinfo(address, length, &host, 64, &port, 8, NI_NUMERICHOST | NI_NUMERICSERV) == 0
    else { return "" }
    func text(_ buffer: [CChar]) -> String { String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) }
    return family == AF_INET ? "\(text(host)):\(text(port))" : "[\(text(host))]:\(text(port))"
}
