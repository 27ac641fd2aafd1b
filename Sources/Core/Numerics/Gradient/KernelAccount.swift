// Where a step's time goes. In: kernels as they run. Out: time, floating-point operations and bytes of each. Off unless asked for.
import Base

/// The kernels that a profile lists.
package enum StepKernel: String, CaseIterable, Sendable {
    case prepare = "prepare micro-batch"
    case clear = "clear gradient"
    case hashEmbed = "hash embeddings"
    case vectorsProduct = "static vectors (gemm)"
    case mixerProduct = "mixer (gemm)"
    case mixerBackward = "mixer backward"
    case mixerRows = "mixer rows"
    case firstConvolution = "first convolution (gemm)"
    case firstConvolutionBackward = "first convolution backward"
    case firstConvolutionRows = "first convolution rows"
    case convolution = "convolutions (gemm)"
    case convolutionBackward = "convolutions backward"
    case convolutionRows = "convolution rows"
    case gather = "gather and scatter"
    case head = "head (gemm)"
    case headBackward = "head backward"
    case headRows = "head rows"
    case loss = "loss"
    case laneSums = "lane sums"
}

/// Sums of a profile.
final class KernelAccount {
    struct Entry {
        var seconds = 0.0
        var operations = 0.0
        var bytes = 0.0
    }

    var entries: [StepKernel: Entry] = [:]

    func add(_ kernel: StepKernel, seconds: Double, operations: Double, bytes: Double) {
        entries[kernel, default: Entry()].seconds += seconds
        entries[kernel, default: Entry()].operations += operations
        entries[kernel, default: Entry()].bytes += bytes
    }

    /// Seconds of CPU time of this thread.
    static func now() -> Double { ThreadClock.seconds() }
}

extension Optional<KernelAccount> {
    /// Runs `body`; with an account, records its time and the bytes it moves.
    @inline(__always)
    func measure(_ kernel: StepKernel, bytes: @autoclosure () -> Int, _ body: () -> Void) {
        guard let account = self else { return body() }
        let start = KernelAccount.now()
        body()
        account.add(kernel, seconds: KernelAccount.now() - start, operations: 0, bytes: Double(bytes()))
    }
}

extension Pass {
    /// Runs `body`; with an account, records its time and the bytes it moves.
    @inline(__always)
    func measure(_ kernel: StepKernel, bytes: @autoclosure () -> Int, _ body: () -> Void) {
        account.measure(kernel, bytes: bytes(), body)
    }

    /// The same for a product of an (m, k) and a (k, n) matrix, or for several of as many operations. `m` may be known only after `body`.
    @inline(__always)
    func multiply(_ kernel: StepKernel, products: Int = 1, m: @autoclosure () -> Int, n: Int, k: Int, _ body: () -> Void) {
        guard let account else { return body() }
        let start = KernelAccount.now()
        body()
        let (seconds, m) = (KernelAccount.now() - start, m())
        account.add(
            kernel, seconds: seconds, operations: Double(2 * products) * Double(m) * Double(n) * Double(k),
            bytes: Double(4 * products * (m * k + k * n + m * n)))
    }
}
