// The seeds of spaCy 2's tables. In: a weights file, or defaults. Out: part of a spec.

/// MurmurHash3 seeds of the four embedding tables. They belong to the weights: a file's seeds stay with its weights.
package struct EmbeddingSeeds: Codable, Sendable, Equatable {
    /// Of the table of normalized forms.
    package var norm: UInt32
    /// Of the table of prefixes.
    package var prefix: UInt32
    /// Of the table of suffixes.
    package var suffix: UInt32
    /// Of the table of shapes.
    package var shape: UInt32

    /// The defaults are those of spaCy 2.3.3 and later.
    package init(norm: UInt32 = 6, prefix: UInt32 = 7, suffix: UInt32 = 8, shape: UInt32 = 9) {
        self.norm = norm
        self.prefix = prefix
        self.suffix = suffix
        self.shape = shape
    }

    /// In the order of the tables: norm, prefix, suffix, shape.
    package var inTableOrder: [UInt32] { [norm, prefix, suffix, shape] }
}

extension EmbeddingSeeds {
    /// Those of a spec that `ModelSpec.spacy2` made; nil if it has other tables.
    package init?(_ spec: ModelSpec) {
        var seeds: [UInt32] = []
        for case .table(let table) in spec.inputs { seeds.append(table.seed) }
        guard seeds.count == 4 else { return nil }
        self.init(norm: seeds[0], prefix: seeds[1], suffix: seeds[2], shape: seeds[3])
    }
}
