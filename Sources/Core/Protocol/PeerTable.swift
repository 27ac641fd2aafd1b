// The peers at the coordinator's sockets. In: addresses, messages to send, lost connections. Out: names, queues, probes.
import Base

/// A connection as a socket knows it: never reused after it ends.
package struct PeerAddress: Hashable, Sendable {
    package var listener: Int
    package var identity: [UInt8]

    package init(listener: Int, identity: [UInt8]) { (self.listener, self.identity) = (listener, identity) }
}

/// The peers, greeted or not, each with its queue of unsent messages. `Item` is a message as the shell sends it.
package struct PeerTable<Item> {
    /// Messages that may wait for a peer that accepts none.
    package let outboxLimit: Int

    /// With this many chunks waiting, no more are added: several times what an honest peer requests at a time.
    static var servedLimit: Int { 8 * WireLimits.window }

    /// A message in the queue of a peer.
    package struct Waiting {
        package let item: Item
        /// The peer requested it.
        let isChunk: Bool
    }

    package struct Peer {
        package let address: PeerAddress
        /// It connected through the socket for the coordinator's own workers.
        package let isLocal: Bool
        /// From its hello; 0 before that.
        package var processID: UInt32 = 0
        /// The key that its last message was encrypted with.
        package var key = ""
        package fileprivate(set) var outbox: [Waiting] = []
    }

    package private(set) var peers: [PeerID: Peer] = [:]
    private var ids: [PeerAddress: PeerID] = [:]
    private var newest: PeerID = 0

    package init(lanes: Int) { outboxLimit = WireLimits.waiting(lanes: lanes) }

    package subscript(_ id: PeerID) -> Peer? { peers[id] }

    package func id(at address: PeerAddress) -> PeerID? { ids[address] }

    /// The peer at an address, which gets a name with its first message.
    package mutating func admit(_ address: PeerAddress, isLocal: Bool) -> PeerID {
        if let id = ids[address] { return id }
        newest += 1
        ids[address] = newest
        peers[newest] = Peer(address: address, isLocal: isLocal)
        return newest
    }

    package mutating func note(_ id: PeerID, key: String) { peers[id]?.key = key }

    package mutating func note(_ id: PeerID, processID: UInt32) { peers[id]?.processID = processID }

    package mutating func forget(_ id: PeerID) {
        guard let peer = peers.removeValue(forKey: id) else { return }
        ids[peer.address] = nil
    }

    // MARK: Messages

    /// Appends a message to the peer's queue.
    /// - Parameter isChunk: the peer requested it.
    package mutating func queue(_ item: Item, to id: PeerID, isChunk: Bool = false) {
        peers[id]?.outbox.append(Waiting(item: item, isChunk: isChunk))
    }

    /// Queues a probe for every peer, to learn whether it can still be reached. Where a message is waiting, that serves the same purpose.
    package mutating func queueProbes(_ probe: Item) {
        for id in peers.keys where peers[id]?.outbox.isEmpty == true { queue(probe, to: id) }
    }

    /// The first `count` messages of the queue were sent.
    package mutating func sent(_ count: Int, to id: PeerID) { peers[id]?.outbox.removeFirst(count) }

    package var hasWaiting: Bool { peers.values.contains { !$0.outbox.isEmpty } }

    /// Whether a peer may be sent bytes that it requests: an honest one waits for those in flight. Other messages do not count: the leases
    /// of many lanes may wait before its first chunk.
    package func mayServe(_ id: PeerID) -> Bool {
        peers[id].map { $0.outbox.count(where: \.isChunk) < Self.servedLimit } ?? false
    }

    /// Peers that have accepted nothing for too long, in order of arrival.
    package var unresponsive: [PeerID] { peers.filter { $0.value.outbox.count > outboxLimit }.keys.ascending() }

    // MARK: Policy

    /// Peers whose keys are no longer allowed. Local peers have no keys.
    package func revoked(isAllowed: (String) -> Bool) -> [PeerID] {
        peers.filter { !$0.value.isLocal && !isAllowed($0.value.key) }.keys.ascending()
    }

    /// Local peers whose hello named this process.
    package func local(processID: UInt32) -> [PeerID] {
        peers.filter { $0.value.isLocal && $0.value.processID == processID }.keys.ascending()
    }

    /// Whether a peer may introduce itself: over the local socket only with the token.
    package func mayIntroduce(_ id: PeerID, token: UInt64, expected: UInt64) -> Bool { peers[id]?.isLocal != true || token == expected }
}

/// When to probe which peers are still connected. libzmq notes a lost connection on its own thread first, so probes are sent at once and
/// a few more times. The rate does not depend on the number of lost connections.
package struct ProbeSchedule: Sendable, Equatable {
    private static let (firstPause, longestPause, duration): (Milliseconds, Milliseconds, Milliseconds) = (20, 320, 500)
    private var next: Milliseconds?
    private var pause: Milliseconds = 0
    private var until: Milliseconds = 0

    package init() {}

    /// A connection was lost; it is not known which one.
    package mutating func connectionLost(_ now: Milliseconds) {
        until = now + Self.duration
        if next == nil { (next, pause) = (now, Self.firstPause) }
    }

    /// Whether to send probes now.
    package mutating func isDue(_ now: Milliseconds) -> Bool {
        guard let time = next, now >= time else { return false }
        next = now < until ? now + pause : nil
        pause = min(Self.longestPause, pause * 4)
        return true
    }
}
