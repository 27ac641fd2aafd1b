// Gradients as they arrive. In: contributions and their bytes. Out: where the bytes are, their hash, and what is wrong with them.
import Base
import Protocol
import Transport

extension RunShell {
    /// Finds a gradient that is in a local worker's memory. - Returns: the payload's hash; what is not sent cannot be damaged on the way.
    func open(_ contribution: Contribution, _ body: ZMQMessage, _ id: PeerID) -> UInt64 {
        guard let peer = peers[id], peer.isLocal, let reference = SharedReference(body.data) else {
            return Digest64.hash(blocks: body.data)
        }
        guard let payload = workers?.memory(ofProcess: peer.processID)?.payload(reference) else { return ~contribution.hash }
        buffers[nextBuffer] = payload
        return contribution.hash
    }

    /// Why a gradient cannot be decoded, before anything relies on it; nil if it can.
    func fault(inGradient buffer: BufferID) -> String? {
        guard let payload = buffers[buffer] else { return nil }
        do throws(WireError) {
            try training.coding.check(payload: payload.data)
            return nil
        } catch {
            return "\(error)"
        }
    }

    func expectGradient(_ peer: PeerID, _ number: UInt32, _ byteCount: UInt64) {
        // The state machine has compared the size with the largest that a gradient can have.
        gradients[peer, default: [:]][number] = PieceBuffer(gradientPool.next(), byteCount: Int(byteCount))
    }

    func forgetGradient(_ peer: PeerID, _ number: UInt32) {
        gradients[peer]?[number] = nil
        if gradients[peer]?.isEmpty == true { gradients[peer] = nil }
    }

    func store(
        piece: any PayloadBytes, at offset: UInt64, _ peer: PeerID, _ number: UInt32, _ last: Bool,
        _ events: inout [CoordinatorStateMachine.Event]
    ) {
        guard let gradient = gradients[peer]?[number] else { return }
        gradient.store(piece.data, at: offset)
        guard last else { return }
        forgetGradient(peer, number)
        let message = gradient.message
        nextBuffer += 1
        buffers[nextBuffer] = message
        events.append(
            .gradientCame(
                peer, number: number,
                Payload(buffer: nextBuffer, count: message.count, hash: gradient.hash, fault: fault(inGradient: nextBuffer))))
    }
}
