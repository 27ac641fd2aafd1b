// Numbers of lanes and shards. In: plain numbers. Out: values of two types, so that a lane cannot be passed for a shard.

/// Numbers things of one kind, from 0. On the wire and in JSON it is the plain number.
public protocol Ordinal: RawRepresentable, Hashable, Strideable, Codable, Sendable, CustomStringConvertible, ExpressibleByIntegerLiteral
where RawValue == Int, Stride == Int {
    /// - Parameter rawValue: the number.
    init(rawValue: Int)
}

extension Ordinal {
    /// - Parameter number: what a frame, a table or a loop counts.
    @inlinable
    public init(_ number: some BinaryInteger) { self.init(rawValue: Int(number)) }

    /// A number in the source text.
    @inlinable
    public init(integerLiteral value: Int) { self.init(rawValue: value) }

    /// The number's digits.
    public var description: String { String(rawValue) }

    /// The number `count` places further on.
    @inlinable
    public func advanced(by count: Int) -> Self { Self(rawValue: rawValue + count) }

    /// How many places `other` is further on.
    @inlinable
    public func distance(to other: Self) -> Int { other.rawValue - rawValue }

    /// In the order of the numbers.
    @inlinable
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// The number of a lane, below the run's number of lanes.
public struct LaneID: Ordinal {
    /// The plain number.
    public let rawValue: Int

    /// - Parameter rawValue: the plain number.
    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }
}

/// The number of a shard in the corpus.
public struct ShardID: Ordinal {
    /// The plain number.
    public let rawValue: Int

    /// - Parameter rawValue: the plain number.
    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }
}

/// One element for each number of a kind: `lanes[shard]` does not compile. In JSON it is an array.
public struct Numbered<ID: Ordinal, Element>: RandomAccessCollection, MutableCollection {
    /// In the order of their numbers.
    public private(set) var elements: [Element]

    /// No elements.
    public init() { elements = [] }

    /// - Parameter elements: that of number 0 first.
    public init(_ elements: some Sequence<Element>) { self.elements = Array(elements) }

    /// The number 0.
    public var startIndex: ID { 0 }

    /// One more than the last number.
    public var endIndex: ID { ID(rawValue: elements.count) }

    /// The element with this number.
    public subscript(id: ID) -> Element {
        get { elements[id.rawValue] }
        _modify { yield &elements[id.rawValue] }
    }

    /// Appends one element.
    /// - Returns: its number.
    @discardableResult
    public mutating func append(_ element: Element) -> ID {
        elements.append(element)
        return ID(rawValue: elements.count - 1)
    }
}

extension Numbered: Sendable where Element: Sendable {}
extension Numbered: Equatable where Element: Equatable {}

extension Numbered: ExpressibleByArrayLiteral {
    /// - Parameter elements: that of number 0 first.
    public init(arrayLiteral elements: Element...) { self.init(elements) }
}

extension Numbered: Codable where Element: Codable {
    /// Reads an array.
    public init(from decoder: any Decoder) throws { elements = try [Element](from: decoder) }

    /// Writes an array.
    public func encode(to encoder: any Encoder) throws { try elements.encode(to: encoder) }
}
