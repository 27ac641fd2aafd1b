// The decisions in which spaCy 2.x and 3.x differ. In: which spaCy reads the weights. Out: one value for model, objective, optimizer,
// exporter.

/// Every way in which the spaCy versions differ, decided once (design: profiles). Kernels never ask which spaCy it is: they are given
/// sizes, constants and row lists that were made from this value.
public struct Profile: Sendable, Equatable {
    /// "spacy2"; also in config.json.
    public var name: String
    /// Pieces of the mixer's Maxout, whatever `--cnn-pieces` says (spaCy 2.3 `_legacy_tok2vec.py`).
    public var mixerPieces: Int
    /// Width of the head's hidden layer (spaCy 2.3 `cli/pretrain.py`, `create_pretraining_model`).
    public var headWidth: Int
    /// Its Maxout pieces.
    public var headPieces: Int
    /// Added to the variance in LayerNorm (thinc 7 `layernorm.py`).
    public var layerNormEpsilon: Float
    /// Zero-feature rows, which are embedded like words, on each side of a document, per convolution (thinc 7 `with_flatten(pad=depth)`).
    /// 0 would mean zero vectors put in before each convolution, as spaCy 3 has it.
    public var paddingPerConvolution: Int
    /// Vector row that padding sees with static vectors (its ID is 0), or -1.
    public var paddingVectorRow: Int32
    /// One dropout mask of `width` units for a whole update on the embeddings' outputs; spaCy 3 draws none there.
    public var dropsEmbeddings: Bool
    /// HashEmbed seeds of fresh weights.
    public var seeds: EmbeddingSeeds

    /// spaCy 2.1 to 2.3, thinc 7.
    public static let spacy2 = Profile(
        name: "spacy2", mixerPieces: 3, headWidth: 300, headPieces: 3, layerNormEpsilon: 1e-8, paddingPerConvolution: 1,
        paddingVectorRow: 0, dropsEmbeddings: true, seeds: EmbeddingSeeds())

    /// Padding rows on each side of a document for a network of `depth` convolutions with a window of 3.
    public func padding(depth: Int) -> Int { paddingPerConvolution * depth }
}

/// MurmurHash3 seeds of the four embedding tables. They belong to the weights: a file's seeds stay with its weights.
public struct EmbeddingSeeds: Codable, Sendable, Equatable {
    /// Of the table of normalized forms.
    public var norm: UInt32
    /// Of the table of prefixes.
    public var prefix: UInt32
    /// Of the table of suffixes.
    public var suffix: UInt32
    /// Of the table of shapes.
    public var shape: UInt32

    /// The defaults are those of spaCy 2.3.3 and later.
    public init(norm: UInt32 = 6, prefix: UInt32 = 7, suffix: UInt32 = 8, shape: UInt32 = 9) {
        self.norm = norm
        self.prefix = prefix
        self.suffix = suffix
        self.shape = shape
    }

    /// In the order of the tables: norm, prefix, suffix, shape.
    public var inTableOrder: [UInt32] { [norm, prefix, suffix, shape] }
}
