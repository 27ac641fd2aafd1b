// thinc 8's weights file as a template to fill in. In: a file that spaCy 3 wrote, and tensors. Out: the same file with other values.
import Base

/// A tok2vec as spaCy 3 saves it (thinc 8 `Model.to_bytes`): a msgpack map of nodes, attrs, params and shims, each with one entry per node
/// of the layer tree. t2v never makes such a file: it copies one and replaces the bytes of its parameters, so that the structure stays the
/// one that the user's own spaCy wrote.
package struct TemplateFile: Sendable {
    /// One layer.
    package struct Node: Sendable {
        /// Name that the layer was constructed with: "hashembed", "residual(...)".
        package var name: String
        /// Sizes by name ("nO", "nI", "nP", ...), without those that are not set.
        package var dims: [String: Int]
        /// Attributes, decoded ("column", "seed", "dropout_rate", ...).
        package var attrs: [String: MsgpackValue]
        /// Parameters by name ("W", "b", "E", "G").
        package var parameters: [String: Parameter]
    }

    /// An array of float32.
    package struct Parameter: Equatable, Sendable {
        /// Sizes, row-major.
        package var shape: [Int]
        /// Where its values are in the file, little-endian.
        package var range: Range<Int>
    }

    /// The whole file.
    package let bytes: [UInt8]
    /// Breadth-first over the layer tree, as in the file.
    package let nodes: [Node]
    /// The file, for errors.
    package let place: String

    /// Reads the file at `path`.
    /// - Throws: `InputError` when it is missing, damaged, or not such a file.
    package init(path: String) throws(InputError) {
        let file = try MappedFile(path)
        let bytes = withExtendedLifetime(file) { [UInt8](file.bytes) }
        try self.init(bytes: bytes, place: path)
    }

    /// - Throws: `InputError` that names the byte or the node that differs from what thinc 8 writes.
    package init(bytes: [UInt8], place: String) throws(InputError) {
        self.bytes = bytes
        self.place = place
        // withUnsafeBytes loses the error's type
        let parsed: Result<[Node], InputError> = bytes.withUnsafeBytes { buffer in
            do throws(InputError) {
                return .success(try TemplateParser(buffer, place: place).nodes())
            } catch {
                return .failure(error)
            }
        }
        nodes = try parsed.get()
    }

    /// Whether `bytes` begin as such a file does: a map of four entries, the first called "nodes".
    package static func isLikely(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.starts(with: [0x84, 0xa5] + Array("nodes".utf8))
    }

    /// All parameters, in the order of the nodes, names sorted.
    package var places: [(node: Int, parameter: String)] {
        nodes.indices.flatMap { node in nodes[node].parameters.keys.ascending().map { (node, $0) } }
    }

    /// The values of a parameter; nil if there is none of that name.
    package func values(node: Int, parameter: String) -> [Float]? {
        guard nodes.indices.contains(node), let found = nodes[node].parameters[parameter] else { return nil }
        return bytes.withUnsafeBytes { source in
            [Float](unsafeUninitializedCapacity: found.range.count / 4) { target, count in
                UnsafeMutableRawBufferPointer(target).copyMemory(from: UnsafeRawBufferPointer(rebasing: source[found.range]))
                count = found.range.count / 4
            }
        }
    }
}

/// Which tensor of a run is which parameter of a template.
package struct TemplateEntry: Codable, Equatable, Sendable {
    /// t2v's name, "embed.norm.E".
    package var tensor: String
    /// Number of the node.
    package var node: Int
    /// Name of the parameter in the node, "E".
    package var parameter: String

    package init(tensor: String, node: Int, parameter: String) {
        (self.tensor, self.node, self.parameter) = (tensor, node, parameter)
    }
}

/// A template with the map from tensors to parameters, checked against each other.
package struct WeightsTemplate: Sendable {
    package let file: TemplateFile
    /// One for each parameter of the file.
    package let entries: [TemplateEntry]

    static let remedy = "compile the config again"

    /// - Parameter tensors: names and shapes of the tensors that the file is to hold: all of a tok2vec.
    /// - Throws: `InputError` that names the tensor or the node which is missing, duplicated, left over or of another shape.
    package init(file: TemplateFile, entries: [TemplateEntry], tensors: [(name: String, shape: [Int])]) throws(InputError) {
        func refuse(_ what: String) -> InputError { InputError(what, at: file.place, remedy: Self.remedy) }
        var shapes = Dictionary(tensors.map { ($0.name, $0.shape) }) { first, _ in first }
        var taken = Set<String>()
        for entry in entries {
            guard let shape = shapes.removeValue(forKey: entry.tensor) else {
                throw refuse("tensor \(entry.tensor) does not belong to this model, or is there twice")
            }
            guard file.nodes.indices.contains(entry.node), let found = file.nodes[entry.node].parameters[entry.parameter] else {
                throw refuse("tensor \(entry.tensor) is to be parameter \(entry.parameter) of node \(entry.node), which does not exist")
            }
            guard taken.insert("\(entry.node) \(entry.parameter)").inserted else {
                throw refuse("two tensors are to be parameter \(entry.parameter) of node \(entry.node)")
            }
            guard found.shape == shape else {
                throw refuse("tensor \(entry.tensor) has shape \(found.shape) in the file, the model wants \(shape)")
            }
        }
        if let name = shapes.keys.ascending().first { throw refuse("no parameter of the file belongs to tensor \(name)") }
        if let left = file.places.first(where: { !taken.contains("\($0.node) \($0.parameter)") }) {
            throw refuse("parameter \(left.parameter) of node \(left.node) (\(file.nodes[left.node].name)) belongs to no tensor")
        }
        self.file = file
        self.entries = entries
    }

    /// The values that the file holds, by t2v's names.
    package var tensors: [NamedTensor] {
        entries.compactMap { entry in
            guard let values = file.values(node: entry.node, parameter: entry.parameter),
                let shape = file.nodes[entry.node].parameters[entry.parameter]?.shape
            else { return nil }
            return NamedTensor(name: entry.tensor, shape: shape, values: values)
        }
    }

    /// The file with the values of `tensors`, one for each entry, in any order.
    /// - Throws: `InputError` that names a tensor which is missing or of another shape.
    package func filled(with tensors: [NamedTensor]) throws(InputError) -> [UInt8] {
        let given = Dictionary(tensors.map { ($0.name, $0) }) { first, _ in first }
        var out = file.bytes
        for entry in entries {
            guard let tensor = given[entry.tensor] else {
                throw InputError("tensor \(entry.tensor) is missing", at: file.place, remedy: Self.remedy)
            }
            guard let parameter = file.nodes[entry.node].parameters[entry.parameter], parameter.shape == tensor.shape else {
                throw InputError("tensor \(entry.tensor) has shape \(tensor.shape)", at: file.place, remedy: Self.remedy)
            }
            tensor.values.withUnsafeBytes { values in
                out.withUnsafeMutableBytes {
                    UnsafeMutableRawBufferPointer(rebasing: $0[parameter.range]).copyMemory(from: values)
                }
            }
        }
        return out
    }
}
