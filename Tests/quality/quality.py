"""How much do tok2vec weights tell about a hidden word? Loads weights into the real spaCy 2.3.9 and fits a ridge regression.

    .venvs/spacy-2.3.9/bin/python Tests/quality/quality.py VECTORS_MODEL TEXTS.jsonl LABEL=modelN.bin ...
        [--documents 500] [--seed 0] [--lexeme-norms] [--spacy-baseline FOLDER --train-documents 9000 --epochs 3]

Of the last --documents texts, 15% of the words that have a vector are hidden as "[MASK]". From the tok2vec's output at those places a ridge
regression predicts the words' vectors: the first half of the documents is for fitting (a fifth of it for choosing the penalty), the second
half gives the mean cosine between prediction and truth. Random weights are scored as well, as the floor. All models see the same hidden
words.

The other tokens have the NORM that the tokenizer gives them, as in `spacy train`; --lexeme-norms gives them the NORM of their lexeme, as in
`spacy pretrain`. --spacy-baseline runs `spacy pretrain -bs 12` on the first --train-documents texts (slow), keeps its output in FOLDER, and
scores it too; a complete FOLDER is reused.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy
import spacy
from probe import cosine, score
from spacy._ml import Tok2Vec, flatten
from spacy.tokens import Doc
from srsly.msgpack._unpacker import unpackb
from thinc.api import chain

HIDDEN = 0.15


def hide(nlp, texts, seed, lexeme_norms):
    """Documents with hidden words, and for each the positions hidden and the vectors' rows."""
    random = numpy.random.RandomState(seed)
    mask = nlp.vocab.strings.add("[MASK]")
    assert mask
    for text in texts:
        whole = nlp.make_doc(text)
        rows = [nlp.vocab.vectors.key2row.get(token.orth, -1) for token in whole]
        chosen = [i for i, row in enumerate(rows) if row >= 0 and not whole[i].is_space and random.uniform() < HIDDEN]
        hidden = set(chosen)
        words = ["[MASK]" if i in hidden else token.text for i, token in enumerate(whole)]
        doc = Doc(nlp.vocab, words=words, spaces=[bool(token.whitespace_) for token in whole])
        if not lexeme_norms:
            for i, token in enumerate(whole):
                if i not in hidden and doc[i].norm != token.norm:
                    doc[i].norm_ = token.norm_
        if chosen:
            yield doc, chosen, [rows[i] for i in chosen]


def settings(data):
    """Width, rows, depth, pieces and vectors or not, of a weights file, from its entries."""
    entries = unpackb(data, raw=False)[b"weights"]
    tables = [e[b"dims"] for e in entries if "nV" in e[b"dims"]]
    windows = [e for e in entries if "nW" in e[b"dims"]]
    maxouts = [e[b"dims"] for e in entries if "nP" in e[b"dims"]]
    return dict(
        width=tables[0]["nO"],
        embed_size=max(t["nV"] for t in tables),
        conv_depth=len(windows),
        cnn_maxout_pieces=maxouts[-1]["nP"],
        vectors=any("nM" in e[b"dims"] for e in entries),
    )


def build(nlp, width=96, embed_size=2000, vectors=False, **rest):
    name = nlp.vocab.vectors.name if vectors else None
    return chain(Tok2Vec(width, embed_size, pretrained_vectors=name, bilstm_depth=0, **rest), flatten)


def outputs(model, hidden):
    """The tok2vec's output at every hidden word, one row each."""
    found = []
    for start in range(0, len(hidden), 16):
        batch = hidden[start : start + 16]
        flat = model([doc for doc, _, _ in batch])
        offset = 0
        for doc, chosen, _ in batch:
            found.append(flat[offset + numpy.array(chosen)])
            offset += len(doc)
    return numpy.vstack(found).astype("f8")


def baseline(folder, vectors, texts, documents, epochs):
    """The last file of `spacy pretrain -bs 12`, made if it does not exist yet."""
    last = folder / ("model%d.bin" % (epochs - 1))
    if not (folder / "log.jsonl").exists() or not last.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder.parent / (folder.name + "-texts.jsonl")
        with texts.open(encoding="utf-8") as source, part.open("w", encoding="utf-8") as target:
            target.writelines(line for _, line in zip(range(documents), source))
        words = [sys.executable, "-m", "spacy", "pretrain", part, vectors, folder, "-bs", 12, "-i", epochs]
        with (folder.parent / (folder.name + ".log")).open("w") as log:
            subprocess.run([str(word) for word in words], stdout=log, stderr=subprocess.STDOUT, check=True)
    return last


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors")
    parser.add_argument("texts", type=Path)
    parser.add_argument("models", nargs="*", help="LABEL=modelN.bin")
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lexeme-norms", action="store_true")
    parser.add_argument("--spacy-baseline", type=Path)
    parser.add_argument("--train-documents", type=int, default=9000)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_intermixed_args()
    models = [tuple(model.split("=", 1)) if "=" in model else (model, model) for model in given.models]
    if given.spacy_baseline:
        path = baseline(given.spacy_baseline, given.vectors, given.texts, given.train_documents, given.epochs)
        models.append(("spacy-%s" % spacy.__version__, str(path)))
    nlp = spacy.load(given.vectors)
    with given.texts.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file if line.strip()][-given.documents :]
    hidden = list(hide(nlp, texts, given.seed, given.lexeme_norms))
    table = nlp.vocab.vectors.data
    print("%d documents, %d hidden words" % (len(hidden), sum(len(rows) for _, _, rows in hidden)))
    print("%-24s %7s %9s %8s" % ("weights", "cosine", "penalty", "scored"))
    numpy.random.seed(given.seed)
    for label, path in [("random", None)] + models:
        data = Path(path).read_bytes() if path else None
        model = build(nlp, **(settings(data) if data else {}))
        if data:
            model.from_bytes(data)
        else:
            # thinc draws a layer's weights when its sizes are known; the first batch determines them.
            model.begin_training([nlp.make_doc("Give it a doc to infer shapes")])
        targets = table[numpy.concatenate([rows for _, _, rows in hidden])].astype("f8")
        ends = numpy.cumsum([len(rows) for _, _, rows in hidden])
        result, penalty, scored = score(outputs(model, hidden), targets, cosine, ends)
        print("%-24s %7.4f %9g %8d" % (label, result, penalty, scored), flush=True)


if __name__ == "__main__":
    main()
