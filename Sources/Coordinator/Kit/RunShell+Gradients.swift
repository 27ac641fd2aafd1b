// Gradients as they come. In: contributions and their bytes. Out: where the bytes are, their hash, and what is wrong with them.
import Base
import Numerics
import Protocol
import Transport

extension RunShell {
    /// Finds a gradient that stayed in a local worker's memory. - Returns: the hash of the payload: nobody damages what does not travel.
    func open(_ contribution: Contribution, _ body: ZMQMessage, _ id: PeerID) -> UInt64 {
        guard let peer = peers[id], peer.isLocal, let reference = SharedReference(body.data) else {
            return Digest64.hash(blocks: body.data)
        }
        guard let payload = workers?.memory(ofProcess: peer.processID)?.payload(reference) else { return ~contribution.hash }
        buffers[nextBuffer] = payload
        return contribution.hash
    }

    /// Why a gradient cannot be decoded, before anything counts on it.
    func fault(inGradient buffer: BufferID) -> String? {
        guard let payload = buffers[buffer] else { return nil }
        do throws(WireError) {
            try training.coding.check(payload: payload.data)
            return nil
        } catch {
            return "\(error)"
        }
    }
}
