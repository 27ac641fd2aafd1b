// The numbers of spaCy's symbols. In: a version of spaCy. Out: names in order of their numbers.

/// The symbol numbering of a spaCy version (spacy/symbols.pyx).
package enum SymbolVersion: String, Sendable {
    case spacy21, spacy23, spacy38

    /// Names in order of their numbers, from 1 on.
    package var names: [String] {
        let base = SymbolTables.names23.split(separator: " ").map(String.init)
        switch self {
        case .spacy23: return base
        // 2.1 ends before ENT_ID and has IS_OOV in place of IS_OOV_DEPRECATED
        case .spacy21: return base.prefix(452).map { $0 == "IS_OOV_DEPRECATED" ? "IS_OOV" : $0 }
        // 3.x renamed the 276 morphological features, put MORPH before ENT_ID and added "_"
        case .spacy38:
            let deprecated = (1...276).map { "DEPRECATED" + String(repeating: "0", count: 3 - String($0).count) + String($0) }
            return base.prefix(103) + deprecated + base[379..<452] + ["MORPH", "ENT_ID", "IDX", "_"]
        }
    }
}
