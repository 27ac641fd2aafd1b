"""Makes small weights files with the real spaCy for the tests: export-<version>-<kind>.bin, and beside each the same tensors by name.

Run with the Python of a venv that has spaCy 2.3.9 or 2.1.9 (and, for the tensors by name, the package safetensors):
    .venvs/spacy-2.3.9/bin/python Tests/GoldenTests/reference/export_files.py Tests/GoldenTests/data
"""
import sys
from pathlib import Path

import numpy
import spacy
from spacy._ml import Tok2Vec
from spacy.cli.pretrain import create_pretraining_model
from spacy.vectors import Vectors

from export_names import named_parameters, seeds

KINDS = {
    "plain": dict(width=16, rows=50, depth=2, pieces=3, vectors=False),
    "vectors": dict(width=16, rows=31, depth=1, pieces=2, vectors=True),
}
VECTOR_WIDTH = 12


def make(width, rows, depth, pieces, vectors):
    """A tok2vec inside spaCy's own pretraining model, with values of both signs in every tensor."""
    nlp = spacy.blank("en")
    data = numpy.random.RandomState(1).uniform(-1, 1, (4, VECTOR_WIDTH)).astype("f")
    nlp.vocab.vectors = Vectors(data=data, keys=["the", "film", "was", "good"], name="export_test")
    nlp.vocab.vectors.name = "export_test"
    from spacy._ml import link_vectors_to_models

    link_vectors_to_models(nlp.vocab)
    tok2vec = Tok2Vec(
        width, rows, conv_depth=depth, pretrained_vectors="export_test" if vectors else None, bilstm_depth=0, cnn_maxout_pieces=pieces
    )
    model = create_pretraining_model(nlp, tok2vec)
    random = numpy.random.RandomState(2)
    for _, array in named_parameters(model.tok2vec):
        array[...] = random.normal(size=array.shape)
    return model.tok2vec


def main(folder):
    for kind, settings in KINDS.items():
        tok2vec = make(**settings)
        stem = folder / ("export-%s-%s" % (spacy.__version__, kind))
        stem.with_name(stem.name + ".bin").write_bytes(tok2vec.to_bytes())
        print(stem.name, "%d tensors, seeds %s" % (len(named_parameters(tok2vec)), seeds(tok2vec)))
        try:
            from safetensors.numpy import save_file
        except ImportError:
            print("the package safetensors is missing: the tensors by name are left out")
            continue
        metadata = {name + ".seed": str(seed) for name, seed in seeds(tok2vec).items()}
        save_file({n: numpy.ascontiguousarray(a) for n, a in named_parameters(tok2vec)}, str(stem) + ".safetensors", metadata=metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
