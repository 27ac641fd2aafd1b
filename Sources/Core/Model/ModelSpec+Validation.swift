// Is a spec one that t2v can train? In: a spec from outside. Out: nothing, or the key that is wrong.
import Base
import FoundationEssentials

extension ModelSpec {
    /// The sizes that a model may have. Within these no product of sizes overflows.
    package enum Limits {
        package static let width = 1...4096
        package static let depth = 0...64
        package static let pieces = 1...16
        package static let rows = 1...100_000_000
        package static let vectorWidth = 1...65_536
        static let inputs = 1...64
        static let bytes = 1...64
        static let hidden = 1...16_384
        static let padding = 0...1024
    }

    /// Decodes and validates a job's "model".
    /// - Throws: `InputError` that names the key which is missing, of another type, unknown or out of range.
    package init(json: Data, place: String) throws(InputError) {
        let remedy = "compile the config again with this version of t2v"
        func path(_ keys: [any CodingKey]) -> String { (["model"] + keys.map(\.stringValue)).joined(separator: ".") }
        do {
            self = try JSONDecoder().decode(ModelSpec.self, from: json)
        } catch DecodingError.keyNotFound(let key, let context) {
            throw InputError("\(path(context.codingPath + [key])) is missing", at: place, remedy: remedy)
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context)
        {
            throw InputError("\(path(context.codingPath)): \(context.debugDescription)", at: place, remedy: remedy)
        } catch {
            throw InputError("the model cannot be read: \(error)", at: place, remedy: remedy)
        }
        try validate(place: place)
    }

    /// Sorted keys, so that equal specs have equal bytes.
    package func encoded() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return (try? encoder.encode(self)).map(Array.init) ?? []
    }

    /// - Throws: `InputError` that names the key whose value no run can have.
    package func validate(place: String = "") throws(InputError) {
        let check = SpecCheck(place: place)
        try check.range(width, Limits.width, "width")
        try check.rate(dropout, "dropout")
        try check.require(
            maskProbability >= 0 && maskProbability <= 1, "mask_probability", maskProbability, "a probability from 0 to 1")
        try check.require(
            layerNormEpsilon > 0 && layerNormEpsilon < 1, "layer_norm_epsilon", layerNormEpsilon, "a number between 0 and 1")
        try check.require(Limits.inputs.contains(inputs.count), "inputs", "\(inputs.count) parts", "1 to \(Limits.inputs.upperBound) parts")
        for (index, input) in inputs.enumerated() { try validate(input, "inputs.\(index)", check) }
        try check.require(
            inputs.count { if case .characters = $0 { true } else { false } } <= 1, "inputs", "two of kind characters", "one at most")
        try check.require(
            inputs.count { if case .vectors = $0 { true } else { false } } <= 1, "inputs", "two of kind vectors", "one at most")
        try check.range(mixer.pieces, Limits.pieces, "mixer.pieces")
        try validateEncoder(check)
        try validateObjective(check)
        try validateOptimizer(check)
        if let input = vectorsInput, case .vectors(let target) = objective {
            try check.require(
                input.width == target.width, "objective.width", target.width, "the width of the vectors input, \(input.width)")
        }
    }

    private func validate(_ input: Input, _ key: String, _ check: SpecCheck) throws(InputError) {
        switch input {
        case .table(let table):
            try check.range(table.rows, Limits.rows, "\(key).rows")
            try check.range(table.width, Limits.width, "\(key).width")
            let name = table.attribute
            try check.require(
                !name.isEmpty && name.count <= 64 && name.utf8.allSatisfy { (65...90).contains($0) || (48...57).contains($0) || $0 == 95 },
                "\(key).attribute", name, "an attribute's name in capitals")
        case .characters(let characters):
            try check.range(characters.bytes, Limits.bytes, "\(key).bytes")
            try check.range(characters.width, Limits.width, "\(key).width")
        case .vectors(let vectors):
            try check.range(vectors.width, Limits.vectorWidth, "\(key).width")
            try check.range(vectors.output, Limits.width, "\(key).output")
            try check.require(!vectors.attribute.isEmpty, "\(key).attribute", "empty", "ORTH or another attribute")
        }
    }

    private func validateEncoder(_ check: SpecCheck) throws(InputError) {
        try check.range(encoder.convolutions.count, Limits.depth, "encoder.convolutions")
        try check.range(encoder.padding.rows, Limits.padding, "encoder.padding.rows")
        for (index, convolution) in encoder.convolutions.enumerated() {
            let key = "encoder.convolutions.\(index)"
            try check.require(convolution.window == 1, "\(key).window", convolution.window, "window_size = 1: others are not implemented")
            switch convolution.activation {
            case .maxout: try check.range(convolution.pieces ?? 0, Limits.pieces, "\(key).pieces")
            case .mish:
                try check.require(convolution.pieces == nil, "\(key).pieces", convolution.pieces ?? 0, "none for mish")
            }
        }
        if encoder.padding.kind == .embeddedZeros {
            try check.require(
                encoder.padding.rows >= encoder.convolutions.count, "encoder.padding.rows", encoder.padding.rows,
                "a row for each convolution")
            try check.require(mixer.dropout != .token, "mixer.dropout", "token", "word or none: padding has no tokens")
        }
    }

    private func validateObjective(_ check: SpecCheck) throws(InputError) {
        switch objective {
        case .characters(let characters):
            try check.range(characters.bytes, Limits.bytes, "objective.bytes")
            try check.range(characters.hidden, Limits.hidden, "objective.hidden")
            try check.range(characters.pieces, Limits.pieces, "objective.pieces")
        case .vectors(let vectors):
            try check.range(vectors.width, Limits.vectorWidth, "objective.width")
            try check.range(vectors.hidden, Limits.hidden, "objective.hidden")
            try check.range(vectors.pieces, Limits.pieces, "objective.pieces")
        }
    }

    private func validateOptimizer(_ check: SpecCheck) throws(InputError) {
        let rates: [Double]
        switch optimizer.learnRate {
        case .constant(let rate): rates = [rate]
        case .planned(let values, let rest): rates = values + [rest]
        }
        for rate in rates {
            try check.require(rate >= 0 && rate.isFinite, "optimizer.learn_rate", rate, "rates of 0 or more")
        }
        for (name, beta) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)] {
            try check.require(beta >= 0 && beta < 1, "optimizer.\(name)", beta, "a number in [0, 1)")
        }
        for (name, value) in [("epsilon", optimizer.epsilon), ("l2", optimizer.l2), ("grad_clip", optimizer.gradClip)] {
            try check.require(value >= 0 && value.isFinite, "optimizer.\(name)", value, "a number of 0 or more")
        }
    }
}

/// Says which key of a spec is wrong.
private struct SpecCheck {
    let place: String

    func require(_ good: Bool, _ key: String, _ found: Any, _ expected: String) throws(InputError) {
        guard good else { throw InputError("model.\(key) is \(found)", at: place, remedy: "give \(expected)") }
    }

    func range(_ value: Int, _ range: ClosedRange<Int>, _ key: String) throws(InputError) {
        try require(range.contains(value), key, value, "\(range.lowerBound) to \(range.upperBound)")
    }

    func rate(_ value: Float, _ key: String) throws(InputError) {
        try require(value >= 0 && value < 1, key, value, "a rate in [0, 1)")
    }
}
