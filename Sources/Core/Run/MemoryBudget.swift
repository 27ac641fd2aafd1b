// The memory that a model may take. In: the host's memory and the control group's limit. Out: yes, or an error that says how much.
import Base
import Output

/// Checked before anything is allocated: a failed allocation ends a process without a helpful message.
package struct MemoryBudget: Sendable, Equatable {
    package let bytes: UInt64

    /// - Parameters:
    ///   - host: memory and swap, in bytes.
    ///   - limit: of the control group (cgroup v2 `memory.max`).
    package init(host: UInt64, limit: UInt64?) { bytes = min(host, limit ?? host) }

    package static func ofThisHost() -> MemoryBudget {
        let text = ControlGroup.text("/proc/meminfo") ?? ""
        let kilobytes = ["MemTotal:", "SwapTotal:"].map { name -> UInt64 in
            let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
            return line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) } ?? 0
        }
        let host = kilobytes.reduce(0, +) * 1024
        return MemoryBudget(host: host == 0 ? .max : host, limit: ControlGroup.memoryLimit())
    }

    /// The least number of flat buffers of the model's size in a coordinator: four versions of the parameters, two moments, averages,
    /// gradient, and the copies for a checkpoint that is being written.
    static let buffers = 12

    /// - Parameter parameters: floats of the model.
    /// - Throws: `InputError` when the coordinator alone would need more than there is.
    package func require(parameters: Int) throws(InputError) {
        let needed = UInt64(max(0, parameters)).multipliedReportingOverflow(by: UInt64(Self.buffers * 4))
        guard needed.overflow || needed.partialValue > bytes else { return }
        func gigabytes(_ bytes: UInt64) -> String { "\(ProgressText.fixed(Double(bytes) / 1e9, 1)) GB" }
        throw InputError(
            "a model of \(ProgressText.grouped(UInt64(max(0, parameters)))) parameters needs \(gigabytes(needed.partialValue)) of memory, "
                + "and there are \(gigabytes(bytes))", at: "this host", remedy: "give fewer --embed-rows or a smaller --width")
    }
}
