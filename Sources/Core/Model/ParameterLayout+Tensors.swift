// Between a flat buffer and named tensors. In: memory order. Out: spaCy's shapes and order of axes, and back.
import Base

extension ParameterLayout {
    /// Which of the tensors a file must hold.
    package enum Part: Sendable {
        case all
        /// What `modelN.bin` has: everything but the head.
        case tok2vec

        func contains(_ tensor: Tensor) -> Bool { self == .all || !tensor.isHead }
    }

    /// Calls `body` with (index in the file's order, index in memory) of every element of `tensor`, both counted from the tensor's start.
    @inline(__always)
    func forEachIndex(of tensor: Tensor, _ body: (_ file: Int, _ memory: Int) -> Void) {
        let (outputs, pieces, inputs, window): (Int, Int, Int, Int)
        switch tensor.order {
        case .same: (outputs, pieces, inputs, window) = (1, 1, tensor.count, 1)
        case .pieceMajor: (outputs, pieces, inputs, window) = (tensor.shape[0], tensor.shape[1], tensor.shape.dropFirst(2).reduce(1, *), 1)
        case .windowMajor: (outputs, pieces, inputs, window) = (tensor.shape[0], tensor.shape[1], tensor.shape[2] / 3, 3)
        }
        var file = 0
        for output in 0..<outputs {
            for piece in 0..<pieces {
                for k in 0..<window {
                    let start = ((k * pieces + piece) * outputs + output) * inputs
                    for input in 0..<inputs {
                        body(file, start + input)
                        file += 1
                    }
                }
            }
        }
    }

    /// The tensors of `part` with spaCy's names, shapes and order of axes.
    /// - Parameter buffer: `count` floats in this layout.
    package func export(_ buffer: UnsafePointer<Float>, part: Part = .all) -> [NamedTensor] {
        tensors.filter(part.contains).map { tensor in
            var values = [Float](repeating: 0, count: tensor.count)
            let source = buffer + tensor.offset
            values.withUnsafeMutableBufferPointer { target in
                forEachIndex(of: tensor) { target[$0] = source[$1] }
            }
            return NamedTensor(name: tensor.name, shape: tensor.shape, values: values)
        }
    }

    /// Fills `buffer` (`count` floats) from named tensors in any order; tensors outside `part` stay as they are.
    /// - Parameter place: the file, for error messages.
    /// - Throws: `InputError` that names the first tensor that is missing, extra, duplicated or misshapen. Then `buffer` is untouched.
    package func load(
        _ given: [NamedTensor], into buffer: UnsafeMutablePointer<Float>, part: Part = .all, place: String = ""
    ) throws(InputError) {
        let remedy = "give weights that were made with this run's width, depth, pieces, rows and use-vectors"
        var found: [String: NamedTensor] = [:]
        for tensor in given {
            guard let known = self.tensor(named: tensor.name), part.contains(known) else {
                throw InputError("tensor \(tensor.name) does not belong to this model", at: place, remedy: remedy)
            }
            guard found.updateValue(tensor, forKey: tensor.name) == nil else {
                throw InputError("tensor \(tensor.name) is there twice", at: place, remedy: "write the file again")
            }
            guard tensor.shape == known.shape, tensor.values.count == known.count else {
                throw InputError("tensor \(tensor.name) has shape \(tensor.shape), expected \(known.shape)", at: place, remedy: remedy)
            }
        }
        for tensor in tensors where part.contains(tensor) && found[tensor.name] == nil {
            throw InputError("tensor \(tensor.name) is missing", at: place, remedy: remedy)
        }
        for tensor in tensors {
            guard let source = found[tensor.name]?.values else { continue }
            let target = buffer + tensor.offset
            source.withUnsafeBufferPointer { source in
                forEachIndex(of: tensor) { target[$1] = source[$0] }
            }
        }
    }
}
