"""Updates of the real spaCy 3.8 against t2v's, through its command line: the averaged tok2vec within 1e-4 per tensor.

    PYTHONPATH=python .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/updates3_check.py [--program .build/release/t2v-coordinator]
        [--config FILE.cfg] [--texts demo/texts.jsonl] [--first 0] [--records 5] [--updates 5] [--vectors] [--a.b.c VALUE ...]

Both start from the weights that spaCy drew for the job of the config (job_small.cfg) with the overrides given. Nothing is hidden and every token counts,
dropout is 0, and one update takes all documents. spaCy's own objective, backward pass and optimizer run on documents with the tokens'
norms. Two bugs of spaCy's that t2v does not share are fixed in it: StaticVectors' gradient of words without a vector, CharacterEmbed's of
equal bytes. With Mish spaCy's documents touch: give --records 1. Two correct programs diverge where rounding decides which piece of a
Maxout wins, or which way Adam steps along a gradient that is nearly zero; the more words, updates and layers, the more often. So up to
--starts seeds are tried, and from one of them, where nothing is decided by rounding, the two must agree in every tensor. A wrong program
agrees from none.
"""
import argparse
import itertools
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from spacy.util import load_config, load_model_from_config, registry

# How far t2v's tensor may be from spaCy's (relative L2).
LIMIT = 1e-4
ROOT = Path(__file__).resolve().parent.parent.parent.parent


def write_vectors(folder, texts):
    """A table of random vectors for two thirds of the words, as `spacy init vectors` writes it."""
    import spacy
    from spacy.vectors import Vectors

    nlp = spacy.blank("en")
    words = list(dict.fromkeys(token.text for text in texts for token in nlp.make_doc(text)))
    keys = [word for number, word in enumerate(words) if number % 3]
    rows = numpy.random.default_rng(0).normal(size=(len(keys), 20)).astype("f")
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=rows, keys=keys)
    nlp.to_disk(folder)


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    start = 8 + size
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            found[name] = numpy.frombuffer(data[start + begin : start + end], dtype="<f4").reshape(entry["shape"]).copy()
    return found


def rebuilt(doc):
    """Rebuilds documents as spaCy's readers do, so that the lexemes are those that know their vectors; with the tokens' norms."""
    from spacy.tokens import Doc

    fresh = Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
    for old, new in zip(doc, fresh):
        new.norm_ = old.norm_
    return fresh


def characters(model, docs, is_train):
    """spaCy's CharacterEmbed (ml/_character_embed.py), whose gradient counts every word with a byte at a place, not only the last."""
    table, count = model.get_param("E"), model.get_dim("nC")
    places = numpy.arange(count)
    ids = [doc.to_utf8_array(nr_char=count).astype(int) for doc in docs]
    output = [table[places, one].reshape(len(one), -1) for one in ids]

    def backward(gradients):
        total = numpy.zeros_like(table)
        for one, gradient in zip(ids, gradients):
            numpy.add.at(total, (places, one), gradient.reshape(len(one), count, -1))
        model.inc_grad("E", total)
        return []

    return output, backward


def mend(model, vocab):
    """Without spaCy's bug: words without a vector take the last row's gradient, so that row is zero."""
    if vocab.vectors.mode == "default" and vocab.vectors.data.size:
        vocab.vectors.data = numpy.vstack([vocab.vectors.data, numpy.zeros_like(vocab.vectors.data[:1])])
    for node in model.walk():
        if node.name == "charembed":
            node._func = characters


def spacy_updates(job, texts, count):
    """The tok2vec's file after `count` updates, with the averages; and the layer."""
    from spacy.training.pretrain import create_pretraining_model

    config = load_config(job / "config.cfg", interpolate=True)
    nlp = load_model_from_config(config)
    settings = registry.resolve(config["pretraining"])
    masked = create_pretraining_model(nlp, settings)
    model = masked.layers[0]
    mend(model, nlp.vocab)
    masked.get_ref("tok2vec").from_bytes((job / "tok2vec.bin").read_bytes())
    head = read_safetensors(job / "head.safetensors")
    places = {"maxout": "head.hidden", "layernorm": "head.hidden.norm"}
    inside = {node.id for node in masked.get_ref("tok2vec").walk()}
    for node in model.walk():
        if node.id not in inside:
            for name in node.param_names:
                node.set_param(name, head["%s.%s" % (places.get(node.name, "head.output"), name)])
    for node in model.walk():
        if "dropout_rate" in node.attrs:
            node.attrs["dropout_rate"] = 0.0
    docs = [rebuilt(nlp.make_doc(text)) for text in texts]
    optimizer = settings["optimizer"]
    loss = masked.attrs["loss"]
    for _ in range(count):
        predictions, backward = model.begin_update(docs)
        _, gradients = loss(model.ops, docs, predictions)
        backward(gradients)
        model.finish_update(optimizer)
        optimizer.step_schedules()
    with model.use_params(optimizer.averages):
        return masked.get_ref("tok2vec").to_bytes(), masked.get_ref("tok2vec")


def parameters(model, data):
    model.from_bytes(data)
    return [("%d %s %s" % (i, node.name[:20], name), node.get_param(name).copy()) for i, node in enumerate(model.walk()) for name in node.param_names]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=ROOT / ".build/release/t2v-coordinator")
    parser.add_argument("--texts", default=ROOT / "demo/texts.jsonl")
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "job_small.cfg")
    parser.add_argument("--first", type=int, default=0, help="records to skip")
    parser.add_argument("--records", type=int, default=5)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--starts", type=int, default=20, help="seeds of the initial weights to try")
    parser.add_argument("--vectors", action="store_true", help="make vectors of the texts' words")
    options, overrides = parser.parse_known_args()
    texts = [json.loads(line)["text"] for line in itertools.islice(open(options.texts, encoding="utf8"), options.first, options.first + options.records)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        raw = folder / "texts.jsonl"
        raw.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf8")
        fixed = ["--paths.raw_text", raw, "--pretraining.dropout", "0.0", "--pretraining.max_epochs", options.updates, "--t2v.mask_prob", "0", "--t2v.held_out", "0",
                 "--pretraining.batcher.size", "100000000", "--corpora.pretrain.min_length", "1",
                 "--corpora.pretrain.max_length", "0"]
        if options.vectors:
            write_vectors(folder / "vectors", texts)
            fixed += ["--paths.vectors", folder / "vectors"]
        best = {}
        for seed in range(options.starts):
            errors = compare(folder / str(seed), texts, options, [*fixed, "--training.seed", seed, *overrides])
            if not best or max(errors.values()) < max(best.values()):
                best = errors
            if max(best.values()) < LIMIT:
                break
    for name, error in best.items():
        print("%-30s %.2e%s" % (name, error, "" if error < LIMIT else "  TOO LARGE"))
    worst = max(best.values())
    print("%d documents; seed %d; worst %.2e, limit %g" % (len(texts), seed, worst, LIMIT))
    sys.exit(1 if worst >= LIMIT else 0)


def compare(folder, texts, options, overrides):
    """Parameter -> distance of t2v's from spaCy's, both from the weights that spaCy draws with these overrides."""
    compiled = [sys.executable, "-W", "ignore", "-m", "t2v", "compile", options.config, folder / "job", "--verify", "0", *overrides]
    run = [options.program, "pretrain", "--job", folder / "job", folder / "out", "--cache", folder.parent / "cache", "--workers", "2"]
    for command in (compiled, run):
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    theirs, model = spacy_updates(folder / "job", texts, options.updates)
    expected = parameters(model, theirs)
    ours = parameters(model, (folder / "out" / "model-last.bin").read_bytes())
    return {name: distance(mine, other) for (name, mine), (_, other) in zip(ours, expected)}


def distance(one, other):
    return numpy.linalg.norm((one - other).ravel()) / max(numpy.linalg.norm(other), 1e-12)


if __name__ == "__main__":
    main()
