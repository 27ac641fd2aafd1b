"""`check`: yes when the real `spacy train` loads the weights, else what to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE, HERE, MODEL, arguments, with_blocks, write_vectors

from t2v.check import check
from t2v.errors import InputError

TAGGER = """
[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"
nO = null

[components.tagger.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = ${components.tok2vec.model.encode.width}
upstream = "*"

[corpora.train]
@readers = "spacy.Corpus.v1"
path = ${paths.train}

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${paths.train}
"""


@pytest.fixture()
def trainable(tmp_path: Path) -> Path:
    """The base config with a tagger that listens, and corpora to train it."""
    text = BASE.read_text().replace('pipeline = ["tok2vec"]', 'pipeline = ["tok2vec", "tagger"]')
    text = text.replace("raw_text = null", "raw_text = null\ntrain = null")
    text = text.replace("gpu_allocator = null", "gpu_allocator = null\nmax_steps = 1\neval_frequency = 1")
    path = tmp_path / "train.cfg"
    path.write_text(text + TAGGER)
    return path


@pytest.fixture()
def weights(compiled: Callable[..., Any], trainable: Path, tmp_path: Path) -> Path:
    """A run's folder with weights and the record of its job."""
    compiled(config=trainable)
    return keep(tmp_path)


def keep(tmp_path: Path, name: str = "model-last.bin") -> Path:
    (tmp_path / "out/t2v/job").mkdir(parents=True, exist_ok=True)
    for source, target in [("tok2vec.bin", name), ("job.json", "t2v/job/job.json")]:
        (tmp_path / "out" / target).write_bytes((tmp_path / "job" / source).read_bytes())
    return tmp_path / "out" / name


def asked(config: Path, path: Path | None, overrides: dict[str, Any] | None = None, code: Path | None = None) -> list[str]:
    config, rest = with_blocks(config, overrides or {}, config.parent / "asked")
    return check(config, path, arguments(rest), code)


def test_yes_and_spacy_train_agrees(weights: Path, trainable: Path, tmp_path: Path, spacy_command: Callable[..., Any]) -> None:
    import spacy
    from spacy.tokens import DocBin

    found = asked(trainable, weights)
    assert found[0].startswith("yes") and "[components.tok2vec.model]" in found[0]
    assert found[-1].endswith(f"--paths.init_tok2vec {weights}") and len(found) == 2
    assert asked(trainable, None, {"paths.init_tok2vec": str(weights)})[-1].endswith(str(trainable))

    nlp = spacy.blank("en")
    doc = nlp.make_doc("Some words that are tagged.")
    for token in doc:
        token.tag_ = "A" if token.i % 2 else "B"
    DocBin(docs=[doc]).to_disk(tmp_path / "train.spacy")
    command = ["train", str(trainable), "--paths.train", str(tmp_path / "train.spacy"), "--paths.init_tok2vec", str(weights), "-V"]
    done = spacy_command(*command)
    assert done.returncode == 0 and f"Loaded pretrained weights from {weights}" in done.stdout + done.stderr, done.stdout + done.stderr


MISH = {"@architectures": "spacy.MishWindowEncoder.v2", "width": 16, "window_size": 1, "depth": 2}
CHARACTERS = {
    **{"@architectures": "spacy.CharacterEmbed.v2", "width": 16, "rows": 50, "nM": 8, "nC": 4},
    **{"include_static_vectors": False, "feature": "NORM"},
}
THREE = {f"{MODEL}.embed.attrs": ["NORM", "PREFIX", "SUFFIX"], f"{MODEL}.embed.rows": [50, 30, 40]}

NO: list[Any] = [
    pytest.param({f"{MODEL}.encode": MISH}, "activation .*: the weights have maxout, the config mish", id="activation"),
    pytest.param({f"{MODEL}.embed": CHARACTERS}, "nC and nM of CharacterEmbed: the weights have none, the config", id="characters"),
    pytest.param(THREE, "attrs .*: the weights have NORM, PREFIX, SUFFIX, SHAPE, the config NORM, PREFIX, SUFFIX", id="three attributes"),
    pytest.param({f"{MODEL}.encode.width": 32}, "width: the weights have 16, the config 32", id="width"),
    pytest.param({f"{MODEL}.embed.rows": [50, 30, 40, 30]}, "rows: the weights have 50, 30, 40, 20", id="rows"),
    pytest.param({f"{MODEL}.encode.depth": 3}, "depth: the weights have 2, the config 3", id="depth"),
    pytest.param({f"{MODEL}.encode.maxout_pieces": 2}, "maxout_pieces: the weights have 3, the config 2", id="pieces"),
    pytest.param({f"{MODEL}.encode.window_size": 2}, "window_size: the weights have 1, the config 2", id="window"),
    pytest.param({f"{MODEL}.embed.attrs": ["NORM", "SUFFIX", "PREFIX", "SHAPE"]}, "attrs .*: the weights have NORM, PREFIX", id="attrs"),
    pytest.param({f"{MODEL}.embed.include_static_vectors": True}, "includes static vectors, and there are none", id="no vectors"),
    pytest.param({"pretraining.component": "tagger", "pretraining.layer": "tok2vec"}, '"tagger" only listens to "tok2vec"', id="listener"),
    pytest.param({"pretraining.component": "ner"}, '"ner" is not in the pipeline', id="component"),
    pytest.param({"pretraining.component": "tagger"}, "the config", id="whole model"),
    pytest.param({"pretraining.layer": "tok2vec"}, "no such layer", id="layer"),
    pytest.param({"nlp.lang": "de"}, 'pretrained for "en", the config says "de"', id="language"),
]


@pytest.mark.parametrize(("overrides", "words"), NO)
def test_no(weights: Path, trainable: Path, overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked(trainable, weights, overrides)


def test_static_vectors_must_be_the_same(compiled: Callable[..., Any], trainable: Path, tmp_path: Path, vectors: Path) -> None:
    included = {f"{MODEL}.embed.include_static_vectors": True}
    compiled({**included, "paths.vectors": str(vectors)}, config=trainable)
    path = keep(tmp_path)
    assert asked(trainable, path, {**included, "paths.vectors": str(vectors)})[0].startswith("yes")
    with pytest.raises(InputError, match="include_static_vectors = false.*: the weights have 8, the config 0"):
        asked(trainable, path, {"paths.vectors": str(vectors)})
    others = write_vectors(tmp_path / "others", seed=1)
    with pytest.raises(InputError, match="not the vectors that the weights were pretrained with"):
        asked(trainable, path, {**included, "paths.vectors": str(others)})


def test_vectors_of_another_width(compiled: Callable[..., Any], trainable: Path, tmp_path: Path, vectors: Path) -> None:
    import numpy
    import spacy
    from spacy.vectors import Vectors

    included = {f"{MODEL}.embed.include_static_vectors": True}
    compiled({**included, "paths.vectors": str(vectors)}, config=trainable)
    nlp = spacy.blank("en")
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=numpy.ones((2, 6), dtype="f"), keys=["one", "two"])
    nlp.to_disk(tmp_path / "narrow")
    with pytest.raises(InputError, match="width of the static vectors .*: the weights have 8, the config 6"):
        asked(trainable, keep(tmp_path), {**included, "paths.vectors": str(tmp_path / "narrow")})


def test_layer_inside_a_tagger(compiled: Callable[..., Any], tmp_path: Path, spacy_command: Callable[..., Any]) -> None:
    """A layer that is pretrained and trained in place: check says yes, and `spacy train` loads it."""
    import spacy
    from spacy.tokens import DocBin

    text = BASE.read_text().replace("components.tok2vec.model", "components.tagger.model.tok2vec")
    text = text.replace('pipeline = ["tok2vec"]', 'pipeline = ["tagger"]').replace("raw_text = null", "raw_text = null\ntrain = null")
    text = text.replace('[components.tok2vec]\nfactory = "tok2vec"', TAGGER[: TAGGER.index("[components.tagger.model.tok2vec]")].strip())
    text = text.replace('component = "tok2vec"\nlayer = ""', 'component = "tagger"\nlayer = "tok2vec"')
    text = text.replace("gpu_allocator = null", "gpu_allocator = null\nmax_steps = 1\neval_frequency = 1")
    config = tmp_path / "inline.cfg"
    config.write_text(text + TAGGER[TAGGER.index("[corpora.train]") :])
    compiled(config=config)
    path = keep(tmp_path)
    assert asked(config, path)[0].endswith("into [components.tagger.model] (layer tok2vec)")
    with pytest.raises(InputError, match="the config"):
        asked(config, path, {"pretraining.layer": ""})
    doc = spacy.blank("en").make_doc("Some words that are tagged.")
    for token in doc:
        token.tag_ = "A" if token.i % 2 else "B"
    DocBin(docs=[doc]).to_disk(tmp_path / "train.spacy")
    done = spacy_command("train", str(config), "--paths.train", f"{tmp_path}/train.spacy", "--paths.init_tok2vec", str(path), "-V")
    assert done.returncode == 0 and f"Loaded pretrained weights from {path}" in done.stdout + done.stderr, done.stdout + done.stderr


def test_no_block(weights: Path, trainable: Path) -> None:
    text = trainable.read_text()
    start = text.index("[pretraining]")
    trainable.write_text(text[:start] + text[text.index("[components.tagger]") :])
    with pytest.raises(InputError, match="no \\[pretraining\\] block, so `spacy train` silently ignores"):
        asked(trainable, weights)


def test_incomplete_block(weights: Path, trainable: Path) -> None:
    trainable.write_text(trainable.read_text().replace("n_save_every = null\n", ""))
    with pytest.raises(InputError, match="n_save_every"):
        asked(trainable, weights)


def test_other_files(weights: Path, trainable: Path, tmp_path: Path) -> None:
    import srsly

    with pytest.raises(InputError, match="no such file of weights"):
        asked(trainable, tmp_path / "none.bin")
    with pytest.raises(InputError, match="no weights are named"):
        asked(trainable, None)
    cut = tmp_path / "cut.bin"
    cut.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(InputError, match="truncated"):
        asked(trainable, cut)
    cut.write_bytes(srsly.msgpack_dumps({b"weights": []}))
    with pytest.raises(InputError, match="spaCy 2"):
        asked(trainable, cut)
    message = srsly.msgpack_loads(weights.read_bytes())
    values = next(values for values in message["params"] if "G" in values)
    values["G"] = values["G"] * float("nan")
    cut.write_bytes(srsly.msgpack_dumps(message))
    with pytest.raises(InputError, match="not finite"):
        asked(trainable, cut)


def test_nobody_listens(compiled: Callable[..., Any], tmp_path: Path) -> None:
    compiled()
    assert any("no component listens" in line for line in asked(BASE, keep(tmp_path)))


def test_another_version_is_said(weights: Path, trainable: Path) -> None:
    record = weights.parent / "t2v/job/job.json"
    job = json.loads(record.read_text())
    job["versions"]["spacy"] = "3.2.1"
    record.write_text(json.dumps(job))
    assert any("spaCy 3.2.1's" in line for line in asked(trainable, weights))


def test_command(weights: Path, trainable: Path, spacy_command: Callable[..., Any]) -> None:
    done = spacy_command("t2v", "check", str(trainable), str(weights), "--code", str(HERE / "user_code.py"))
    assert done.returncode == 0 and "yes" in done.stdout, done.stderr
    done = spacy_command("t2v", "check", str(trainable), "--paths.init_tok2vec", str(weights))
    assert done.returncode == 0, done.stderr
    done = spacy_command("t2v", "check", str(trainable), str(weights), f"--{MODEL}.encode.depth", "1")
    assert done.returncode == 2 and "depth" in done.stderr and "Traceback" not in done.stderr
