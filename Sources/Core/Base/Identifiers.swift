// Names of prepared shards. In: bytes or hexadecimal digits. Out: values that cannot be mistaken for one another.

/// Names a prepared shard in every cache: SHA-256 over everything that it depends on.
public struct CacheKey: Hashable, Sendable {
    /// Of SHA-256.
    public static let byteCount = 32
    /// The 32 bytes.
    public let bytes: [UInt8]

    /// - Returns: nil when there are not 32 bytes.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// - Parameter hex: 64 hexadecimal digits.
    public init?(hex: String) {
        guard let bytes = Array(hex: hex) else { return nil }
        self.init(bytes)
    }

    /// 64 digits.
    public var hex: String { bytes.hex }
}

/// `Digest64` of a prepared shard's bytes: tells an intact shard from a damaged one.
public struct ShardDigest: Hashable, Sendable {
    /// The digest.
    public let value: UInt64

    /// - Parameter value: what `Digest64` gave.
    public init(_ value: UInt64) { self.value = value }

    /// - Parameter hex: as `hex` writes it.
    public init?(hex: String) {
        guard hex.utf8.count == 16, let bytes = Array(hex: hex) else { return nil }
        value = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// 16 digits.
    public var hex: String { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (7 - $0))) }.hex }
}

extension CacheKey: Codable {
    /// Reads 64 hexadecimal digits.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let key = CacheKey(hex: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "a cache key has 64 hexadecimal digits")
        }
        self = key
    }

    /// Writes `hex`.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hex)
    }
}

extension ShardDigest: Codable {
    /// Reads 16 hexadecimal digits.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let digest = ShardDigest(hex: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "a digest has 16 hexadecimal digits")
        }
        self = digest
    }

    /// Writes `hex`.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hex)
    }
}

extension [UInt8] {
    /// - Parameter hex: an even number of hexadecimal digits. - Returns: nil for anything else.
    public init?(hex: String) {
        let digits = hex.utf8.map { digit -> UInt8? in
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
            default: nil
            }
        }
        guard digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        self = bytes
    }
}
