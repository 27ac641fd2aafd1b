// The model as data. In: a builder (`ModelSpec.spacy2`) or a compiled job's JSON. Out: everything that decides layers, objective,
// optimizer.
import Base

/// A tok2vec, its objective and its optimizer as one value. Layout, features, engine and optimizer are made from it; nothing else depends
/// on spaCy's version. Encoded, it is the "model" of a job folder.
///
/// Shapes are spaCy's: width is that of mixer and encoder; a mixer's columns are the inputs' widths, one after the other.
package struct ModelSpec: Codable, Sendable, Equatable {
    /// W: outputs of the mixer and of every convolution.
    package var width: Int
    /// The rate of all layers that have dropout.
    package var dropout: Float
    /// In the order of the mixer's columns.
    package var inputs: [Input]
    package var mixer: Mixer
    package var encoder: Encoder
    package var objective: Objective
    /// Probability that a token is selected; 0: nothing is hidden and every token counts.
    package var maskProbability: Float
    package var optimizer: OptimizerSpec
    /// Added to the variance in LayerNorm.
    package var layerNormEpsilon: Float
    package var initialization: Initialization
    package var weightsFile: WeightsFile
    package var arithmetic: Arithmetic

    enum CodingKeys: String, CodingKey {
        case width, dropout, inputs, mixer, encoder, objective, optimizer, initialization, arithmetic
        case maskProbability = "mask_probability"
        case layerNormEpsilon = "layer_norm_epsilon"
        case weightsFile = "weights_file"
    }

    /// One part of the mixer's input.
    package enum Input: Sendable, Equatable {
        case table(Table)
        case characters(Characters)
        case vectors(Vectors)
    }

    /// A hash embedding of one attribute (thinc `hashembed.py`): four rows summed.
    package struct Table: Codable, Sendable, Equatable {
        /// spaCy's name in capitals: "NORM", "PREFIX" ...
        package var attribute: String
        package var rows: Int
        package var seed: UInt32
        package var width: Int
        /// One mask of `width` units for the whole update.
        package var dropout: Bool
    }

    /// spaCy 3's CharacterEmbed: byte j of a word picks a row of E[j]; E has shape (bytes, 256, width). Never dropped out.
    package struct Characters: Codable, Sendable, Equatable {
        package var bytes: Int
        package var width: Int
    }

    /// Static vectors times W^T (thinc `staticvectors`).
    package struct Vectors: Codable, Sendable, Equatable {
        /// M: of the vectors table.
        package var width: Int
        /// Of the mixer's input.
        package var output: Int
        /// The key into the vectors table.
        package var attribute: String
        package var missing: Missing
        /// One mask of `output` units for the whole update.
        package var dropout: Bool

        /// What the mixer gets for a word without a vector.
        package enum Missing: String, Codable, Sendable {
            case zero
            /// The table's last row (StaticVectors.v1).
            case last
        }
    }

    /// Maxout and LayerNorm over the inputs side by side.
    package struct Mixer: Codable, Sendable, Equatable {
        package var pieces: Int
        package var dropout: Masks

        /// What a mask of W units is drawn for.
        package enum Masks: String, Codable, Sendable {
            /// Every token (spaCy 3).
            case token
            /// Every unique word (spaCy 2 computes words once).
            case word
            case none
        }
    }

    /// Convolutions with residual connections.
    package struct Encoder: Codable, Sendable, Equatable {
        package var padding: Padding
        package var convolutions: [Convolution]
    }

    /// Rows on each side of a document.
    package struct Padding: Sendable, Equatable {
        package enum Kind: String, Codable, Sendable {
            /// Zero vectors inserted after the mixer, which pass through the convolutions like words (spaCy 3).
            case zeroVectors
            /// Words whose features are all 0, with vector row 0 (spaCy 2).
            case embeddedZeros
            /// None: at every level there are zeros outside a document (Mish).
            case none
        }

        package var kind: Kind
        package var rows: Int

        package init(kind: Kind, rows: Int = 0) {
            (self.kind, self.rows) = (kind, rows)
        }
    }

    /// x + dropout(LayerNorm(activation(window of 2 w + 1 rows))).
    package struct Convolution: Codable, Sendable, Equatable {
        package enum Activation: String, Codable, Sendable {
            case maxout, mish
        }

        package var activation: Activation
        /// Of Maxout; nil for Mish.
        package var pieces: Int?
        /// w; only 1 is implemented.
        package var window: Int
        package var dropout: Bool

        package init(activation: Activation, pieces: Int? = nil, window: Int = 1, dropout: Bool) {
            (self.activation, self.pieces, self.window, self.dropout) = (activation, pieces, window, dropout)
        }

        /// Linear maps of one output: Maxout's pieces, or one.
        package var maps: Int { pieces ?? 1 }
    }

    package enum Objective: Sendable, Equatable {
        case characters(CharactersObjective)
        case vectors(VectorsObjective)
    }

    /// Predict the bytes of the original word.
    package struct CharactersObjective: Codable, Sendable, Equatable {
        package enum Loss: String, Codable, Sendable {
            /// Linear regression onto one-hot bytes, as spaCy 3 trains (thinc throws the softmax away).
            case linear
            /// Softmax over the 256 values of each byte; gradient p - y.
            case softmax
        }

        /// Bytes of a word (`n_characters`); outputs are 256 times as many.
        package var bytes: Int
        package var hidden: Int
        package var pieces: Int
        package var headDropout: Bool
        package var loss: Loss

        enum CodingKeys: String, CodingKey {
            case bytes, hidden, pieces, loss
            case headDropout = "head_dropout"
        }
    }

    /// Predict the vector of the original word.
    package struct VectorsObjective: Codable, Sendable, Equatable {
        package var loss: LossFunction
        /// M: of the vectors table.
        package var width: Int
        package var hidden: Int
        package var pieces: Int
        package var headDropout: Bool
        package var missing: Missing

        /// The target of a selected word without a vector.
        package enum Missing: String, Codable, Sendable {
            /// The zero vector: it gives no gradient with cosine, and counts with L2 (spaCy 3).
            case zero
            /// It is not selected.
            case skip
            case row0, last
        }

        enum CodingKeys: String, CodingKey {
            case loss, width, hidden, pieces, missing
            case headDropout = "head_dropout"
        }
    }

    package enum Initialization: String, Codable, Sendable {
        /// thinc 7's, drawn by t2v.
        case formulas
        /// The job's template and head.
        case file
    }

    package enum WeightsFile: String, Codable, Sendable {
        /// spaCy 2's `modelN.bin`.
        case thinc7
        /// The job's template, filled in.
        case template
    }
}

/// Adam and what surrounds it.
package struct OptimizerSpec: Codable, Sendable, Equatable {
    package enum Kind: String, Codable, Sendable {
        case adam
    }

    /// The factor of an update's summed gradient.
    package enum GradientScale: String, Codable, Sendable {
        /// 1 (spaCy 2).
        case sum
        /// 1 / all tokens of the update, selected or not (spaCy 3).
        case words
    }

    /// The unit of clipping, and of decay in the gradient.
    package enum Block: String, Codable, Sendable {
        /// Each tensor (thinc 8).
        case parameter
        /// W and b, G and b together (thinc 7).
        case layer
    }

    /// One number, or values for the first updates and one for all later ones.
    package enum LearnRate: Sendable, Equatable {
        case constant(Double)
        case planned(values: [Double], rest: Double)

        /// The same plan with every rate times `factor`.
        package func times(_ factor: Double) -> LearnRate {
            switch self {
            case .constant(let rate): .constant(rate * factor)
            case .planned(let values, let rest): .planned(values: values.map { $0 * factor }, rest: rest * factor)
            }
        }

        /// Of update `number`, counted from 0.
        package func rate(update number: UInt64) -> Double {
            switch self {
            case .constant(let rate): rate
            case .planned(let values, let rest): number < UInt64(values.count) ? values[Int(number)] : rest
            }
        }
    }

    package var kind = Kind.adam
    package var learnRate: LearnRate
    package var beta1: Double
    package var beta2: Double
    package var epsilon: Double
    /// 0 switches clipping off.
    package var gradClip: Double
    package var l2: Double
    /// Decoupled: w -= rate * l2 * w after the step; else in the gradient.
    package var l2IsWeightDecay: Bool
    /// Saved files hold running averages; else the parameters.
    package var averages: Bool
    package var gradientScale: GradientScale
    package var block: Block

    enum CodingKeys: String, CodingKey {
        case kind, beta1, beta2, epsilon, l2, averages, block
        case learnRate = "learn_rate"
        case gradClip = "grad_clip"
        case l2IsWeightDecay = "l2_is_weight_decay"
        case gradientScale = "gradient_scale"
    }
}
