// swift-tools-version: 6.0
import PackageDescription

/// x86-64-v3 (AVX2, FMA): without it a fused multiply-add is a function call; without -fno-math-errno a square root is one,
/// lane by lane. The programs check the CPU in their first lines.
let speed: [SwiftSetting] = [
    .unsafeFlags(["-Xcc", "-march=x86-64-v3", "-Xcc", "-fno-math-errno"]),
    .swiftLanguageMode(.v6),
]

/// For targets without inner loops: optimized for size, they build in five sixths of the time.
let size: [SwiftSetting] = speed + [.unsafeFlags(["-Osize"])]

/// For command lines: what they do once need not be fast.
let plain: [SwiftSetting] = speed + [.unsafeFlags(["-Onone"])]

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// The libraries that Run is built from, and with Run the shells and the command lines.
let parts: [Target.Dependency] = ["Base", "Shards", "Model", "Formats", "Text", "Numerics", "Protocol", "Transport", "Output"]
let all: [Target.Dependency] = parts + ["Run"]

extension Target {
    /// A library of this package. It may import only `needs`.
    static func room(_ name: String, path: String, needs: [Target.Dependency], settings: [SwiftSetting] = size) -> Target {
        .target(name: name, dependencies: needs, path: "Sources/" + path, swiftSettings: settings)
    }

    /// The unit tests of one library, in a folder of the same name.
    static func tests(_ name: String, needs: [Target.Dependency] = []) -> Target {
        .testTarget(name: name + "Tests", dependencies: [.byName(name: name), "TestSupport"] + needs, swiftSettings: speed)
    }

    /// An executable: a command line, and a kit that does the work.
    static func program(_ name: String, needs: [Target.Dependency]) -> Target {
        .executableTarget(name: name, dependencies: needs, path: "Sources/\(name)/Program", swiftSettings: plain)
    }
}

let package = Package(
    name: "t2v",
    products: [
        .executable(name: "t2v-coordinator", targets: ["Coordinator"]),
        .executable(name: "t2v-worker", targets: ["Worker"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        .systemLibrary(name: "CZMQ", pkgConfig: "libzmq", providers: [.apt(["libzmq3-dev"])]),
        .systemLibrary(name: "COpenBLAS", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CPCRE2", providers: [.apt(["libpcre2-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .target(name: "CLinux"),
        .target(name: "CKernels"),
        .room("Base", path: "Core/Base", needs: ["CLinux", "CSodium", .product(name: "Logging", package: "swift-log")], settings: speed),
        .room("Shards", path: "Core/Shards", needs: ["Base"], settings: speed),
        .room("Model", path: "Core/Model", needs: ["Base", "Shards"]),
        // Of targets that are ready, the last in the alphabet is built first: with a name beyond N this one would delay Numerics.
        .room("Formats", path: "Core/Formats", needs: ["Base", "Shards", "Model", "CLinux"]),
        .room("Text", path: "Core/Text", needs: ["Base", "Shards", "CLinux", "CPCRE2"], settings: speed),
        .room("Numerics", path: "Core/Numerics", needs: ["Base", "Shards", "Model", "CKernels", "CLinux", "COpenBLAS"], settings: speed),
        .room("Protocol", path: "Core/Protocol", needs: ["Base"]),
        .room("Transport", path: "Core/Transport", needs: ["Base", "CLinux", "CZMQ"]),
        .room("Output", path: "Core/Output", needs: ["Base", "Model", "Formats", "Transport", "CLinux"]),
        .room("Run", path: "Core/Run", needs: parts + ["CLinux"]),
        .room("CoordinatorKit", path: "Coordinator/Kit", needs: all + ["CLinux", "CZlib"]),
        .room("WorkerKit", path: "Worker/Kit", needs: all + ["CLinux"]),
        .room("Launch", path: "Launch", needs: ["Base", arguments]),
        .program("Coordinator", needs: all + ["CoordinatorKit", "Launch", arguments]),
        .program("Worker", needs: all + ["WorkerKit", "Launch", "CLinux", arguments]),
        .testTarget(name: "TestSupport", dependencies: ["Base", "Shards"], path: "Tests/Support", swiftSettings: speed),
        .tests("Base"),
        .tests("Shards", needs: ["Base"]),
        .tests("Model", needs: ["Base", "Shards"]),
        .tests("Formats", needs: ["Base", "Shards", "Model", "CLinux"]),
        .tests("Text", needs: ["Base", "Shards", "CLinux"]),
        .tests("Numerics", needs: ["Base", "Shards", "Model", "Transport", "CKernels", "CLinux"]),
        .tests("Protocol", needs: ["Base"]),
        .tests("Transport", needs: ["Base", "CLinux", "CZMQ"]),
        .tests("Output", needs: ["Base", "Model", "Formats", "CLinux"]),
        .tests("Run", needs: parts + ["CLinux"]),
        .tests("CoordinatorKit", needs: ["Base", "Run", "CLinux", "CZlib"]),
        .tests("WorkerKit", needs: ["Base", "Shards", "Text", "Protocol"]),
        .testTarget(
            name: "GoldenTests", dependencies: ["Base", "Shards", "Model", "Formats", "Text", "Numerics", "Run", "CZlib", "TestSupport"],
            exclude: ["reference"], resources: [.copy("data")], swiftSettings: speed),
        .testTarget(name: "SimulationTests", dependencies: ["Base", "Model", "Numerics", "Protocol", "TestSupport"], swiftSettings: speed),
        .testTarget(name: "ProcessTests", dependencies: all + ["CLinux", "Coordinator", "Worker"], swiftSettings: speed),
        .testTarget(name: "HouseTests", swiftSettings: speed),
    ]
)
