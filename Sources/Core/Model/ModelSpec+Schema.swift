// The columns that a model needs. In: a spec. Out: its schema.
import Shards

extension ModelSpec {
    /// The columns that this model needs.
    package var schema: FeatureSchema {
        var attributes: [String] = []
        var (vectors, bytes): (String?, Int) = (nil, 0)
        for input in inputs {
            switch input {
            case .table(let table): attributes.append(table.attribute)
            case .characters(let characters): bytes = max(bytes, characters.bytes)
            case .vectors(let input): vectors = input.attribute
            }
        }
        switch objective {
        case .characters(let characters): bytes = max(bytes, characters.bytes)
        // The objective looks words up by their text.
        case .vectors: vectors = vectors ?? "ORTH"
        }
        return FeatureSchema(attributes: attributes, vectorsAttribute: vectors, byteCount: bytes)
    }

    /// The hash embeddings among the inputs.
    package var tables: [Table] {
        inputs.compactMap { if case .table(let table) = $0 { table } else { nil } }
    }

    /// The static vectors among the inputs.
    package var vectorsInput: Vectors? {
        for case .vectors(let vectors) in inputs { return vectors }
        return nil
    }

    /// M of the vectors table that an input or the objective reads; nil if none does.
    package var vectorWidth: Int? {
        if let vectorsInput { return vectorsInput.width }
        if case .vectors(let vectors) = objective { return vectors.width }
        return nil
    }
}
