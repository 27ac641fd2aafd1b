"""Makes a job folder that asks for every attribute, and prints what the real spaCy 3 sees in texts, as `t2v-coordinator features --job` does.

    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/job_columns.py KIND JOB TEXTS.jsonl OUTPUT ATTRIBUTE...

KIND is a language ("en": its blank pipeline), with "+lookups" (the table lexeme_norm of spacy-lookups-data), "+vectors" (a table keyed by
ORTH) or "+floret" after it. The job folder holds job.json, nlp and the vectors: enough for `features`, not for training. The output comes
from a fresh pipeline that has read the job's nlp.
"""
import json
import sys
from pathlib import Path

import numpy
import spacy
from spacy.attrs import IDS
from spacy.tokens import Doc
from spacy.vectors import Vectors

WIDTH = 4


def make(kind, words):
    """A pipeline, and the "vectors" of its job without paths; None if it has none."""
    language, *extras = kind.split("+")
    nlp = spacy.blank(language)
    random = numpy.random.RandomState(1)
    described = None
    if "lookups" in extras:
        from spacy.lookups import load_lookups

        nlp.vocab.lookups = load_lookups(language, ["lexeme_norm"])
        nlp.vocab.lookups.get_table("lexeme_norm")
    if "vectors" in extras:
        some = words[::3]
        keys = [nlp.vocab.strings.add(word) for word in some]
        nlp.vocab.vectors = Vectors(data=random.normal(size=(len(some), WIDTH)).astype("f"), keys=keys, strings=nlp.vocab.strings)
        described = {"mode": "default", "rows": len(some), "attribute": "ORTH"}
    if "floret" in extras:
        settings = {"minn": 2, "maxn": 4, "hash_count": 2, "hash_seed": 2166136261, "bow": "<", "eow": ">"}
        data = random.normal(size=(500, WIDTH)).astype("f")
        nlp.vocab.vectors = Vectors(data=data, mode="floret", strings=nlp.vocab.strings, attr="LOWER", **settings)
        described = {"mode": "floret", "rows": 500, "attribute": "LOWER", **settings}
    return nlp, described


def write_job(job, language, attributes, vectors):
    inputs = [{"kind": "table", "attribute": a, "rows": 10, "seed": 8 + i, "width": 8, "dropout": True} for i, a in enumerate(attributes)]
    if vectors:
        vectors = {"file": "vectors/vectors", "key2row": "vectors/key2row", "width": WIDTH, **vectors}
        inputs.append(
            {"kind": "vectors", "width": WIDTH, "output": 8, "attribute": vectors["attribute"], "missing": "zero", "dropout": True}
        )
    optimizer = {
        "kind": "adam", "learn_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "grad_clip": 1.0, "l2": 0.01,
        "l2_is_weight_decay": True, "averages": True, "gradient_scale": "words", "block": "parameter",
    }
    convolution = {"activation": "maxout", "pieces": 3, "window": 1, "dropout": True}
    contents = {
        "format": 1, "versions": {"spacy": spacy.__version__}, "language": language, "component": "tok2vec", "layer": "",
        "model": {
            "width": 8, "dropout": 0.2, "inputs": inputs, "mixer": {"pieces": 3, "dropout": "token"},
            "encoder": {"padding": {"kind": "zeroVectors", "rows": 1}, "convolutions": [convolution]},
            "objective": {"kind": "characters", "bytes": 4, "hidden": 8, "pieces": 3, "head_dropout": False, "loss": "linear"},
            "mask_probability": 0.15, "optimizer": optimizer, "layer_norm_epsilon": 1e-8, "initialization": "file", "weights_file": "template",
        },
        "training": {
            "seed": 0, "max_epochs": 1, "n_save_every": None, "n_save_epoch": None, "skip_last": False, "words_per_update": 3000,
            "min_length": 0, "max_length": 0, "limit": 0, "shuffle": True, "lanes": None, "held_out": 0.0, "evaluate_every": None,
            "patience": 0, "keep_models": None, "precision": "float32",
        },
        "text": {"path": "fast", "why": "a test", "format": "jsonl", "columns": ["ORTH"] + attributes, "symbols": "spacy38", "sources": []},
        "vectors": vectors, "template": {"file": "tok2vec.bin", "parameters": []},
    }
    (job / "job.json").write_text(json.dumps(contents, indent=1), encoding="utf8")


def document(nlp, record):
    return Doc(nlp.vocab, words=record["tokens"]) if "tokens" in record else nlp.make_doc(record.get("text") or "")


def line(doc, attributes, vectors):
    found = {"tokens": [t.text for t in doc], "spaces": [1 if t.whitespace_ else 0 for t in doc], "ids": {}}
    for name in ["ORTH"] + attributes:
        found["ids"][name] = [int(i) for i in doc.to_array([IDS[name]]).reshape(-1)]
    if vectors and vectors["mode"] == "default":
        rows = doc.vocab.vectors.find(keys=doc.to_array(["ORTH"]).reshape(-1))
        found["rows"] = [[int(row)] if row >= 0 else [] for row in rows]
    elif vectors:
        table = doc.vocab.vectors
        found["rows"] = [
            [int(h) % vectors["rows"] for gram in table._get_ngrams(t.lower_) for h in table._get_ngram_hashes(gram)] for t in doc
        ]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def main(kind, job, texts, output, *attributes):
    job, attributes = Path(job), list(attributes)
    with open(texts, encoding="utf8") as lines:
        records = [json.loads(text) for text in lines if text.strip()]
    blank = spacy.blank(kind.split("+")[0])
    words = sorted({t.text for record in records for t in document(blank, record)})
    nlp, vectors = make(kind, words)
    nlp.to_disk(job / "nlp", exclude=["vectors"])
    if vectors:
        nlp.vocab.vectors.to_disk(job / "vectors")
    write_job(job, nlp.lang, attributes, vectors)
    fresh = spacy.blank(nlp.lang).from_disk(job / "nlp", exclude=["vectors"])
    fresh.vocab.vectors = nlp.vocab.vectors
    with open(output, "w", encoding="utf8", newline="\n") as out:
        for record in records:
            doc = document(fresh, record)
            if len(doc):
                out.write(line(doc, attributes, vectors) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
