// Where a socket listens or connects. In: an endpoint as the user wrote it. Out: what it implies for safety and for the address family.
import Base
import CLinux
import Glibc

/// A ZeroMQ endpoint: `tcp://HOST:PORT`, `ipc://PATH`, or `inproc://NAME` within the process.
package struct Endpoint: Sendable, Equatable, CustomStringConvertible {
    /// How the bytes travel.
    package enum Transport: String, Sendable { case tcp, ipc, inproc }

    /// The whole endpoint as given.
    package let text: String
    /// The part before `://`.
    package let transport: Transport
    /// tcp: the host without the brackets of an IPv6 address. ipc: the path.
    package let host: String
    /// tcp only. 0 means `*` (any free port).
    package let port: Int

    /// As given.
    package var description: String { text }

    /// - Throws: `InputError` when it is not of a form that both programs can use.
    package init(_ text: String) throws(InputError) {
        func wrong(_ what: String) -> InputError {
            InputError(what, at: text.isEmpty ? "endpoint" : text, remedy: "write tcp://HOST:PORT, tcp://[IPV6]:PORT or ipc://PATH")
        }
        guard let separator = text.firstRange(of: "://") else { throw wrong("no transport in the endpoint") }
        guard let transport = Transport(rawValue: String(text[..<separator.lowerBound])) else { throw wrong("unknown transport") }
        let rest = String(text[separator.upperBound...])
        (self.text, self.transport) = (text, transport)
        guard transport == .tcp else {
            guard !rest.isEmpty else { throw wrong("no path in the endpoint") }
            // sun_path holds 108 bytes with its final zero; libzmq would say "File name too long" without saying what is long.
            guard transport != .ipc || rest.utf8.count <= 107 else {
                throw InputError("the path has \(rest.utf8.count) bytes, a socket's can have 107", at: text, remedy: "use a shorter folder")
            }
            (host, port) = (rest, 0)
            return
        }
        guard let colon = rest.lastIndex(of: ":") else { throw wrong("no port in the endpoint") }
        let number = rest[rest.index(after: colon)...]
        guard let port = number == "*" ? 0 : Int(number), (0...65_535).contains(port) else {
            throw wrong("no port number after the last colon")
        }
        var host = String(rest[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            throw wrong("an IPv6 address needs brackets")
        }
        guard !host.isEmpty else { throw wrong("no host in the endpoint") }
        (self.host, self.port) = (host, port)
    }

    /// Only processes of this host can reach it.
    package var isLocal: Bool {
        guard transport == .tcp else { return true }
        var address = in_addr()
        if inet_pton(AF_INET, host, &address) == 1 { return UInt32(bigEndian: address.s_addr) >> 24 == 127 }
        return host == "::1" || host == "localhost" || host == "lo"
    }

    /// Whether libzmq must use IPv6 sockets: with them it takes the first AAAA address of a name that has both kinds, which fails if the
    /// other end listens on 0.0.0.0. So it does only for a literal address, or for a name that has no IPv4 address at the moment.
    var needsIPv6: Bool {
        guard transport == .tcp, host != "*" else { return false }
        var literal = in6_addr()
        if inet_pton(AF_INET6, host, &literal) == 1 { return true }
        return !Endpoint.resolves(host, family: AF_INET) && Endpoint.resolves(host, family: AF_INET6)
    }

    private static func resolves(_ host: String, family: Int32) -> Bool { (try? address(of: host, family: family)) != nil }

    /// The endpoint with an address, as libzmq binds it: libzmq accepts names of interfaces, but not of hosts.
    /// - Throws: `InputError` when the name is not known.
    func bindable() throws(InputError) -> String {
        var literal = (in_addr(), in6_addr())
        guard transport == .tcp, host != "*", if_nametoindex(host) == 0, inet_pton(AF_INET, host, &literal.0) != 1,
            inet_pton(AF_INET6, host, &literal.1) != 1
        else { return text }
        let address: String
        do { address = try Endpoint.address(of: host, family: needsIPv6 ? AF_INET6 : AF_INET) } catch {
            throw InputError("the host name is not known (\(error.what))", at: text, remedy: "give an address of this host, or * for all")
        }
        return "tcp://\(address):\(port == 0 ? "*" : "\(port)")"
    }

    /// The error of getaddrinfo for a name.
    private struct UnknownName: Error { var what: String }

    /// The first address of a host, written as in endpoints.
    private static func address(of host: String, family: Int32) throws(UnknownName) -> String {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &found)
        guard code == 0, let first = found else { throw UnknownName(what: String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(found) }
        // With port 0, which is cut off again.
        return String(numericAddress(first.pointee.ai_addr, first.pointee.ai_addrlen).dropLast(2))
    }

    /// Why there is no answer, as far as one attempt can tell; it may take seconds.
    package func diagnosis() -> String {
        guard transport == .tcp else { return "there is no socket at \(text)" }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &found)
        guard code == 0, let first = found?.pointee else {
            return "the host name \(host) is not known (\(String(cString: gai_strerror(code))))"
        }
        defer { freeaddrinfo(found) }
        let descriptor = socket(first.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return "cannot try to connect: \(String(cString: strerror(errno)))" }
        defer { close(descriptor) }
        var failure = connect(descriptor, first.ai_addr, first.ai_addrlen) == 0 ? 0 : errno
        if failure == EINPROGRESS {
            var item = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&item, 1, Self.diagnosisMilliseconds) > 0 else {
                return "\(host) does not answer: is the host up, and port \(port) open in its firewall?"
            }
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size)
        }
        switch failure {
        case 0: return "\(text) accepts connections, but does not answer like a t2v coordinator"
        case ECONNREFUSED: return "\(host) refuses connections to port \(port): no coordinator listens there"
        default: return "\(host) cannot be reached: \(String(cString: strerror(failure)))"
        }
    }

    private static var diagnosisMilliseconds: Int32 { 3_000 }
}
