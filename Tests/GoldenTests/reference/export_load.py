"""Loads a weights file that t2v wrote into the real spaCy 2.x and says whether spaCy has the same tensors and writes the same file.

    python export_load.py FILE.bin WIDTH ROWS DEPTH PIECES VECTOR_WIDTH(0: none) [TENSORS.safetensors]
Prints one line "ok: ..." and ends with 0, or says what differs and ends with 1.
"""
import sys
from pathlib import Path

import numpy
import spacy
from spacy._ml import Tok2Vec, link_vectors_to_models
from spacy.cli.pretrain import create_pretraining_model
from spacy.vectors import Vectors
from srsly.msgpack._unpacker import unpackb

from export_names import named_parameters, seeds


def build(width, rows, depth, pieces, vector_width):
    nlp = spacy.blank("en")
    data = numpy.zeros((4, vector_width or 8), dtype="f")
    nlp.vocab.vectors = Vectors(data=data, keys=["the", "film", "was", "good"], name="export_test")
    nlp.vocab.vectors.name = "export_test"
    link_vectors_to_models(nlp.vocab)
    vectors = "export_test" if vector_width else None
    tok2vec = Tok2Vec(width, rows, conv_depth=depth, pretrained_vectors=vectors, bilstm_depth=0, cnn_maxout_pieces=pieces)
    return create_pretraining_model(nlp, tok2vec).tok2vec


def structure(item):
    """A msgpack item without the model's numbers: only types, keys and sizes."""
    if isinstance(item, dict):
        return {key: structure(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [structure(value) for value in item]
    if isinstance(item, bytes) and len(item) > 16:
        return "%d bytes" % len(item)
    return item


def main(path, settings, tensors):
    ours = Path(path).read_bytes()
    model = build(*settings)
    spacys = model.to_bytes()
    model.from_bytes(ours)
    wrong = []
    # spaCy's own file, made before t2v's was loaded, has the same entries; seeds may differ by version.
    theirs_entries, our_entries = unpackb(spacys, raw=False)[b"weights"], unpackb(ours, raw=False)[b"weights"]
    if len(theirs_entries) != len(our_entries):
        wrong.append("%d entries, spaCy has %d" % (len(our_entries), len(theirs_entries)))
    for index, (theirs, our) in enumerate(zip(theirs_entries, our_entries)):
        theirs, our = structure(theirs), structure(our)
        if (b"seed" in theirs) != (b"seed" in our):
            wrong.append("entry %d: a seed on one side" % index)
        theirs.pop(b"seed", None), our.pop(b"seed", None)
        if theirs != our or list(theirs) != list(our):
            wrong.append("entry %d: %s, spaCy has %s" % (index, our, theirs))
    if model.to_bytes() != ours:
        wrong.append("spaCy writes other bytes after loading the file")
    if tensors:
        from safetensors import safe_open

        with safe_open(tensors, framework="numpy") as file:
            named = dict(named_parameters(model))
            if set(file.keys()) != set(named):
                wrong.append("names differ: %s" % sorted(set(file.keys()) ^ set(named)))
            for name in file.keys():
                if name in named and not numpy.array_equal(file.get_tensor(name), named[name]):
                    wrong.append("%s differs" % name)
            for name, seed in seeds(model).items():
                if file.metadata().get(name + ".seed") != str(seed):
                    wrong.append("seed of %s: spaCy has %s" % (name, seed))
    for line in wrong:
        print(line)
    if not wrong:
        print("ok: spaCy %s, %d entries, %d bytes" % (spacy.__version__, len(our_entries), len(ours)))
    return 1 if wrong else 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:7]]
    sys.exit(main(sys.argv[1], numbers, sys.argv[7] if len(sys.argv) > 7 else None))
