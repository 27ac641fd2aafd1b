// A process in the world: it runs, is suspended, dies and starts again. In: actions for later. Out: those that it lives to perform.
import Base
import Protocol

class SimulatedProcess {
    unowned let world: World
    let name: String
    /// Raised at every start: what an earlier life planned does not happen.
    private(set) var life = 0
    private(set) var isAlive = false
    private var pausedUntil: Milliseconds = 0
    private var postponed: [(life: Int, action: () -> Void)] = []
    /// Payloads that were given to the machine and that it has not released.
    private(set) var buffers: [BufferID: Parcel] = [:]
    private var nextBuffer: BufferID = 0

    init(_ world: World, _ name: String) {
        self.world = world
        self.name = name
    }

    var isPaused: Bool { world.now < pausedUntil }

    func beginLife() {
        life += 1
        isAlive = true
        pausedUntil = 0
        postponed = []
        buffers = [:]
    }

    func endLife() {
        isAlive = false
        buffers = [:]
    }

    /// Performs the action in this life, after the delay and when the process is awake.
    func later(_ delay: Int, _ action: @escaping () -> Void) {
        let life = life
        world.schedule(after: delay) { [unowned self] in whenAwake(life, action) }
    }

    func whenAwake(_ life: Int, _ action: @escaping () -> Void) {
        guard isAlive, life == self.life else { return }
        if isPaused { postponed.append((life, action)) } else { action() }
    }

    /// SIGSTOP, and SIGCONT after the duration.
    func pause(_ duration: Int) {
        guard isAlive, !isPaused else { return }
        pausedUntil = world.now + Milliseconds(duration)
        world.schedule(after: duration) { [unowned self] in
            guard !isPaused else { return }
            // A process that wakes may look at its clock before its sockets.
            let missed = postponed
            postponed = []
            for (life, action) in missed { whenAwake(life, action) }
        }
    }

    func hold(_ parcel: Parcel?) -> Payload? {
        guard let parcel else { return nil }
        nextBuffer += 1
        buffers[nextBuffer] = parcel
        return .init(buffer: nextBuffer, count: parcel.count, hash: parcel.hash)
    }

    /// Every buffer is released once.
    func letGo(_ buffer: BufferID) -> Parcel {
        guard let parcel = buffers.removeValue(forKey: buffer) else {
            world.violate("\(name) releases buffer \(buffer), which it does not hold")
            return Parcel(values: [])
        }
        return parcel
    }
}
