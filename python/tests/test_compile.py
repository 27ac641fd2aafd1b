"""Compiling: the job holds exactly what the real command has at its first update."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE, HERE, MODEL, arguments, with_blocks

from t2v.compile import compile_job
from t2v.errors import InputError

INIT = """from pathlib import Path
from spacy.util import load_model_from_init_py

def load(**overrides):
    return load_model_from_init_py(__file__, **overrides)
"""

VECTORS_OBJECTIVE = {"@architectures": "spacy.PretrainVectors.v1", "maxout_pieces": 2, "hidden_size": 12, "loss": "cosine"}
CNN = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": 16,
    "depth": 2,
    "embed_size": 50,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
    "pretrained_vectors": None,
}
CHARACTERS = {
    "@architectures": "spacy.CharacterEmbed.v2",
    "width": 16,
    "rows": 40,
    "nM": 4,
    "nC": 8,
    "include_static_vectors": True,
    "feature": "LOWER",
}
MISH = {"@architectures": "spacy.MishWindowEncoder.v2", "width": 16, "window_size": 1, "depth": 2}
OLD = {
    "@architectures": "spacy.Tok2Vec.v1",
    "embed": {
        "@architectures": "spacy.MultiHashEmbed.v1",
        "width": 16,
        "rows": [30, 20],
        "attrs": ["ORTH", "SHAPE"],
        "include_static_vectors": True,
    },
    "encode": {"@architectures": "spacy.MaxoutWindowEncoder.v1", "width": 16, "window_size": 1, "maxout_pieces": 3, "depth": 2},
}


def real_command(tmp_path: Path, overrides: dict[str, Any], config: Path = BASE) -> tuple[bytes, bytes]:
    """tok2vec.bin at the first update of `spacy pretrain`, and the config.cfg that it wrote."""
    out = tmp_path / "real"
    config, overrides = with_blocks(config, overrides, tmp_path / "edited")
    args = [sys.executable, str(HERE / "first_update.py"), str(tmp_path / "real.bin"), str(config), str(out), *arguments(overrides)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=120)
    assert (tmp_path / "real.bin").exists(), done.stdout + done.stderr
    return (tmp_path / "real.bin").read_bytes(), (out / "config.cfg").read_bytes()


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, id="characters"),
        pytest.param({f"{MODEL}.embed.include_static_vectors": True, "paths.vectors": "VECTORS"}, id="static vectors"),
        pytest.param({"pretraining.objective": VECTORS_OBJECTIVE, "paths.vectors": "FLORET"}, id="floret"),
        pytest.param({MODEL: CNN}, id="HashEmbedCNN"),
        pytest.param({f"{MODEL}.embed": CHARACTERS, f"{MODEL}.encode": MISH, "paths.vectors": "VECTORS"}, id="CharacterEmbed and Mish"),
        pytest.param({MODEL: OLD, "paths.vectors": "VECTORS", "training.seed": 7}, id="v1"),
    ],
)
def test_equals_the_real_command(
    compiled: Callable[..., Any], tmp_path: Path, corpus: Path, vectors: Path, floret: Path, overrides: dict[str, Any]
) -> None:
    places = {"VECTORS": str(vectors), "FLORET": str(floret)}
    given = {"paths.raw_text": str(corpus), **overrides}
    given = {name: places.get(value, value) if isinstance(value, str) else value for name, value in given.items()}
    compiled(given)
    weights, config = real_command(tmp_path, given)
    assert (tmp_path / "job/tok2vec.bin").read_bytes() == weights
    assert (tmp_path / "job/config.cfg").read_bytes() == config


def test_describes_the_model(compiled: Callable[..., Any], vectors: Path, corpus: Path) -> None:
    job = compiled({f"{MODEL}.embed.include_static_vectors": True, "paths.vectors": str(vectors), f"{MODEL}.encode.depth": 3})
    model = job["model"]
    assert [part.get("attribute") for part in model["inputs"]] == ["NORM", "PREFIX", "SUFFIX", "SHAPE", "ORTH"]
    assert model["inputs"][1] == {"kind": "table", "attribute": "PREFIX", "rows": 30, "seed": 9, "width": 16, "dropout": True}
    assert model["inputs"][4] == {
        "kind": "vectors",
        "width": 8,
        "output": 16,
        "attribute": "ORTH",
        "missing": "zero",
        "dropout": True,
    }
    assert model["mixer"] == {"pieces": 3, "dropout": "token"}
    assert model["encoder"]["padding"] == {"kind": "zeroVectors", "rows": 3}
    assert model["encoder"]["convolutions"] == [{"activation": "maxout", "pieces": 3, "window": 1, "dropout": True}] * 3
    assert model["objective"] == {"kind": "characters", "bytes": 4, "hidden": 10, "pieces": 3, "head_dropout": False, "loss": "linear"}
    assert (model["width"], model["dropout"], model["mask_probability"]) == (16, 0.2, 0.15)
    assert job["vectors"]["file"] == str(vectors.resolve() / "vocab" / "vectors")
    assert job["text"]["sources"] == [str(corpus)] and job["text"]["columns"] == ["ORTH", "NORM", "PREFIX", "SUFFIX", "SHAPE"]
    assert job["training"]["held_out"] == 0.01 and job["training"]["evaluate_every"] is None
    assert job["training"]["words_per_update"] == 100 and job["training"]["max_length"] == 500


def test_template_names_every_parameter(compiled: Callable[..., Any], tmp_path: Path) -> None:
    import srsly

    job = compiled()
    params = srsly.msgpack_loads((tmp_path / "job/tok2vec.bin").read_bytes())["params"]
    named = {(entry["node"], entry["parameter"]) for entry in job["template"]["parameters"]}
    assert named == {(node, name) for node, values in enumerate(params) for name in values}
    shapes = {entry["tensor"]: params[entry["node"]][entry["parameter"]].shape for entry in job["template"]["parameters"]}
    assert shapes["embed.suffix.E"] == (40, 16) and shapes["mixer.W"] == (16, 3, 64) and shapes["encode.1.W"] == (16, 3, 48)


def test_head_is_a_safetensors_file(compiled: Callable[..., Any], tmp_path: Path) -> None:
    compiled()
    data = (tmp_path / "job/head.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["head.hidden.W"]["shape"] == [10, 3, 16] and header["head.output.W"]["shape"] == [1024, 10]
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - length
    start, end = header["head.hidden.norm.G"]["data_offsets"]
    assert struct.unpack("<10f", data[8 + length + start : 8 + length + end]) == (1.0,) * 10


def install(model: Path, name: str, site: Path) -> Path:
    """A package as `spacy package` makes it and pip installs it; returns its inner folder."""
    version = "1.2.3"
    meta = {**json.loads((model / "meta.json").read_text()), "lang": name.split("_")[0], "name": name.split("_", 1)[1], "version": version}
    inner = site / name / f"{name}-{version}"
    shutil.copytree(model, inner)
    (inner / "meta.json").write_text(json.dumps(meta))
    (site / name / "meta.json").write_text(json.dumps(meta))
    (site / name / "__init__.py").write_text(INIT)
    (site / f"{name}-{version}.dist-info").mkdir()
    (site / f"{name}-{version}.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return inner


def test_vectors_of_an_installed_package(
    compiled: Callable[..., Any], tmp_path: Path, vectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`[initialize] vectors = "en_core_web_md"`, say: nothing is copied, and the files are the package's."""
    inner = install(vectors, "en_small_md", tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    overrides = {"pretraining.objective": VECTORS_OBJECTIVE, "paths.vectors": "en_small_md"}
    job = compiled(overrides)
    assert job["vectors"]["file"] == str(inner / "vocab/vectors") and job["vectors"]["rows"] == 30
    portable = compiled(overrides, portable=True)["vectors"]
    assert portable["file"] == "vectors/vectors" and portable["digest"] == job["vectors"]["digest"]


def test_package_without_vectors(compiled: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like en_core_web_sm."""
    import spacy

    spacy.blank("en").to_disk(tmp_path / "blank")
    install(tmp_path / "blank", "en_small_sm", tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(InputError, match="needs vectors, and en_small_sm has none .*_md or _lg"):
        compiled({"pretraining.objective": VECTORS_OBJECTIVE, "paths.vectors": "en_small_sm"})


def test_a_file_of_vectors(compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cc.en.300.vec").write_text("1 2\nword 0.5 0.25\n")
    with pytest.raises(InputError, match="cc.en.300.vec.* is a file.*spacy init vectors en "):
        compiled({"pretraining.objective": VECTORS_OBJECTIVE, "paths.vectors": str(tmp_path / "cc.en.300.vec")})


def test_portable_job_holds_the_vectors(compiled: Callable[..., Any], tmp_path: Path, vectors: Path) -> None:
    overrides = {"pretraining.objective": VECTORS_OBJECTIVE, "paths.vectors": str(vectors)}
    job = compiled(overrides, portable=True)
    assert job["vectors"]["file"] == "vectors/vectors"
    assert (tmp_path / "job/vectors/vectors").read_bytes() == (vectors / "vocab/vectors").read_bytes()
    assert job["vectors"]["digest"] == compiled(overrides)["vectors"]["digest"]


@pytest.mark.parametrize("what", ["rows", "keys"])
def test_vectors_that_a_callback_has_changed(compiled: Callable[..., Any], tmp_path: Path, vectors: Path, what: str) -> None:
    """The folder's files are not these vectors: the job holds its own."""
    import numpy
    import srsly

    overrides = {"pretraining.objective": VECTORS_OBJECTIVE, "paths.vectors": str(vectors)}
    plain = compiled(overrides)["vectors"]
    callback = {"@callbacks": "my.change.v1", "what": what}
    changed = compiled({**overrides, "initialize.after_init": callback}, code=HERE / "user_code.py")["vectors"]
    assert plain["file"].startswith("/") and changed["file"] == "vectors/vectors" and plain["digest"] != changed["digest"]
    before, after = numpy.load(plain["file"]), numpy.load(tmp_path / "job/vectors/vectors")
    assert numpy.array_equal(after, before * 2 if what == "rows" else before)
    keys = len(srsly.read_msgpack(tmp_path / "job/vectors/key2row")) - len(srsly.read_msgpack(plain["key2row"]))
    assert keys == (1 if what == "keys" else 0)


def test_a_place_where_nothing_can_be_made(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match="/proc/nowhere: no folder can be made here.*give a folder that you may write to"):
        compile_job(BASE, Path("/proc/nowhere/job"), ["--paths.raw_text", str(corpus)])


def test_a_job_takes_the_place_of_a_job_only(compiled: Callable[..., Any], tmp_path: Path) -> None:
    compiled()
    assert compiled({"training.seed": 3})["training"]["seed"] == 3
    assert '"seed": 3' in (tmp_path / "job/job.json").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"job"}
    (tmp_path / "job/job.json").unlink()
    with pytest.raises(InputError, match="something else is there"):
        compiled()


def test_inline_component(compiled: Callable[..., Any], tmp_path: Path) -> None:
    text = BASE.read_text()
    text = text.replace('pipeline = ["tok2vec"]', 'pipeline = ["tagger"]').replace(
        "components.tok2vec.model", "components.tagger.model.tok2vec"
    )
    text = text.replace(
        '[components.tok2vec]\nfactory = "tok2vec"',
        '[components.tagger]\nfactory = "tagger"\n\n[components.tagger.model]\n@architectures = "spacy.Tagger.v2"\nnO = null',
    )
    text = text.replace('component = "tok2vec"\nlayer = ""', 'component = "tagger"\nlayer = "tok2vec"')
    (tmp_path / "inline.cfg").write_text(text)
    job = compiled(config=tmp_path / "inline.cfg")
    assert (job["component"], job["layer"], job["model"]["width"]) == ("tagger", "tok2vec", 16)
