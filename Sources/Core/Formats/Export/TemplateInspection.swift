// What is in a weights file of spaCy 3. In: its nodes. Out: the settings that made it, and the config lines that load it.
import Base
import Shards

/// The settings of a tok2vec, inferred from the file that spaCy 3 saved it in.
struct TemplateSettings: Equatable {
    /// One table of hash embeddings.
    struct Table: Equatable {
        /// "NORM"; nil if the file does not say.
        var attribute: String?
        var rows: Int
        var seed: Int?
    }

    var width: Int
    var tables: [Table]
    /// Bytes of a word and width of each, if characters are embedded.
    var characters: (count: Int, width: Int)?
    var vectorWidth: Int?
    var depth: Int
    /// Of the convolutions; nil: Mish.
    var pieces: Int?
    var window: Int

    static func == (a: Self, b: Self) -> Bool {
        (a.width, a.vectorWidth, a.depth, a.pieces, a.window) == (b.width, b.vectorWidth, b.depth, b.pieces, b.window)
            && a.tables == b.tables && a.characters?.count == b.characters?.count && a.characters?.width == b.characters?.width
    }

    /// Nil when the nodes are not those of MultiHashEmbed or CharacterEmbed with a window encoder, of which all names and sizes are known.
    init?(_ nodes: [TemplateFile.Node]) {
        func all(_ name: String) -> [TemplateFile.Node] { nodes.filter { $0.name == name } }
        guard let width = nodes.first?.dims["nO"] else { return nil }
        self.width = width
        let columns = all("extract_features").first?.attrs["columns"]?.array ?? []
        tables = all("hashembed").map { node in
            let column = node.attrs["column"]?.integer ?? -1
            return Table(
                attribute: columns.indices.contains(column) ? Self.name(columns[column]) : nil, rows: node.dims["nV"] ?? 0,
                seed: node.attrs["seed"]?.integer)
        }
        characters = all("charembed").first.flatMap { node in
            guard let count = node.dims["nC"], let width = node.dims["nM"] else { return nil }
            return (count, width)
        }
        vectorWidth = all("static_vectors").first?.dims["nM"]
        // one in each convolution; the names of residual layers are also those of their chain
        depth = all("expand_window").count
        window = all("expand_window").first?.attrs["window_size"]?.integer ?? 0
        let maxouts = all("maxout")
        pieces = all("mish").isEmpty ? maxouts.last?.dims["nP"] : nil
        let mish = all("mish").count
        guard depth > 0, window > 0, !tables.isEmpty, all("layernorm").count == depth + 1, maxouts.count + mish == depth + 1 else {
            return nil
        }
        // Every other parameter would belong to an unknown layer.
        let known = Set(["hashembed", "charembed", "static_vectors", "maxout", "mish", "layernorm"])
        guard nodes.allSatisfy({ $0.parameters.isEmpty || known.contains($0.name) }) else { return nil }
    }

    /// Attributes are configured by name or by number (spacy/attrs.pyx).
    private static func name(_ value: MsgpackValue) -> String? {
        if let name = value.string { return name.uppercased() }
        guard let number = value.integer, number > 0 else { return nil }
        let names = SymbolVersion.spacy38.names
        return number <= names.count ? names[number - 1] : nil
    }

    /// `[components.tok2vec.model]` and below, for spaCy 3.
    var config: [String] {
        let isCharacters = characters != nil
        var lines = [
            "[components.tok2vec.model]", "@architectures = \"spacy.Tok2Vec.v2\"", "",
            "[components.tok2vec.model.embed]", "@architectures = \"spacy.\(isCharacters ? "CharacterEmbed" : "MultiHashEmbed").v2\"",
            "width = \(width)",
        ]
        if let characters {
            lines += ["nM = \(characters.width)", "nC = \(characters.count)", "rows = \(tables[0].rows)"]
            lines.append("feature = \"\(tables[0].attribute ?? "LOWER")\"")
        } else {
            lines.append("attrs = [\(tables.map { "\"\($0.attribute ?? "?")\"" }.joined(separator: ", "))]")
            lines.append("rows = [\(tables.map { "\($0.rows)" }.joined(separator: ", "))]")
        }
        lines += ["include_static_vectors = \(vectorWidth != nil)", "", "[components.tok2vec.model.encode]"]
        lines.append("@architectures = \"spacy.\(pieces == nil ? "Mish" : "Maxout")WindowEncoder.v2\"")
        lines += ["width = \(width)", "depth = \(depth)", "window_size = \(window)"]
        if let pieces { lines.append("maxout_pieces = \(pieces)") }
        return lines
    }
}

extension Inspection {
    /// A weights file of spaCy 3.
    static func template(_ path: String) throws(InputError) -> String {
        let file = try TemplateFile(path: path)
        var lines = ["\(path): tok2vec weights for spaCy 3 (file format of thinc 8)", ""]
        let tensors = file.places.map { place in
            NamedTensor(
                name: "\(place.node) \(file.nodes[place.node].name) \(place.parameter)",
                shape: file.nodes[place.node].parameters[place.parameter]?.shape ?? [],
                values: file.values(node: place.node, parameter: place.parameter) ?? [])
        }
        guard let settings = TemplateSettings(file.nodes) else {
            lines += table([("layers", "\(file.nodes.count), some of them unknown")] + numbers(tensors))
            lines += ["", "spaCy 3 loads it into the same model that it was saved from.", "", "parameters (layer, name):"]
            return (lines + shapes(tensors.map { ($0.name, $0.shape) })).joined(separator: "\n") + "\n"
        }
        let tables = settings.tables.map { table in
            "\(table.attribute ?? "?") \(table.rows) rows" + (table.seed.map { " seed \($0)" } ?? "")
        }
        var rows: [(String, String)] = [("width", "\(settings.width)"), ("depth", "\(settings.depth), window \(settings.window)")]
        rows.append(("activation", settings.pieces.map { "Maxout, \($0) pieces" } ?? "Mish"))
        rows.append(("tables", tables.joined(separator: ", ")))
        if let characters = settings.characters { rows.append(("characters", "\(characters.count) bytes of width \(characters.width)")) }
        rows.append(("vectors", settings.vectorWidth.map { "an input, width \($0)" } ?? "no input"))
        lines += table(rows + numbers(tensors))
        lines += ["", "spaCy 3 loads it with this config (or whatever gives the same layers):"]
        lines += (["[initialize]", "init_tok2vec = \"\(path)\"", ""] + settings.config).map { $0.isEmpty ? "" : "  \($0)" }
        lines.append("")
        lines.append("  note: the config also needs the whole [pretraining] block; its component and layer name where the weights go")
        lines.append("  note: attrs in another order load without an error, and the file's are used")
        if settings.vectorWidth != nil {
            lines.append(
                "  note: [initialize] vectors must name the vectors of the pretraining: others of the same width load without an error")
        }
        return (lines + ["", "parameters (layer, name):"] + shapes(tensors.map { ($0.name, $0.shape) })).joined(separator: "\n") + "\n"
    }
}
