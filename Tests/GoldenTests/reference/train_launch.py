"""Runs `python -m spacy ARGUMENTS` as it is, and prints an additional line for every component that `-t2v` fills:

    t2v-probe NAME changed=True equal=True      its tok2vec before and after, and after against the file, byte for byte

In: the arguments of spacy. Out: spaCy's own output with those lines. Used by train_check.py.
"""
import runpy
import sys

import spacy.cli  # noqa: F401  (puts the module below in sys.modules)

module = sys.modules["spacy.cli.train"]
load = module._load_pretrained_tok2vec


def probed(nlp, path, *rest):
    # A component's own tok2vec ends in `flatten`, as the file does; the tagger's model.tok2vec does not.
    parts = {n: c for n, c in nlp.pipeline if hasattr(c, "model") and hasattr(c.model, "tok2vec")}
    before = {name: part.tok2vec.to_bytes() for name, part in parts.items()}
    loaded = load(nlp, path, *rest)
    file = path.read_bytes()
    for name in loaded:
        after = parts[name].tok2vec.to_bytes()
        print("t2v-probe %s changed=%s equal=%s" % (name, after != before[name], after == file), flush=True)
    return loaded


module._load_pretrained_tok2vec = probed
runpy.run_module("spacy", run_name="__main__", alter_sys=True)
