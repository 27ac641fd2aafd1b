"""Makes small tok2vec files with the real spaCy 3 for the tests: template-<kind>.bin, and beside each what spaCy says about its parameters.

    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/template_files.py Tests/GoldenTests/data
    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/template_files.py --load KIND FILE

The second form loads FILE into the model of that kind and prints the same description of what was loaded, or fails as spaCy does.
"""
import hashlib
import json
import sys
from pathlib import Path

import numpy
import spacy
from spacy.tokens import Doc
from spacy.vectors import Vectors

CONVOLUTIONS = {"@architectures": "spacy.MaxoutWindowEncoder.v2", "width": 8, "depth": 2, "window_size": 1, "maxout_pieces": 3}
KINDS = {
    "multi": {
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2", "width": 8, "attrs": ["NORM", "SHAPE", "SPACY"], "rows": [30, 20, 10],
            "include_static_vectors": False,
        },
        "encode": CONVOLUTIONS,
    },
    "vectors": {
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2", "width": 8, "attrs": ["ORTH"], "rows": [25], "include_static_vectors": True,
        },
        "encode": {**CONVOLUTIONS, "depth": 1, "maxout_pieces": 2},
    },
    "characters": {
        "embed": {"@architectures": "spacy.CharacterEmbed.v2", "width": 8, "rows": 15, "nM": 4, "nC": 3, "include_static_vectors": False},
        "encode": {"@architectures": "spacy.MishWindowEncoder.v2", "width": 8, "depth": 2, "window_size": 1},
    },
}


def make(kind, seed):
    """An initialized tok2vec whose parameters are all drawn from `seed`."""
    nlp = spacy.blank("en")
    if kind == "vectors":
        data = numpy.random.RandomState(1).uniform(-1, 1, (4, 5)).astype("f")
        nlp.vocab.vectors = Vectors(data=data, keys=["the", "film", "was", "good"])
    model = nlp.add_pipe("tok2vec", config={"model": {"@architectures": "spacy.Tok2Vec.v2", **KINDS[kind]}}).model
    model.initialize([Doc(nlp.vocab, words=["a", "film"])])
    random = numpy.random.RandomState(seed)
    for node in model.walk():
        for name in node.param_names:
            node.set_param(name, random.normal(size=node.get_param(name).shape).astype("f"))
    return model


def described(model):
    """One entry per parameter: node number, name, shape, SHA-256 of the little-endian values, first value."""
    found = []
    for index, node in enumerate(model.walk()):
        for name in sorted(node.param_names):
            value = numpy.ascontiguousarray(node.get_param(name), dtype="<f4")
            digest = hashlib.sha256(value.tobytes()).hexdigest()
            found.append({"node": index, "layer": node.name, "parameter": name, "shape": list(value.shape), "digest": digest})
    return found


def main(arguments):
    if arguments[0] == "--load":
        model = make(arguments[1], seed=9)
        model.from_bytes(Path(arguments[2]).read_bytes())
        print(json.dumps(described(model)))
        return
    for kind in KINDS:
        model = make(kind, seed=2)
        stem = Path(arguments[0]) / ("template-" + kind)
        stem.with_suffix(".bin").write_bytes(model.to_bytes())
        stem.with_suffix(".json").write_text(json.dumps(described(model), indent=1) + "\n", encoding="utf8")
        print(stem, stem.with_suffix(".bin").stat().st_size, "bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
