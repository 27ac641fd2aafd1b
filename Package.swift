// swift-tools-version: 6.0
import PackageDescription

/// x86-64-v3 (AVX2, FMA): without it a fused multiply-add is a function call; without -fno-math-errno a square root is one,
/// lane by lane. The programs check the CPU in their first lines.
let speed: [SwiftSetting] = [
    .unsafeFlags(["-Xcc", "-march=x86-64-v3", "-Xcc", "-fno-math-errno"]),
    .swiftLanguageMode(.v6),
]

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
        .target(
            name: "Core",
            dependencies: [
                "CZMQ", "COpenBLAS", "CPCRE2", "CZlib", "CSodium", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: speed),
        .target(
            name: "Launch",
            dependencies: ["Core", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: speed),
        .executableTarget(name: "Coordinator", dependencies: ["Core", "Launch"], swiftSettings: speed),
        .executableTarget(name: "Worker", dependencies: ["Core", "Launch"], swiftSettings: speed),
        .testTarget(name: "CoreTests", dependencies: ["Core"], swiftSettings: speed),
        .testTarget(name: "GoldenTests", dependencies: ["Core"], exclude: ["reference"], resources: [.copy("data")], swiftSettings: speed),
        .testTarget(name: "SimulationTests", dependencies: ["Core"], swiftSettings: speed),
        .testTarget(name: "ProcessTests", dependencies: ["Core", "Coordinator", "Worker"], swiftSettings: speed),
        .testTarget(name: "HouseTests", swiftSettings: speed),
    ]
)
