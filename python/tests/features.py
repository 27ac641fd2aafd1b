"""A stand-in for `t2v-coordinator features --job JOB TEXTS`: prints what spaCy sees, with an error if T2V_WRONG names one."""

import json
import os
import sys
from pathlib import Path

import spacy
from spacy.attrs import IDS

job = json.loads((Path(sys.argv[3]) / "job.json").read_text())
wrong = os.environ.get("T2V_WRONG", "")
nlp = spacy.blank(job["language"])
vectors = job["vectors"]
key2row = {}
if vectors:
    import srsly

    key2row = srsly.read_msgpack(vectors["key2row"])
lines = Path(sys.argv[4]).read_text().rstrip("\n").split("\n")
for number, line in enumerate(lines, 1):
    doc = nlp.make_doc(line if job["text"]["format"] == "lines" else json.loads(line)["text"])
    seen = {
        "tokens": [token.text for token in doc],
        "spaces": [int(bool(token.whitespace_)) for token in doc],
        "ids": {name: doc.to_array(IDS[name]).tolist() for name in job["text"]["columns"]},
    }
    if vectors:
        seen["rows"] = [[key2row[token.orth]] if token.orth in key2row else [] for token in doc]
    if wrong == "tokens":
        seen["tokens"][-1] = seen["tokens"][-1] + "x"
    if wrong == "spaces":
        seen["spaces"][0] ^= 1
    if wrong == "NORM":
        seen["ids"]["NORM"][1] += 1
    if wrong == "rows":
        seen["rows"][0] = [2**20]
    if wrong != "missing" or number < len(lines):
        print(json.dumps(seen, ensure_ascii=False))
sys.exit(3 if wrong == "status" else 0)
