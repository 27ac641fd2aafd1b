// A tensor as files know it. In and out: name, shape, row-major values.

/// A named float32 tensor in the shape and order that spaCy has it.
public struct NamedTensor: Equatable, Sendable {
    public var name: String
    public var shape: [Int]
    /// Row-major values; `shape.reduce(1, *)` of them.
    public var values: [Float]

    public init(name: String, shape: [Int], values: [Float]) {
        precondition(values.count == shape.reduce(1, *), "\(name): \(values.count) values for shape \(shape)")
        self.name = name
        self.shape = shape
        self.values = values
    }
}
