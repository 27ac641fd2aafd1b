"""How much do weights pretrained by the real spaCy 3.8 tell about a hidden word, and how much t2v's after as many words?

    T2V_BIN=.build/release PYTHONPATH=python .venvs/spacy-3.8/bin/python Tests/quality/quality3.py TEXTS.jsonl VECTORS CACHE
        [--train 1500] [--held 500] [--epochs 2] [--seed 0] [--objectives characters,vectors] [--a.b.c VALUE ...]

One config, 96 wide and 4 deep, with the characters objective, and with the vectors objective (cosine): `spacy pretrain` trains on the first --train
texts (about 5,000 words a second; kept in CACHE), `t2v pretrain` on the same. Of the last --held texts, 15% of the words that have a vector are
hidden as "[MASK]". The real spaCy loads each file and computes the layer's output at those places. From it a ridge regression predicts the
word: the first half of the documents is for fitting (a fifth of it for choosing the penalty), the second half is scored by the mean cosine
with the word's vector and by the share of its first, last, second and second to last bytes that are right. Status 1 if t2v's weights are
worse by more than 0.005 in either.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy
from probe import cosine, score
from spacy.tokens import Doc
from spacy.util import load_config, load_model_from_config

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "Tests/GoldenTests/reference/job_small.cfg"
HIDDEN, BYTES, TOLERANCE = 0.15, 4, 0.005
MODEL = "components.tok2vec.model"
OBJECTIVES = {
    "characters": {"@architectures": "spacy.PretrainCharacters.v1", "maxout_pieces": 3, "hidden_size": 300, "n_characters": BYTES},
    "vectors": {"@architectures": "spacy.PretrainVectors.v1", "maxout_pieces": 3, "hidden_size": 300, "loss": "cosine"},
}


def overrides(given, objective, texts, rest):
    values = {
        "paths.raw_text": str(texts), "paths.vectors": given.vectors, "pretraining.max_epochs": given.epochs, "training.seed": given.seed,
        f"{MODEL}.encode.width": 96, f"{MODEL}.encode.depth": 4, f"{MODEL}.embed.rows": [5000, 1000, 2500, 2500],
        "corpora.pretrain.min_length": 5, "pretraining.batcher.size": 3000, "pretraining.objective": OBJECTIVES[objective],
    }
    return [part for name, value in values.items() for part in (f"--{name}", value if isinstance(value, str) else json.dumps(value))] + rest


def trained(program, arguments, folder):
    """Seconds and words of a run; the program's output goes to a file beside the folder."""
    start = time.monotonic()
    with open(f"{folder}.log", "w") as log:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run([*program, str(CONFIG), str(folder), *arguments], stdout=log, stderr=subprocess.STDOUT, check=True, env=environment)
    return time.monotonic() - start, words_of(folder)


def words_of(folder):
    with open(folder / "log.jsonl") as lines:
        return max(json.loads(line)["nr_word"] for line in lines)


def hide(nlp, texts, seed):
    """Documents with hidden words, and for each the positions hidden and the words."""
    random = numpy.random.RandomState(seed)
    for text in texts:
        whole = nlp.make_doc(text)
        chosen = [i for i, token in enumerate(whole) if token.has_vector and not token.is_space and random.uniform() < HIDDEN]
        if not chosen:
            continue
        hidden = set(chosen)
        words = ["[MASK]" if i in hidden else token.text for i, token in enumerate(whole)]
        doc = Doc(nlp.vocab, words=words, spaces=[bool(token.whitespace_) for token in whole])
        for i, token in enumerate(whole):
            if i not in hidden:
                doc[i].norm_ = token.norm_
        yield doc, chosen, [whole[i].text for i in chosen]


def outputs(layer, hidden):
    """The layer's output at every hidden word, one row each."""
    found = []
    for doc, chosen, _ in hidden:
        found.append(layer.predict([doc])[0][chosen])
    return numpy.vstack(found).astype("f8")


def right_bytes(predicted, true):
    shape = (len(predicted), BYTES, 256)
    return float((predicted.reshape(shape).argmax(axis=2) == true.reshape(shape).argmax(axis=2)).mean())


def scores(folder, path, given, texts):
    """(cosine, share of right bytes) of a file of weights, or of fresh ones."""
    nlp = load_model_from_config(load_config(folder / "config.cfg", interpolate=True))
    nlp.initialize()
    layer = nlp.get_pipe("tok2vec").model
    layer.initialize(X=[nlp.make_doc("Give it a doc to infer shapes")])
    if path:
        layer.from_bytes(path.read_bytes())
    hidden = list(hide(nlp, texts, given.seed))
    words = [word for _, _, group in hidden for word in group]
    ends = numpy.cumsum([len(group) for _, _, group in hidden])
    vectors = numpy.array([nlp.vocab[word].vector for word in words], dtype="f8")
    ids = Doc(nlp.vocab, words=words).to_utf8_array(nr_char=BYTES).astype(int)
    bytes_ = (ids[:, :, None] == numpy.arange(256)).reshape(len(words), -1).astype("f8")
    inputs = outputs(layer, hidden)
    (words_told, _, scored), (bytes_told, _, _) = score(inputs, vectors, cosine, ends), score(inputs, bytes_, right_bytes, ends)
    return words_told, bytes_told, scored


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("vectors")
    parser.add_argument("cache", type=Path)
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--held", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objectives", default="characters,vectors")
    given, rest = parser.parse_known_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    lines = [line for line in given.texts.read_text(encoding="utf8").split("\n") if line.strip()]
    held = [json.loads(line)["text"] for line in lines[-given.held :]]
    worse = False
    for objective in given.objectives.split(","):
        texts = given.cache / f"texts-{given.train}.jsonl"
        texts.write_text("\n".join(lines[: given.train]) + "\n", encoding="utf8")
        name = f"{objective}-{given.train}-{given.epochs}-{given.seed}"
        arguments = overrides(given, objective, texts, rest)
        theirs, ours = given.cache / f"spacy-{name}", given.cache / f"t2v-{name}"
        seconds = None
        if not (theirs / "model-last.bin").exists():
            seconds, _ = trained([sys.executable, "-W", "ignore", "-m", "spacy", "pretrain"], arguments, theirs)
        own_seconds, _ = trained([sys.executable, "-W", "ignore", "-m", "t2v", "pretrain"], arguments + ["--overwrite", "--no-report"], ours)
        print(f"{objective} objective: {words_of(theirs):,} words by spaCy{f' in {seconds:.0f} s' if seconds else ''}, "
              f"{words_of(ours):,} by t2v in {own_seconds:.0f} s")
        print("%-10s %8s %12s %8s" % ("weights", "cosine", "right bytes", "scored"))
        found = {}
        for label, path in [("random", None), ("spaCy", theirs / "model-last.bin"), ("t2v", ours / "model-last.bin")]:
            found[label] = scores(theirs, path, given, held)
            print("%-10s %8.4f %12.4f %8d" % (label, *found[label]), flush=True)
        worse = worse or any(mine < other - TOLERANCE for mine, other in zip(found["t2v"][:2], found["spaCy"][:2]))
    print("t2v's weights are " + ("WORSE than spaCy's" if worse else "not worse than spaCy's"))
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
