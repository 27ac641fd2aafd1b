// A cluster of network namespaces, disturbed. In: root, iproute2, python3. Out: the same bytes, or why it cannot be tested here.
import Foundation
import Testing

@Suite(.serialized) struct ClusterTests {
    static let scripts = Demo.root.appending(path: "deploy/netns").path

    /// What this machine lacks for hosts made of namespaces; nil when it has everything.
    static let lack: String? = {
        do {
            let program = try Program("\(scripts)/testbed", ["able"])
            return program.wait(seconds: 30) == 0 ? nil : program.output.trimmingCharacters(in: .whitespacesAndNewlines)
        } catch { return "\(error)" }
    }()

    /// Four worker hosts with only glibc and the program, 1 Gbit/s, CURVE; every fault of deploy/netns/cluster-test once, in an order given
    /// by the seed that it prints.
    @Test(.enabled(if: lack == nil, "no hosts of namespaces on this machine: \(lack ?? "")"))
    func givesTheSameBytesOnDisturbedHosts() throws {
        let program = try Program(
            "\(Self.scripts)/cluster-test", ["--bin", Program.folder.path, "--short", "--limit", "150"])
        #expect(program.wait(seconds: 240) == 0, "\(program.output)")
        print(program.output)
    }
}
