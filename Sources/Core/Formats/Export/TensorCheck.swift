// Do a file's tensors fit? In: the names and shapes that are wanted, and those in the file. Out: nothing, or an error naming the tensor.
import Base

/// Compares the tensors of a file with those that settings ask for.
struct TensorCheck {
    var wanted: [(name: String, shape: [Int])]
    var wantedShape: Tok2VecShape
    /// File that the tensors come from.
    var place: String
    /// What to do when no option would make them fit.
    var remedy: String

    /// - Throws: `InputError` that names the first tensor which is duplicated, extra, misshapen or missing, with both shapes, and the
    ///   options with which the file would fit, if there are any.
    func check(_ found: [(name: String, shape: [Int])]) throws(InputError) {
        let shapes = Dictionary(found.map { ($0.name, $0.shape) }) { first, _ in first }
        guard shapes.count == found.count else {
            let names = Dictionary(grouping: found.map(\.name)) { $0 }.filter { $1.count > 1 }.keys.ascending()
            throw InputError("tensor \(names.first ?? "") is there twice", at: place, remedy: "write the file again")
        }
        let advice = advice(shapes)
        // Shapes first: for a file of another width, a wrong shape says more than an extra tensor.
        for tensor in wanted {
            guard let shape = shapes[tensor.name] else { continue }
            guard shape == tensor.shape else {
                throw InputError("tensor \(tensor.name) has shape \(shape), expected \(tensor.shape)", at: place, remedy: advice)
            }
        }
        for tensor in wanted where shapes[tensor.name] == nil {
            throw InputError("tensor \(tensor.name) of shape \(tensor.shape) is missing", at: place, remedy: advice)
        }
        let names = Set(wanted.map(\.name))
        for tensor in found where !names.contains(tensor.name) {
            throw InputError(
                "tensor \(tensor.name) of shape \(tensor.shape) is extra: the model has no such tensor", at: place, remedy: advice)
        }
    }

    private func advice(_ shapes: [String: [Int]]) -> String {
        guard let own = Tok2VecShape(inferringFrom: shapes) else { return remedy }
        let options = own.options(from: wantedShape)
        return options.isEmpty ? remedy : "the file fits with \(options.joined(separator: " and "))"
    }
}
