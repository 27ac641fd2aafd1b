// Vector rows on this host. In: a model folder, or rows from the network. Out: a pointer for each row that the lanes need.
import Base
import CLinux
import Glibc
import Numerics

/// Rows from the network, in an unlinked sparse file: only the rows that are needed take space, and the kernel may write them out.
final class FetchedRows: VectorRows, @unchecked Sendable {
    let width: Int
    let rows: Int
    private let base: UnsafeMutablePointer<Float>
    private let byteCount: Int
    /// Only the thread that owns the sockets writes rows and asks for missing ones.
    private var present: [Bool]

    /// - Throws: `InputError` when the folder's disk is full.
    init(rows: Int, width: Int, folder: String) throws(InputError) {
        (self.rows, self.width) = (rows, width)
        byteCount = rows * width * 4
        present = [Bool](repeating: false, count: rows)
        let name = "\(folder)/rows.\(getpid()).\(UInt32.random(in: 0 ... .max))"
        let descriptor = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
        defer {
            if descriptor >= 0 { close(descriptor) }
            unlink(name)
        }
        guard descriptor >= 0, ftruncate(descriptor, off_t(byteCount)) == 0,
            let start = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), start != MAP_FAILED
        else {
            throw InputError(
                "cannot hold vector rows: \(String(cString: strerror(errno)))", at: folder, remedy: "free space, or give another --cache")
        }
        base = start.assumingMemoryBound(to: Float.self)
    }

    deinit { munmap(base, byteCount) }

    func pointer(row: Int) -> UnsafePointer<Float> { UnsafePointer(base + row * width) }

    func missing(_ wanted: Set<UInt32>) -> [UInt32] { wanted.filter { Int($0) < rows && !present[Int($0)] }.sorted() }

    /// Takes rows in the order in which they were asked for.
    func store(_ list: [UInt32], _ bytes: [UInt8]) {
        guard bytes.count == list.count * width * 4 else { return }
        bytes.withUnsafeBytes { source in
            for (index, row) in list.enumerated() where Int(row) < rows {
                let part = UnsafeRawBufferPointer(rebasing: source[index * width * 4..<(index + 1) * width * 4])
                UnsafeMutableRawBufferPointer(start: base + Int(row) * width, count: width * 4).copyMemory(from: part)
                present[Int(row)] = true
            }
        }
    }
}
