// How the real spaCy loads weights. In: the settings that a tok2vec was made with. Out: `spacy train` commands and warnings.

/// What to type so that `spacy train` of 2.1 or 2.3 loads a tok2vec, found by running 2.1.9 and 2.3.9 (as
/// Tests/GoldenTests/reference/train_check.py does). Their defaults are width 96 and depth 4; both take pieces and rows from the file.
struct TrainCommands {
    let shape: Tok2VecShape
    /// The weights file, as written in the commands.
    let file: String

    private var isDefaultWidth: Bool { shape.width == 96 }
    private var isDefaultDepth: Bool { shape.depth == 4 }

    /// A command on one line. `environment`: settings that spaCy reads from nowhere else.
    private func command(_ components: String, environment: [String] = [], options: [String] = []) -> String {
        let vectors = shape.useVectors ? ["-v", Inspection.vectorsPlaceholder] : []
        let arguments = ["-t2v", Inspection.quoted(file), "-p", components] + options + vectors
        return (environment + ["python -m spacy train en trained train.json dev.json"] + arguments).joined(separator: " ")
    }

    /// For spaCy 2.3.
    var for23: [String] {
        let options = (isDefaultWidth ? [] : ["-cw", "\(shape.width)"]) + (isDefaultDepth ? [] : ["-cd", "\(shape.depth)"])
        guard isDefaultDepth else { return [command("parser,ner", options: options)] }
        return [
            command("tagger,parser,ner", options: options),
            command("textcat", environment: isDefaultWidth ? [] : [width], options: ["-ta", "simple_cnn"]),
        ]
    }

    /// For spaCy 2.1, whose `train` has no options for width and depth.
    var for21: [String] {
        let environment = (isDefaultWidth ? [] : [width]) + (isDefaultDepth ? [] : [depth])
        return [command(isDefaultDepth ? "tagger,parser,ner" : "parser,ner", environment: environment)]
    }

    private var width: String { "SPACY_TOKEN_VECTOR_WIDTH=\(shape.width)" }
    private var depth: String { "SPACY_CONV_DEPTH=\(shape.depth)" }

    var warningsFor23: [String] {
        var warnings: [String] = []
        if isDefaultDepth {
            warnings.append(
                "textcat takes the weights only with -ta simple_cnn; with bow, its default, spaCy says \"Loaded ... []\" and ignores them"
            )
        } else {
            warnings.append(
                "tagger and textcat cannot have another depth than 4: spaCy fails, \"'HashEmbed' object has no attribute 'G'\" or the like"
            )
        }
        if !isDefaultWidth {
            if isDefaultDepth { warnings.append("textcat needs \(width) in the environment whenever the trained model is loaded, too") }
            warnings.append(
                "without these settings spaCy fails with \"could not broadcast input array from shape (\(shape.width),) into shape (96,)\"")
        }
        return warnings
    }

    var warningsFor21: [String] {
        var warnings = ["textcat cannot take the weights (spaCy says E143)"]
        if shape.useVectors { warnings.append("\(Inspection.vectorsPlaceholder) must be a folder of spaCy 2.1 that has the same vectors") }
        if !isDefaultDepth {
            warnings.append("the tagger cannot have another depth than 4")
            warnings.append("set \(depth) whenever the trained model is loaded, too (else E149)")
        }
        if !isDefaultWidth, isDefaultDepth {
            warnings.append("the tagger needs \(width) whenever the trained model is loaded, too")
        }
        return warnings
    }

    /// Warnings for both versions.
    var warnings: [String] {
        if let width = shape.vectorWidth {
            return [
                "\(Inspection.vectorsPlaceholder) is the model that the weights were pretrained with (vectors of width \(width)); "
                    + "without -v spaCy reports success and fails at the first update"
            ]
        }
        return ["give no -v: with it spaCy builds another network and fails (\"'FunctionLayer' object has no attribute 'vectors'\")"]
    }
}
