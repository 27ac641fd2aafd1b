// The word vectors of a model. In: a .npy file, mapped. Out: rows of floats.
import Base
import Glibc

/// An npy array of 32-bit floats, rows x width, that stays on disk until it is read.
public final class VectorTable: @unchecked Sendable {
    private let file: MappedFile
    private let data: UnsafePointer<Float>
    /// The file that holds the array.
    public let path: String
    /// The byte of the file where the first row begins.
    public let dataOffset: Int
    /// The number of rows; several words may share one, and some may be unused.
    public let rows: Int
    /// Floats per row.
    public let width: Int

    /// The `width` floats of row `index`, which must be below `rows`. Valid as long as the table lives.
    @inline(__always)
    public func row(_ index: Int) -> UnsafePointer<Float> {
        precondition(index >= 0 && index < rows)
        return data + index * width
    }

    /// The whole file, for hashing and sending.
    public var fileBytes: UnsafeRawBufferPointer { file.bytes }

    /// Maps `path` (numpy/lib/format.py: magic, version, header length, a Python dict literal, the data).
    /// - Throws: `InputError` for a missing or truncated file, an element type other than '<f4', Fortran order, or a number of dimensions
    ///   other than two.
    public init(path: String) throws(InputError) {
        func refuse(_ what: String) -> InputError {
            InputError(
                "cannot use these vectors: \(what)", at: path, remedy: "make the vectors model again with spacy init-model or init vectors")
        }
        file = try MappedFile(path)
        let bytes = file.bytes
        guard bytes.count >= 12, bytes.starts(with: [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]) else { throw refuse("not an npy file") }
        let isLong = bytes[6] >= 2
        let headerStart = isLong ? 12 : 10
        let headerCount =
            isLong
            ? Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
            : Int(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)))
        guard headerCount <= bytes.count - headerStart else { throw refuse("its header is cut off") }
        let header = String(decoding: bytes[headerStart..<headerStart + headerCount], as: UTF8.self)
        guard header.contains("'<f4'") else { throw refuse("the element type is not '<f4': \(header.prefix(100))") }
        guard header.contains("'fortran_order': False") else { throw refuse("it is in Fortran order") }
        guard let shape = Self.shape(header), shape.count == 2 else { throw refuse("it is not a table: \(header.prefix(100))") }
        dataOffset = headerStart + headerCount
        let (cells, tooMany) = shape[0].multipliedReportingOverflow(by: shape[1])
        guard !tooMany, cells <= (bytes.count - dataOffset) / 4 else {
            throw refuse("\(shape[0]) rows of \(shape[1]) announced, \(bytes.count - dataOffset) bytes there")
        }
        guard dataOffset % 4 == 0, let base = bytes.baseAddress else { throw refuse("its data is not aligned") }
        self.path = path
        rows = shape[0]
        width = shape[1]
        data = (base + dataOffset).assumingMemoryBound(to: Float.self)
    }

    /// The numbers of `'shape': (20000, 300)`.
    private static func shape(_ header: String) -> [Int]? {
        guard let key = header.firstRange(of: "'shape':"), let open = header[key.upperBound...].firstIndex(of: "("),
            let close = header[open...].firstIndex(of: ")")
        else { return nil }
        let fields = header[header.index(after: open)..<close].split(separator: ",").map { $0.filter { $0 != " " } }
        let numbers = fields.compactMap { Int($0) }
        return numbers.count == fields.count && numbers.allSatisfy { $0 >= 0 } ? numbers : nil
    }
}
