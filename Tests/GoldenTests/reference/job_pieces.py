"""Turns a job on the fast path into one whose texts the real spaCy has tokenized: JOB with texts.pieces, otherwise the same.

    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/job_pieces.py FAST_JOB JOB
"""
import json
import shutil
import struct
import sys
from pathlib import Path

import numpy
import spacy
from spacy.attrs import IDS


def padded(data):
    return data + bytes(-len(data) % 8)


def piece(nlp, first, texts, columns):
    docs = [nlp.make_doc(text) for text in texts]
    known, tokens = {}, []
    for doc in docs:
        ids = doc.to_array([IDS[name] for name in columns]).reshape(len(doc), len(columns))
        for token, row in zip(doc, ids):
            word = known.setdefault((token.text, *(int(i) for i in row)), len(known))
            tokens.append(word | (1 << 31 if token.whitespace_ else 0))
    encoded = [word[0].encode("utf8") for word in known]
    arrays = [
        numpy.array([len(doc) for doc in docs], dtype="<u4").tobytes(),
        *(numpy.array([word[1 + c] for word in known], dtype="<u8").tobytes() for c in range(len(columns))),
        numpy.cumsum([0] + [len(text) for text in encoded]).astype("<u4").tobytes(),
        b"".join(encoded),
        numpy.array(tokens, dtype="<u4").tobytes(),
    ]
    body = b"".join(padded(array) for array in arrays)
    sizes = (64 + len(body), len(docs), len(tokens), len(known), len(columns), first, sum(len(text) for text in encoded))
    return struct.pack("<8s7Q", b"T2VPIEC1", *sizes) + body


def main(fast, target):
    shutil.copytree(fast, target)
    job = json.loads((target / "job.json").read_text(encoding="utf8"))
    nlp = spacy.blank(job["language"]).from_disk(fast / "nlp", exclude=["vectors"])
    columns = job["text"]["columns"]
    texts = [json.loads(line)["text"] for path in job["text"]["sources"] for line in open(path, encoding="utf8") if line.strip()]
    with open(target / "texts.pieces", "wb") as out:
        for start in range(0, len(texts), 100):
            out.write(piece(nlp, start, texts[start : start + 100], columns))
    ids = [int(spacy.tokens.Doc(nlp.vocab, words=["[MASK]"]).to_array([IDS[name]])[0]) for name in columns]
    job["text"].update({"path": "pieces", "mask": {"text": "[MASK]", "ids": ids}, "sources": [str(target / "texts.pieces")]})
    (target / "job.json").write_text(json.dumps(job), encoding="utf8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
