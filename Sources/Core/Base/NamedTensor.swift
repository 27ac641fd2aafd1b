// A tensor as files know it. In and out: name, shape, row-major values.

/// A named float32 tensor in spaCy's shape and order.
package struct NamedTensor: Equatable, Sendable {
    package var name: String
    package var shape: [Int]
    /// Row-major values; `shape.reduce(1, *)` of them.
    package var values: [Float]

    package init(name: String, shape: [Int], values: [Float]) {
        precondition(values.count == shape.reduce(1, *), "\(name): \(values.count) values for shape \(shape)")
        self.name = name
        self.shape = shape
        self.values = values
    }
}
