"""Names of the parameters of spaCy 2's tok2vec, found by walking its layers in the order of the data, not in the order of its file.

In: a model made by spacy._ml.Tok2Vec or taken from a trained component. Out: (name, array) pairs; the arrays are the model's own.
"""


def walk(layer):
    """The layer and everything below it, depth first: the order of the data."""
    yield layer
    for child in getattr(layer, "_layers", []):
        yield from walk(child)


def named_parameters(tok2vec):
    """Pairs of t2v's name and spaCy's array, of a model without head."""
    found = []
    norms = maxouts = 0
    for layer in walk(tok2vec):
        kind = type(layer).__name__
        if kind == "HashEmbed":
            found.append((layer.name.replace("embed_", "embed.") + ".E", layer.vectors))
        elif kind == "StaticVectors":
            found.append(("embed.vectors.W", layer.W))
        elif kind == "LayerNorm":
            # The mixer's comes first, then one for each convolution.
            name = "mixer.norm" if norms == 0 else "encode.%d.norm" % (norms - 1)
            found += [(name + ".G", layer.G), (name + ".b", layer.b)]
            norms += 1
        elif kind == "Maxout":
            name = "mixer" if maxouts == 0 else "encode.%d" % (maxouts - 1)
            found += [(name + ".W", layer.W), (name + ".b", layer.b)]
            maxouts += 1
    return found


def seeds(tok2vec):
    """Seed of each table by its name."""
    return {l.name.replace("embed_", "embed."): l.seed for l in walk(tok2vec) if type(l).__name__ == "HashEmbed"}
