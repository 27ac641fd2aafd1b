// A TCP connection that follows ZMTP 3.1 only as far as it wants. In: bytes. Out: what no library would send.
import CLinux
import Foundation

/// A connection to a port of this host.
final class RawConnection {
    private let descriptor: Int32

    /// nil if nothing listens.
    init?(port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var time = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard connected == 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// Whether everything was sent.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { bytes in
                Glibc.send(descriptor, bytes.baseAddress?.advanced(by: sent), bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Reads what is available, or for `seconds`, until the other end closes.
    func receive(forSeconds seconds: Double = 0) -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let deadline = Date(timeIntervalSinceNow: seconds)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { all += buffer[..<count] }
            if count == 0 || (count < 0 && Date() >= deadline) { return all }
            if count < 0 { usleep(1_000) }
        }
    }

    /// Waits until the other end has read everything: its PONG comes last.
    func waitUntilRead() {
        send([4, 10, 4] + Array("PING".utf8) + [0, 0] + Array("t2v".utf8))
        waitFor("PONGt2v")
    }

    /// Reads until something holds `text`, the other end closes, or ten seconds are over.
    func waitFor(_ text: String) {
        let wanted = Array(text.utf8)
        var last: [UInt8] = []
        let deadline = Date(timeIntervalSinceNow: 10)
        while Date() < deadline {
            var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&item, 1, 10_000) > 0 else { return }
            let bytes = receive()
            last = Array((last + bytes).suffix(4096))
            if bytes.isEmpty || last.indices.contains(where: { last[$0...].starts(with: wanted) }) { return }
        }
    }

    /// The body of an HTTP answer.
    static func get(port: Int, _ path: String) -> String {
        guard let connection = RawConnection(port: port) else { return "" }
        connection.send(Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8))
        return String(decoding: connection.receive(forSeconds: 5), as: UTF8.self)
    }

    // MARK: ZMTP 3.1 (RFC 37)

    /// Greeting of the mechanism NULL and READY of a DEALER.
    static let introduction: [UInt8] = {
        var bytes: [UInt8] = [0xFF] + [UInt8](repeating: 0, count: 8) + [0x7F, 3, 1]
        bytes += Array("NULL".utf8) + [UInt8](repeating: 0, count: 16) + [0] + [UInt8](repeating: 0, count: 31)
        func property(_ name: String, _ value: String) -> [UInt8] {
            [UInt8(name.utf8.count)] + Array(name.utf8) + [0, 0, 0, UInt8(value.utf8.count)] + Array(value.utf8)
        }
        let ready = [5] + Array("READY".utf8) + property("Socket-Type", "DEALER") + property("Identity", "")
        return bytes + [4, UInt8(ready.count)] + ready
    }()

    /// One frame of a message.
    static func frame(_ body: [UInt8], more: Bool = false) -> [UInt8] {
        let flag: UInt8 = more ? 1 : 0
        guard body.count > 255 else { return [flag, UInt8(body.count)] + body }
        return [flag | 2] + withUnsafeBytes(of: UInt64(body.count).bigEndian) { Array($0) } + body
    }
}
