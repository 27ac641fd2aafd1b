// Who is at the other ends of the coordinator's sockets. In: addresses, messages to send, lost connections. Out: names, queues, probes.
import Base

/// A connection as a socket knows it: gone for ever when it ends.
package struct PeerAddress: Hashable, Sendable {
    package var listener: Int
    package var identity: [UInt8]

    package init(listener: Int, identity: [UInt8]) { (self.listener, self.identity) = (listener, identity) }
}

/// The peers, greeted or not, with what waits to be sent to each. `Item` is a message as the shell sends it.
package struct PeerTable<Item> {
    /// Messages that may wait for a peer that takes none: a lease for every lane at a time, their withdrawal, and what else there is.
    package let outboxLimit: Int

    /// Messages of a peer's that do not belong to a lane: far more than an honest peer leaves waiting.
    private static var otherMessages: Int { 1_024 }

    /// Of them, when chunks are no longer added: several times what an honest peer asks for at a time.
    static var servedLimit: Int { 8 * WireLimits.window }

    package struct Peer {
        package let address: PeerAddress
        /// It came through the socket that only this host's own workers know.
        package let isLocal: Bool
        /// What its hello says; 0 before.
        package var processID: UInt32 = 0
        /// The key that its last message was encrypted with.
        package var key = ""
        package fileprivate(set) var outbox: [Item] = []
    }

    package private(set) var peers: [PeerID: Peer] = [:]
    private var ids: [PeerAddress: PeerID] = [:]
    private var newest: PeerID = 0

    package init(lanes: Int) { outboxLimit = Self.otherMessages + 2 * lanes }

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

    /// Puts a message behind what waits for the peer.
    package mutating func queue(_ item: Item, to id: PeerID) { peers[id]?.outbox.append(item) }

    /// Asks every peer's socket whether the peer can still be reached. Where something waits already, that asks the same.
    package mutating func queueProbes(_ probe: Item) {
        for id in peers.keys where peers[id]?.outbox.isEmpty == true { peers[id]?.outbox.append(probe) }
    }

    /// The first messages that waited are on their way.
    package mutating func sent(_ count: Int, to id: PeerID) { peers[id]?.outbox.removeFirst(count) }

    package var hasWaiting: Bool { peers.values.contains { !$0.outbox.isEmpty } }

    /// Whether a peer may be sent bytes that it asks for: an honest one waits for those that are under way.
    package func mayServe(_ id: PeerID) -> Bool { peers[id].map { $0.outbox.count < Self.servedLimit } ?? false }

    /// Peers that take nothing for too long, in order of arrival.
    package var unresponsive: [PeerID] { peers.filter { $0.value.outbox.count > outboxLimit }.keys.sorted() }

    // MARK: Policy

    /// Peers that a list of keys does not admit any more. Local ones have none.
    package func revoked(isAllowed: (String) -> Bool) -> [PeerID] {
        peers.filter { !$0.value.isLocal && !isAllowed($0.value.key) }.keys.sorted()
    }

    /// Local peers that said to be this process.
    package func local(processID: UInt32) -> [PeerID] { peers.filter { $0.value.isLocal && $0.value.processID == processID }.keys.sorted() }

    /// Whether a peer may introduce itself: over the local socket only who knows the token.
    package func mayIntroduce(_ id: PeerID, token: UInt64, expected: UInt64) -> Bool { peers[id]?.isLocal != true || token == expected }
}

/// When to ask the sockets who is still there. libzmq tells its own thread of a lost connection first: ask at once, and a few times more.
/// However many connections are lost, the pace is the same.
package struct ProbeSchedule: Sendable, Equatable {
    private static let (firstPause, longestPause, duration): (Milliseconds, Milliseconds, Milliseconds) = (20, 320, 500)
    private var next: Milliseconds?
    private var pause: Milliseconds = 0
    private var until: Milliseconds = 0

    package init() {}

    /// A connection was lost, whose is not known.
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
