// The files that t2v wrote into an output folder. In: names. Out: manifest.json, without which nothing is ever removed.
import Base
import FoundationEssentials

/// Names relative to the output folder, in the order in which they were first written.
package struct OutputManifest: Codable, Equatable, Sendable {
    package private(set) var format = 1
    package private(set) var files: [String] = []

    package init() {}

    package func contains(_ name: String) -> Bool { files.contains(name) }

    /// - Returns: whether the name is new.
    package mutating func add(_ name: String) -> Bool {
        guard !files.contains(name) else { return false }
        files.append(name)
        return true
    }

    package mutating func remove(_ name: String) { files.removeAll { $0 == name } }

    package func encoded() throws(InputError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(self)) + [UInt8(ascii: "\n")]
        } catch {
            throw InputError("cannot write the manifest as JSON", at: "manifest.json", remedy: "report this as a bug")
        }
    }

    /// - Throws: `InputError` for text that is not a manifest, and for names that lead out of the folder.
    package static func decode(_ bytes: [UInt8], place: String) throws(InputError) -> OutputManifest {
        guard let manifest = try? JSONDecoder().decode(OutputManifest.self, from: Data(bytes)), manifest.format == 1 else {
            throw InputError(
                "the list of the run's files cannot be read", at: place, remedy: "use the t2v that wrote it, or choose another OUTPUT_DIR")
        }
        let strange = manifest.files.first { $0.hasPrefix("/") || $0.isEmpty || $0.split(separator: "/").contains("..") }
        if let strange {
            throw InputError("it names a file outside the output folder: \(strange)", at: place, remedy: "choose another OUTPUT_DIR")
        }
        return manifest
    }
}
