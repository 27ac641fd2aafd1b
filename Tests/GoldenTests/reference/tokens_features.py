"""Prints what the real spaCy sees of each record: the lines of `t2v-coordinator features`, a tab, and checksums of the attribute ids.

    .venvs/spacy-2.3.9/bin/python Tests/GoldenTests/reference/tokens_features.py MODEL TEXTS.jsonl OUTPUT [first line] [end]

Works with spaCy 2.1.9, 2.3.9 and 3.8. A checksum is the sum of id * (token number, from 1), modulo 2^64, over a document, for ORTH, NORM, PREFIX,
SUFFIX, SHAPE; 3.x numbers symbols differently from the 2.x that will load t2v's weights, so its lines have none.
"""

import itertools
import json
import sys

import numpy
import spacy
from spacy.attrs import NORM, ORTH, PREFIX, SHAPE, SUFFIX
from spacy.tokens import Doc

IS_2 = spacy.__version__.startswith("2")


def load(path):
    return spacy.load(path)


def features(nlp, record):
    if "tokens" in record:
        doc = Doc(nlp.vocab, words=record["tokens"])
    else:
        doc = nlp.tokenizer(record["text"])
    ids = doc.to_array([ORTH, NORM, PREFIX, SUFFIX, SHAPE]).astype("uint64").reshape(-1, 5)
    strings = nlp.vocab.strings
    key2row = nlp.vocab.vectors.key2row
    names = ("tokens", "norm", "prefix", "suffix", "shape")
    line = {name: [strings[int(i)] for i in ids[:, column]] for column, name in enumerate(names)}
    line["row"] = [int(key2row.get(int(i), -1)) for i in ids[:, 0]]
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    if not IS_2:
        return text + "\t-"
    weights = numpy.arange(1, len(ids) + 1, dtype="uint64")[:, None]
    sums = (ids * weights).sum(axis=0, dtype="uint64")
    return text + "\t" + " ".join("%x" % int(s) for s in sums)


def main():
    model, source, target = sys.argv[1:4]
    first, end = (int(a) for a in (sys.argv[4:6] or (0, 1 << 60)))
    nlp = load(model)
    with open(source, encoding="utf8") as lines, open(target, "w", encoding="utf8", newline="\n") as out:
        for line in itertools.islice(lines, first, end):
            if line.strip():
                out.write(features(nlp, json.loads(line)) + "\n")


if __name__ == "__main__":
    main()
