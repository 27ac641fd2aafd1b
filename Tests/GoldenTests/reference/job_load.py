"""Loads every weights file of a finished job run into the real spaCy, the way `spacy train` does, and checks the log.

    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/job_load.py OUT

Prints "ok: N files"; fails as spaCy fails. OUT/config.cfg must be the config of the run, with component "tok2vec" and layer "".
"""
import json
import sys
from pathlib import Path

import numpy
from spacy.training import Example
from spacy.training.initialize import init_tok2vec
from spacy.util import load_config, load_model_from_config, registry


def main(out):
    files = sorted(out.glob("model*.bin"))
    assert files, "no weights"
    for path in files:
        config = load_config(out / "config.cfg", overrides={"initialize.init_tok2vec": str(path)}, interpolate=True)
        nlp = load_model_from_config(config, auto_fill=True)
        doc = nlp.make_doc("A film that was not good.")
        nlp.initialize(lambda: [Example(doc, doc)])
        sections = [registry.resolve({part: config[part]}, validate=False)[part] for part in ("pretraining", "initialize")]
        assert init_tok2vec(nlp, *sections), path
        tok2vec = nlp.get_pipe("tok2vec")
        assert tok2vec.model.to_bytes() == path.read_bytes(), path
        assert numpy.isfinite(tok2vec.predict([doc])[0]).all(), path
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    for line in lines:
        assert list(line)[:4] == ["nr_word", "loss", "epoch_loss", "epoch"], line
    print("ok: %d files, %d lines" % (len(files), len(lines)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
