"""Updates of the real spaCy 3.8 against the same of t2v, through its command line: the averaged tok2vec within 1e-3 a tensor.

    PYTHONPATH=python .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/updates3_check.py [--program .build/release/t2v-coordinator]
        [--texts demo/texts.jsonl] [--records 5] [--a.b.c VALUE ...]

Both start from the weights that spaCy drew for the job of job_small.cfg (with the overrides given). Nothing is hidden and every token counts,
dropout is 0, and one update takes all documents. spaCy's own objective, backward pass and optimizer run on documents with the tokens' norms. With a vectors objective, two right programs part
by rounding after a few updates (the first gradient is clipped from 2e6 to 1): give --updates 2.
"""
import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from spacy.training.initialize import load_vectors_into_model
from spacy.util import load_config, load_model_from_config, registry

ROOT = Path(__file__).resolve().parent.parent.parent.parent


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
    """As spaCy's readers rebuild documents, so that lexemes are those that know their vectors; with the tokens' norms."""
    from spacy.tokens import Doc

    fresh = Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
    for old, new in zip(doc, fresh):
        new.norm_ = old.norm_
    return fresh


def spacy_updates(job, texts, count):
    """The tok2vec's file after `count` updates, with the averages."""
    from spacy.tokens import Doc
    from spacy.training.pretrain import create_pretraining_model

    config = load_config(job / "config.cfg", interpolate=True)
    nlp = load_model_from_config(config)
    if config["initialize"]["vectors"]:
        load_vectors_into_model(nlp, config["initialize"]["vectors"])
    settings = registry.resolve(config["pretraining"])
    nlp.get_pipe("tok2vec").model.initialize([Doc(nlp.vocab, words=["a"])])
    masked = create_pretraining_model(nlp, settings)
    model = masked.layers[0]
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
    optimizer, objective = settings["optimizer"], settings["objective"]
    loss = masked.attrs["loss"]
    for _ in range(count):
        predictions, backward = model.begin_update(docs)
        _, gradients = loss(model.ops, docs, predictions)
        backward(gradients)
        model.finish_update(optimizer)
        optimizer.step_schedules()
    with model.use_params(optimizer.averages):
        return masked.get_ref("tok2vec").to_bytes(), masked.get_ref("tok2vec"), objective


def parameters(model, data):
    model.from_bytes(data)
    return [("%d %s %s" % (i, node.name[:20], name), node.get_param(name).copy()) for i, node in enumerate(model.walk()) for name in node.param_names]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=ROOT / ".build/release/t2v-coordinator")
    parser.add_argument("--texts", default=ROOT / "demo/texts.jsonl")
    parser.add_argument("--records", type=int, default=5)
    parser.add_argument("--updates", type=int, default=5)
    options, overrides = parser.parse_known_args()
    texts = [json.loads(line)["text"] for line, _ in zip(open(options.texts, encoding="utf8"), range(options.records))]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        raw = folder / "texts.jsonl"
        raw.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf8")
        fixed = ["--paths.raw_text", raw, "--pretraining.dropout", "0.0", "--pretraining.max_epochs", options.updates, "--t2v.mask_prob", "0",
                 "--pretraining.batcher.size", "100000000", "--corpora.pretrain.min_length", "1"]
        compiled = [sys.executable, "-W", "ignore", "-m", "t2v", "compile", Path(__file__).parent / "job_small.cfg", folder / "job", *fixed]
        run = [options.program, "pretrain", "--job", folder / "job", folder / "out", "--cache", folder / "cache", "--workers", "2"]
        for command in (compiled + ["--verify", "0"] + overrides, run):
            subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        theirs, model, _ = spacy_updates(folder / "job", texts, options.updates)
        expected = parameters(model, theirs)
        ours = parameters(model, (folder / "out" / "model-last.bin").read_bytes())
    worst = 0.0
    for (name, mine), (_, other) in zip(ours, expected):
        error = numpy.linalg.norm((mine - other).ravel()) / max(numpy.linalg.norm(other), 1e-12)
        worst = max(worst, error)
        print("%-30s %.2e%s" % (name, error, "" if error < 1e-3 else "  TOO LARGE"))
    print("%d documents; worst %.2e, limit 1e-3" % (len(texts), worst))
    sys.exit(1 if worst >= 1e-3 else 0)


if __name__ == "__main__":
    main()
