// The cores that this process may use. In: the kernel's affinity mask and the control group's quota. Out: a number.
import Base
import CLinux
import Glibc

/// The cores that `taskset`, Slurm, a container or systemd leave to this process.
package struct CoreBudget: Sendable, Equatable {
    /// 1 or more.
    package let cores: Int

    /// - Parameters:
    ///   - affinity: cores in the affinity mask (sched_getaffinity).
    ///   - quota: CPU time in cores (cgroup v2 `cpu.max`), rounded to whole cores; nil: no limit.
    package init(affinity: Int, quota: Double?) {
        let allowed = quota.map { $0.isFinite && $0 < 1e6 ? Int($0.rounded()) : affinity } ?? affinity
        cores = max(1, min(affinity, allowed))
    }

    package static func ofThisProcess() -> CoreBudget {
        let affinity = Int(t2v_affinity_count())
        return CoreBudget(affinity: affinity > 0 ? affinity : Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), quota: ControlGroup.cpuQuota())
    }
}

/// The limits of this process's control group (cgroup v2).
package enum ControlGroup {
    /// CPU time in cores: the minimum over the group and its ancestors.
    /// - Parameter root: the folder that holds proc and sys.
    static func cpuQuota(root: String = "") -> Double? { values(of: "cpu.max", root).compactMap(quota(cpuMax:)).min() }

    /// Bytes: the minimum over the group and its ancestors.
    package static func memoryLimit() -> UInt64? { values(of: "memory.max").compactMap { UInt64($0) }.min() }

    /// "max 100000" is no limit; "150000 100000" is one and a half cores.
    static func quota(cpuMax: String) -> Double? {
        let fields = cpuMax.split(separator: " ")
        guard fields.count == 2, let time = Double(fields[0]), let period = Double(fields[1]), time > 0, period > 0 else { return nil }
        return time / period
    }

    private static func values(of file: String, _ root: String = "") -> [String] {
        guard let text = text("\(root)/proc/self/cgroup"), let line = text.split(separator: "\n").first(where: { $0.hasPrefix("0::/") })
        else { return [] }
        var group = String(line.dropFirst(4))
        var found: [String] = []
        while true {
            if let value = self.text("\(root)/sys/fs/cgroup/\(group)/\(file)") { found.append(value) }
            guard !group.isEmpty else { return found }
            group = group.lastIndex(of: "/").map { String(group[..<$0]) } ?? ""
        }
    }

    /// A small file of the kernel's, without the line end.
    static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count], as: UTF8.self).trimmed
    }
}
