// Just enough of safetensors to read the model's golden dumps. In: a file. Out: arrays by name.
import Foundation

struct Safetensors {
    let data: Data
    let metadata: [String: String]
    let entries: [String: (shape: [Int], range: Range<Int>)]

    struct Unreadable: Error { let path: String }

    init(path: String) throws { try self.init(data: try Data(contentsOf: URL(fileURLWithPath: path)), path: path) }

    init(data: Data, path: String) throws {
        self.data = data
        guard data.count > 8 else { throw Unreadable(path: path) }
        let length = Int(data[0..<8].enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << UInt64(8 * $1.offset) })
        guard let header = try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: [String: Any]] else {
            throw Unreadable(path: path)
        }
        var entries: [String: (shape: [Int], range: Range<Int>)] = [:]
        metadata = header["__metadata__"] as? [String: String] ?? [:]
        for (name, entry) in header where name != "__metadata__" {
            guard let shape = entry["shape"] as? [Int], let offsets = entry["data_offsets"] as? [Int], offsets.count == 2 else {
                throw Unreadable(path: path)
            }
            entries[name] = (shape, 8 + length + offsets[0]..<8 + length + offsets[1])
        }
        self.entries = entries
    }

    func array<T>(_ name: String, _: T.Type) throws -> [T] {
        guard let entry = entries[name] else { throw Unreadable(path: name) }
        return data[entry.range].withUnsafeBytes { bytes in
            (0..<bytes.count / MemoryLayout<T>.stride).map { bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.stride, as: T.self) }
        }
    }
}
