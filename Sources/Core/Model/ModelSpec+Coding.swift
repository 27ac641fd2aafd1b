// The parts of a spec whose JSON names their kind. In and out: objects with a "kind"; unknown kinds are errors that name the key.
import Base

/// Only the kind of a part.
private struct KindKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { nil }
}

/// The "kind" of the object that `decoder` is at.
private func kind(_ decoder: any Decoder) throws -> String {
    try decoder.container(keyedBy: KindKey.self).decode(String.self, forKey: KindKey("kind"))
}

private func write(kind: String, _ encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: KindKey.self)
    try container.encode(kind, forKey: KindKey("kind"))
}

private func unknown(_ kind: String, _ expected: String, _ decoder: any Decoder) -> DecodingError {
    .dataCorrupted(.init(codingPath: decoder.codingPath + [KindKey("kind")], debugDescription: "\"\(kind)\" is not one of \(expected)"))
}

extension ModelSpec.Input: Codable {
    package init(from decoder: any Decoder) throws {
        switch try kind(decoder) {
        case "table": self = .table(try .init(from: decoder))
        case "characters": self = .characters(try .init(from: decoder))
        case "vectors": self = .vectors(try .init(from: decoder))
        case let other: throw unknown(other, "table, characters, vectors", decoder)
        }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .table(let table):
            try write(kind: "table", encoder)
            try table.encode(to: encoder)
        case .characters(let characters):
            try write(kind: "characters", encoder)
            try characters.encode(to: encoder)
        case .vectors(let vectors):
            try write(kind: "vectors", encoder)
            try vectors.encode(to: encoder)
        }
    }
}

extension ModelSpec.Objective: Codable {
    package init(from decoder: any Decoder) throws {
        switch try kind(decoder) {
        case "characters": self = .characters(try .init(from: decoder))
        case "vectors": self = .vectors(try .init(from: decoder))
        case let other: throw unknown(other, "characters, vectors", decoder)
        }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .characters(let characters):
            try write(kind: "characters", encoder)
            try characters.encode(to: encoder)
        case .vectors(let vectors):
            try write(kind: "vectors", encoder)
            try vectors.encode(to: encoder)
        }
    }
}

extension ModelSpec.Padding: Codable {
    enum CodingKeys: String, CodingKey { case kind, rows }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            kind: try container.decode(Kind.self, forKey: .kind), rows: try container.decodeIfPresent(Int.self, forKey: .rows) ?? 0)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(kind, forKey: .kind)
        try container.encode(rows, forKey: .rows)
    }
}

extension OptimizerSpec.LearnRate: Codable {
    enum CodingKeys: String, CodingKey { case values, rest }

    package init(from decoder: any Decoder) throws {
        if let rate = try? decoder.singleValueContainer().decode(Double.self) {
            self = .constant(rate)
            return
        }
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self = .planned(
            values: try container.decode([Double].self, forKey: .values), rest: try container.decode(Double.self, forKey: .rest))
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .constant(let rate):
            var container = encoder.singleValueContainer()
            try container.encode(rate)
        case .planned(let values, let rest):
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(values, forKey: .values)
            try container.encode(rest, forKey: .rest)
        }
    }
}

extension KeyedDecodingContainer {
    /// A spec that does not say how it is computed uses t2v's own kernels.
    func decode(_ type: Arithmetic.Type, forKey key: Key) throws -> Arithmetic { try decodeIfPresent(type, forKey: key) ?? .native }
}
