// Sorting short lists. In: a sequence. Out: its elements in ascending order.

extension Sequence {
    /// The elements by ascending key, equal keys in their order. Compiled once for all types, where `sorted` is compiled again for every
    /// call: with sixty of them, that was a twentieth of the build. A comparison costs more, so it is for short lists.
    package func ascending<Key: Comparable>(_ key: (Element) -> Key) -> [Element] { sorted { key($0) < key($1) } }
}

extension Sequence where Element: Comparable {
    /// The elements in ascending order; for short lists, like `ascending(_:)`.
    package func ascending() -> [Element] { sorted() }
}
