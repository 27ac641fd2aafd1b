// Writes thinc 7's weights file. In: named tensors of a tok2vec and the seeds of its tables. Out: the bytes of `modelN.bin`.
import Base

/// What `modelN.bin` of profile spacy2 holds: the tensors of a tok2vec, in spaCy's shapes, without the head, and the seeds of its tables.
package struct ThincTok2Vec: Equatable, Sendable {
    /// The settings that the tensors were made with.
    package let shape: Tok2VecShape
    /// MurmurHash3 seeds of the tables, in the order of `ThincEntry.Feature`. They belong to the weights.
    package let seeds: [UInt32]
    /// In the order of `ParameterLayout`.
    package let tensors: [NamedTensor]

    /// - Parameters:
    ///   - tensors: exactly the tensors of one tok2vec, in any order, without the head.
    ///   - place: where they come from, for errors.
    /// - Throws: `InputError` that names a tensor which is missing, extra, duplicated or does not fit the others.
    package init(tensors: [NamedTensor], seeds: [UInt32], place: String) throws(InputError) {
        let remedy = "give a whole tok2vec: `spacy pretrain` 2.1 to 2.3 and t2v write such files"
        guard seeds.count == ThincEntry.Feature.allCases.count else {
            throw InputError("\(seeds.count) seeds, expected one for each table", at: place, remedy: remedy)
        }
        let shapes = Dictionary(tensors.map { ($0.name, $0.shape) }) { first, _ in first }
        guard let shape = Tok2VecShape(inferringFrom: shapes) else {
            throw InputError("tensors embed.norm.E and encode.0.W are missing or of impossible shapes", at: place, remedy: remedy)
        }
        let wanted = shape.tensors()
        try TensorCheck(wanted: wanted, wantedShape: shape, place: place, remedy: remedy).check(tensors.map { ($0.name, $0.shape) })
        let byName = Dictionary(tensors.map { ($0.name, $0) }) { first, _ in first }
        self.shape = shape
        self.seeds = seeds
        self.tensors = wanted.compactMap { byName[$0.name] }
    }

    /// The file's bytes, as thinc 7.0 to 7.4 write them (`neural/_classes/model.py`, `to_bytes`): a map "weights" -> one entry per layer,
    /// with the keys of the structure as msgpack bin and the names of dimensions and parameters as str.
    package func encoded() -> [UInt8] {
        let floats = tensors.reduce(0) { $0 + $1.values.count }
        var writer = MsgpackWriter(capacity: 4 * floats + 256 * tensors.count + 4096)
        let byName = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) })
        let entries = ThincEntry.all(depth: shape.depth, useVectors: shape.useVectors)
        writer.beginMap(1)
        writer.write(binaryText: "weights")
        writer.beginArray(entries.count)
        for entry in entries {
            writer.write(
                entry, parameters: entry.parameters.compactMap { parameter in byName[parameter.tensor].map { (parameter.name, $0) } },
                seeds: seeds)
        }
        return writer.bytes
    }
}

/// One layer of spaCy 2's tok2vec as its file lists it. Layers are in breadth-first order over the layer tree, wrappers included.
enum ThincEntry: Equatable {
    /// A combinator: chain, concatenate, residual, uniqued, with_flatten, flatten, or the feature extracter. Without parameters.
    case wrapper
    /// ExtractWindow: looks `nW` = 1 words to either side.
    case window
    /// A LayerNorm; the associated value is the name before ".G" and ".b".
    case layerNorm(String)
    /// A Maxout; the associated value is the name before ".W" and ".b".
    case maxout(String)
    /// A HashEmbed of this feature.
    case table(Feature)
    /// StaticVectors.
    case vectors

    /// The tables, numbered in the order of the spec.
    enum Feature: Int, CaseIterable { case norm, prefix, suffix, shape }

    /// The entries of a file (spaCy 2.3 `ml/_legacy_tok2vec.py` within `chain(..., flatten)` of `cli/pretrain.py`): 16 + 5 depth of them,
    /// 18 + 5 depth with static vectors.
    static func all(depth: Int, useVectors: Bool) -> [ThincEntry] {
        // chain, features, flatten, with_flatten, chain, uniqued, the residuals, chain, what each residual wraps, concatenate.
        var entries = [ThincEntry](repeating: .wrapper, count: 6 + depth + 1 + depth + 1)
        entries.append(.layerNorm("mixer.norm"))
        for layer in 0..<depth { entries += [.window, .layerNorm("encode.\(layer).norm")] }
        entries += [.wrapper, .table(.shape), .maxout("mixer")]
        entries += (0..<depth).map { .maxout("encode.\($0)") }
        if useVectors { return entries + [.wrapper, .table(.suffix), .wrapper, .table(.prefix), .vectors, .table(.norm)] }
        return entries + [.wrapper, .table(.suffix), .table(.norm), .table(.prefix)]
    }

    /// The entries of a file that has `count` of them; nil when no depth gives that number.
    static func all(count: Int) -> [ThincEntry]? {
        guard count >= 21, count <= 18 + 5 * Tok2VecShape.limits.depth else { return nil }
        switch count % 5 {
        case 1: return all(depth: (count - 16) / 5, useVectors: false)
        case 3: return all(depth: (count - 18) / 5, useVectors: true)
        default: return nil
        }
    }

    /// thinc's names of the layer's parameters and t2v's, in the file's order.
    var parameters: [(name: String, tensor: String)] {
        switch self {
        case .wrapper, .window: []
        case .layerNorm(let name): [("G", "\(name).G"), ("b", "\(name).b")]
        case .maxout(let name): [("W", "\(name).W"), ("b", "\(name).b")]
        case .table(let feature): [("vectors", "embed.\(feature).E")]
        case .vectors: [("W", "embed.vectors.W")]
        }
    }

    /// The entry's "dims", sorted by name. `shape`: of the layer's first parameter.
    func dimensions(shape: [Int]) -> [(name: String, value: Int)] {
        switch self {
        case .wrapper, .layerNorm: []
        case .window: [("nW", 1)]
        case .maxout: shape.count == 3 ? [("nI", shape[2]), ("nO", shape[0]), ("nP", shape[1])] : []
        case .table: shape.count == 2 ? [("nO", shape[1]), ("nV", shape[0])] : []
        case .vectors: shape.count == 2 ? [("nM", shape[1]), ("nO", shape[0])] : []
        }
    }

    /// The entry in words, for errors.
    var description: String {
        switch self {
        case .wrapper: "a wrapper layer"
        case .window: "the window of a convolution"
        case .layerNorm(let name): "LayerNorm \(name)"
        case .maxout(let name): "Maxout \(name)"
        case .table(let feature): "HashEmbed embed.\(feature)"
        case .vectors: "StaticVectors embed.vectors"
        }
    }
}

extension MsgpackWriter {
    /// One entry of "weights".
    fileprivate mutating func write(_ entry: ThincEntry, parameters: [(name: String, tensor: NamedTensor)], seeds: [UInt32]) {
        let dimensions = entry.dimensions(shape: parameters.first?.tensor.shape ?? [])
        if case .table = entry { beginMap(3) } else { beginMap(2) }
        write(binaryText: "dims")
        beginMap(dimensions.count)
        for dimension in dimensions {
            write(string: dimension.name)
            write(unsigned: UInt64(dimension.value))
        }
        write(binaryText: "params")
        beginArray(parameters.count)
        var offset = 0
        for (name, tensor) in parameters {
            write(name, tensor, offset: offset)
            offset += tensor.values.count
        }
        if case .table(let feature) = entry {
            write(binaryText: "seed")
            write(unsigned: UInt64(seeds[feature.rawValue]))
        }
    }

    /// One parameter. Its offset counts floats within the layer; thinc writes a plain 0 for the first and a numpy scalar for the second.
    private mutating func write(_ name: String, _ tensor: NamedTensor, offset: Int) {
        beginMap(4)
        write(binaryText: "name")
        write(string: name)
        write(binaryText: "offset")
        if offset == 0 {
            write(unsigned: 0)
        } else {
            beginMap(3)
            write(binaryText: "nd")
            write(false)
            write(binaryText: "type")
            write(string: "<i8")
            write(binaryText: "data")
            withUnsafeBytes(of: Int64(offset).littleEndian) { write(binary: $0) }
        }
        write(binaryText: "shape")
        write(shape: tensor.shape)
        write(binaryText: "value")
        beginMap(5)
        write(binaryText: "nd")
        write(true)
        write(binaryText: "type")
        write(string: "<f4")
        write(binaryText: "kind")
        write(binaryText: "")
        write(binaryText: "shape")
        write(shape: tensor.shape)
        write(binaryText: "data")
        tensor.values.withUnsafeBytes { write(binary: $0) }
    }

    private mutating func write(shape: [Int]) {
        beginArray(shape.count)
        for size in shape { write(unsigned: UInt64(size)) }
    }
}
