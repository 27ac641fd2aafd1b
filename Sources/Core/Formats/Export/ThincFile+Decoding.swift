// Reads thinc 7's weights file. In: foreign bytes that claim to be a `modelN.bin`. Out: tensors and seeds, or an error naming the entry.
import Base

extension ThincTok2Vec {
    /// Reads a file of t2v or of `spacy pretrain` 2.1 to 2.3 of any width, depth, pieces and rows, with or without static vectors. spaCy
    /// itself loads by position and checks nothing; here every entry is compared with what belongs in its place.
    /// - Parameter place: the file's path, for errors.
    /// - Throws: `InputError` that names the entry and the tensor. Nothing in the bytes is trusted.
    package static func decode(_ bytes: UnsafeRawBufferPointer, place: String) throws(InputError) -> ThincTok2Vec {
        var decoder = ThincDecoder(reader: MsgpackReader(bytes, place: place), place: place)
        try decoder.decode()
        return try ThincTok2Vec(tensors: decoder.tensors, seeds: decoder.seeds, place: place)
    }

    /// Reads the bytes of a file; see above.
    package static func decode(_ bytes: [UInt8], place: String) throws(InputError) -> ThincTok2Vec {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(InputError) in try decode(bytes, place: place) }
        }
        return try result.get()
    }

    /// Reads the file at `path`, which is mapped.
    package static func load(path: String) throws(InputError) -> ThincTok2Vec {
        let file = try MappedFile(path)
        return try decode(file.bytes, place: path)
    }
}

private struct ThincDecoder {
    var reader: MsgpackReader
    let place: String
    var tensors: [NamedTensor] = []
    /// Every file has all tables.
    var seeds = [UInt32](repeating: 0, count: ThincEntry.Feature.allCases.count)

    static let remedy = "give a modelN.bin of `spacy pretrain` 2.1 to 2.3 (hash embeddings and convolutions only) or of t2v"

    /// One parameter as the file has it.
    struct Parameter {
        var name = ""
        var shape: [Int] = []
        var values: [Float] = []
    }

    private func refuse(_ what: String) -> InputError {
        InputError(what, at: place, remedy: Self.remedy)
    }

    mutating func decode() throws(InputError) {
        guard try reader.peek() == .map, try reader.readMapCount() == 1, try key() == "weights" else {
            throw refuse("not a weights file of thinc 7: it is not a map with the one key \"weights\"")
        }
        guard try reader.peek() == .array else { throw refuse("not a weights file of thinc 7: \"weights\" is not a list") }
        let count = try reader.readArrayCount()
        guard let entries = ThincEntry.all(count: count) else {
            throw refuse("\(count) layers: a tok2vec of depth D has 16 + 5 D, or 18 + 5 D with static vectors, D from 1 up")
        }
        for (index, entry) in entries.enumerated() {
            do throws(InputError) {
                try decode(entry)
            } catch {
                let names = entry.parameters.map(\.tensor)
                let tensors = names.isEmpty ? "" : ", tensor \(names.joined(separator: ", "))"
                throw InputError("entry \(index) (\(entry.description)\(tensors)): \(error.what)", at: place, remedy: error.remedy)
            }
        }
        guard reader.isAtEnd else { throw refuse("data follow the end of the weights at byte \(reader.offset)") }
    }

    /// A key of the structure. thinc writes them as bin, and spaCy fails with a KeyError on any other.
    private mutating func key() throws(InputError) -> String {
        guard try reader.peek() == .binary else {
            throw refuse("a key at byte \(reader.offset) is not a msgpack bin; spaCy would not find it")
        }
        return String(decoding: try reader.readBinary(), as: UTF8.self)
    }

    /// A name: str in today's files, bin in those of Python 2.
    private mutating func name() throws(InputError) -> String {
        if try reader.peek() == .binary { return String(decoding: try reader.readBinary(), as: UTF8.self) }
        return try reader.readString()
    }

    /// A size or number from 0 to 2^31 - 1 (files with larger ones cannot be real).
    private mutating func size() throws(InputError) -> Int {
        let value = try reader.readUnsigned()
        guard value < 1 << 31 else { throw refuse("a size of \(value) is too large") }
        return Int(value)
    }

    private mutating func decode(_ entry: ThincEntry) throws(InputError) {
        guard try reader.peek() == .map else { throw refuse("expected a layer, found another model's data") }
        var dimensions: [String: Int] = [:]
        var parameters: [Parameter] = []
        var seed: UInt32?
        for _ in 0..<(try reader.readMapCount()) {
            switch try key() {
            case "dims":
                for _ in 0..<(try reader.readMapCount()) {
                    let dimension = try name()
                    dimensions[dimension] = try size()
                }
            case "params":
                for _ in 0..<(try reader.readArrayCount()) { parameters.append(try parameter()) }
            case "seed":
                let value = try reader.readUnsigned()
                guard let small = UInt32(exactly: value) else { throw refuse("seed \(value) does not fit 32 bits") }
                seed = small
            default: try reader.skip()
            }
        }
        let (expected, found) = (entry.parameters.map(\.name), parameters.map(\.name))
        guard expected == found else { throw refuse("parameters \(found), expected \(expected)") }
        let wanted = Dictionary(uniqueKeysWithValues: entry.dimensions(shape: parameters.first?.shape ?? []))
        guard dimensions == wanted else { throw refuse("dimensions \(dimensions), expected \(wanted) from its parameters") }
        if case .table(let feature) = entry {
            guard let seed else { throw refuse("a hash embedding without a seed") }
            seeds[feature.rawValue] = seed
        }
        for (parameter, names) in zip(parameters, entry.parameters) {
            tensors.append(NamedTensor(name: names.tensor, shape: parameter.shape, values: parameter.values))
        }
    }

    private mutating func parameter() throws(InputError) -> Parameter {
        var parameter = Parameter()
        var outerShape: [Int] = []
        var hasValue = false
        guard try reader.peek() == .map else { throw refuse("expected a parameter at byte \(reader.offset)") }
        for _ in 0..<(try reader.readMapCount()) {
            switch try key() {
            case "name": parameter.name = try name()
            case "shape": outerShape = try shape()
            case "value":
                try value(into: &parameter)
                hasValue = true
            default: try reader.skip()
            }
        }
        guard hasValue else { throw refuse("parameter \(parameter.name) has no value") }
        guard outerShape == parameter.shape else {
            throw refuse("parameter \(parameter.name) is said to have shape \(outerShape), but its value has \(parameter.shape)")
        }
        return parameter
    }

    private mutating func shape() throws(InputError) -> [Int] {
        let count = try reader.readArrayCount()
        guard count <= 4 else { throw refuse("a shape of \(count) dimensions") }
        var sizes: [Int] = []
        for _ in 0..<count { sizes.append(try size()) }
        return sizes
    }

    /// A numpy array: nd, type, kind, shape, data (msgpack-numpy of srsly 1.0).
    private mutating func value(into parameter: inout Parameter) throws(InputError) {
        var isArray = false
        var type = ""
        var data: UnsafeRawBufferPointer?
        guard try reader.peek() == .map else { throw refuse("a value at byte \(reader.offset) is not a numpy array") }
        for _ in 0..<(try reader.readMapCount()) {
            switch try key() {
            case "nd": isArray = try reader.readBool()
            case "type": type = try name()
            case "shape": parameter.shape = try shape()
            case "data": data = try reader.readBinary()
            default: try reader.skip()
            }
        }
        guard isArray, type == "<f4", let data else { throw refuse("a value of type \"\(type)\" is not an array of float32 (\"<f4\")") }
        var count = 1
        for size in parameter.shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow else { throw refuse("shape \(parameter.shape) is too large") }
            count = product
        }
        guard data.count % 4 == 0, data.count / 4 == count else {
            throw refuse("shape \(parameter.shape) needs \(count) floats, the file has \(data.count) bytes")
        }
        parameter.values = [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            UnsafeMutableRawBufferPointer(buffer).copyMemory(from: data)
            filled = count
        }
    }
}
