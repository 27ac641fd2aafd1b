// Small joints between folders that know nothing of each other.

extension VectorTable: VectorRows {
    public func pointer(row: Int) -> UnsafePointer<Float> { self.row(row) }
}

extension VectorsModel {
    /// Lexeme features of a word, as a tokenizer without exceptions would give them.
    public func features(of word: String, schema: FeatureSchema) -> WordFeatures {
        let bytes = Array(word.utf8)
        return bytes.withUnsafeBufferPointer { lexicon.features($0).features(schema, text: $0) }
    }
}
