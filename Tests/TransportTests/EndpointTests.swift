// Endpoints, socket folders, waiting and waking.
import CLinux
import Foundation
import Testing

@testable import Base
@testable import Transport

@Suite struct EndpointTests {
    @Test(arguments: [
        ("tcp://127.0.0.1:5599", true), ("tcp://127.9.9.9:0", true), ("tcp://localhost:*", true), ("tcp://[::1]:1", true),
        ("ipc:///tmp/x", true), ("inproc://x", true), ("tcp://0.0.0.0:5599", false), ("tcp://*:5599", false), ("tcp://[::]:5599", false),
        ("tcp://10.0.0.1:5599", false), ("tcp://127.0.0.1.example.org:5599", false), ("tcp://host:65535", false),
    ])
    func knowsWhoCanReachIt(text: String, isLocal: Bool) throws { #expect(try Endpoint(text).isLocal == isLocal) }

    @Test(arguments: [
        "", "tcp://", "tcp://host", "tcp://host:", "tcp://host:99999", "tcp://host:-1", "tcp://:5599", "tcp://::1:5599", "udp://h:1", "h:1",
        "ipc://",
        "ipc:///" + String(repeating: "x", count: 107), "tcp://host:5 599",
    ])
    func refusesWhatItCannotUse(text: String) {
        let error = #expect(throws: InputError.self) { try Endpoint(text) }
        #expect(error?.remedy.isEmpty == false)
    }

    @Test func choosesTheAddressFamily() throws {
        #expect(try Endpoint("tcp://[::1]:5").needsIPv6)
        #expect(
            try !Endpoint("tcp://127.0.0.1:5").needsIPv6 && !Endpoint("tcp://*:5").needsIPv6 && !Endpoint("tcp://localhost:5").needsIPv6)
    }

    @Test func socketFoldersArePrivateShortAndRemoved() throws {
        let folder = try SocketFolder()
        let mode = try FileManager.default.attributesOfItem(atPath: folder.path)[.posixPermissions] as? Int
        #expect(mode == 0o700)
        #expect(try Endpoint(folder.endpoint("01234567890123456789")).transport == .ipc)
        let context = try ZMQContext()
        do {
            let router = try RouterSocket(context, limits: SocketLimits(), security: .localOnly)
            _ = try router.bind(folder.endpoint("c"))
            #expect(FileManager.default.fileExists(atPath: "\(folder.path)/c"))
        }
        #expect(try SocketFolder().path != folder.path)
        folder.remove()
        #expect(!FileManager.default.fileExists(atPath: folder.path))
    }

    @Test func foldersOfTheKilledAreRemovedAndNoOthers() throws {
        let parent = FileManager.default.temporaryDirectory.appending(path: "t2v-folders-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: parent) }
        // Contents of the lock (nil: no lock), mode, whether it is held, whether the folder is removed.
        let cases: [(name: String, lock: String?, mode: Int, held: Bool, removed: Bool)] = [
            ("t2v-AAAAAA", "1", 0o700, false, true), ("t2v-BBBBBB", "1", 0o700, true, false), ("t2v-CCCCCC", "", 0o700, false, false),
            ("t2v-DDDDDD", nil, 0o700, false, false), ("t2v-EEEEEE", "1", 0o755, false, false),
            ("t2v-longername", "1", 0o700, false, false),
        ]
        var locks: [Int32] = []
        defer { for lock in locks { close(lock) } }
        for folder in cases {
            let path = "\(parent)/\(folder.name)"
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: folder.mode])
            chmod(path, mode_t(folder.mode))
            if let lock = folder.lock { try lock.write(toFile: "\(path)/lock", atomically: false, encoding: .utf8) }
            guard folder.held else { continue }
            locks.append(open("\(path)/lock", O_RDWR))
            #expect(locks.last.map { flock($0, LOCK_EX) } == 0)
        }
        SocketFolder.removeAbandoned(in: parent)
        for folder in cases {
            #expect(FileManager.default.fileExists(atPath: "\(parent)/\(folder.name)") != folder.removed, "\(folder.name)")
        }
    }

    @Test func logsAreBounded() {
        var budget = LogBudget()
        let passed = (0..<100_000).count { budget.admit("line", now: Milliseconds($0)) != nil }
        #expect(passed > 200 && passed <= 200 + 100_000 / 200, "\(passed)")
        let next = (100_000..<101_000).compactMap { budget.admit("line", now: Milliseconds($0)) }.first
        #expect(next?.contains("were held back") == true)
        #expect(budget.admit("line", now: 500_000) != "line", "the number of suppressed lines is logged")
        #expect(budget.admit("line", now: 500_000) == "line")
    }

    @Test func waitsForSocketsAndDescriptors() throws {
        var poller = Poller()
        let event = try EventFD()
        let slot = poller.add(descriptor: event.descriptor)
        #expect(try poller.wait(timeoutMilliseconds: 0) == 0 && !poller.isReadable(slot))
        let started = ContinuousClock.now
        #expect(try poller.wait(timeoutMilliseconds: 30) == 0 && ContinuousClock.now - started >= .milliseconds(29))
        Thread.detachNewThread {
            usleep(20_000)
            event.signal()
            event.signal()
        }
        #expect(try poller.wait(timeoutMilliseconds: 5_000) == 1 && poller.isReadable(slot))
        usleep(10_000)
        #expect(event.drain() == 2 && event.drain() == 0)
        #expect(try poller.wait(timeoutMilliseconds: 0) == 0)
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let reader = poller.add(descriptor: ends[0])
        close(ends[1])
        #expect(try poller.wait(timeoutMilliseconds: 1_000) == 1 && poller.hasHungUp(reader))
        poller.remove(reader)
        close(ends[0])
        let context = try ZMQContext()
        let router = try RouterSocket(context, limits: SocketLimits(), security: .localOnly)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let (socket, monitor) = (poller.add(router), poller.add(router.monitor))
        #expect(socket.index == reader.index)
        let dealer = try DealerSocket(context, limits: SocketLimits(), security: .open)
        try dealer.connect(endpoint)
        try dealer.sendWhenReady([1])
        let outgoing = poller.add(dealer, writable: true)
        try eventually("message") { try poller.wait(timeoutMilliseconds: 100) >= 2 && poller.isReadable(socket) ? true : nil }
        #expect(poller.isReadable(monitor) && poller.isWritable(outgoing) && !poller.isReadable(slot))
        poller.setWritable(outgoing, false)
        #expect(router.receive() != nil)
        while router.monitor.next() != nil {}
        while dealer.monitor.next() != nil {}
        #expect(try poller.wait(timeoutMilliseconds: 0) == 0)
    }

    @Test func countsSignalsAndWakes() throws {
        let watcher = try SignalWatcher([SIGUSR1])
        var poller = Poller()
        let slot = poller.add(descriptor: watcher.event.descriptor)
        let before = watcher.count(of: SIGUSR1)
        #expect(try poller.wait(timeoutMilliseconds: 0) == 0)
        kill(getpid(), SIGUSR1)
        try eventually("signal") { try poller.wait(timeoutMilliseconds: 100) > 0 && poller.isReadable(slot) ? true : nil }
        #expect(watcher.count(of: SIGUSR1) == before + 1 && watcher.count(of: SIGUSR2) == 0 && watcher.count(of: 9_999) == 0)
        #expect(throws: InputError.self) { try SignalWatcher([SIGKILL]) }
    }
}
