"""Every config of examples/configs compiles, and is what its first line says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import SENTENCES, arguments

from t2v.compile import compile_job

GALLERY = Path(__file__).resolve().parents[2] / "examples" / "configs"
EXPECTED: dict[str, dict[str, Any]] = {
    "small-96": {"width": 96, "depth": 4, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"]},
    "vectors-256": {"width": 256, "depth": 8, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "vectors"]},
    "vectors-objective": {"width": 256, "depth": 8, "objective": "vectors", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "vectors"]},
    "floret": {"width": 96, "depth": 4, "objective": "vectors", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "vectors"]},
    "inline-textcat": {"width": 96, "depth": 2, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"]},
    "six-attributes": {
        "width": 96,
        "depth": 4,
        "objective": "characters",
        "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "SPACY", "IS_SPACE"],
    },
    "v1-256": {"width": 256, "depth": 8, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "vectors"]},
    "hashembed-cnn": {"width": 96, "depth": 4, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"]},
    "plain-text": {"width": 96, "depth": 4, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"]},
    "own-reader": {"width": 96, "depth": 4, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"]},
    "chinese": {"width": 96, "depth": 4, "objective": "characters", "inputs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"]},
}
PIECES = {"own-reader", "chinese"}


def texts(name: str, folder: Path) -> Path:
    """The raw texts in the form that a config reads."""
    if name == "plain-text":
        path, lines = folder / "raw.txt", SENTENCES
    elif name == "own-reader":
        path, lines = folder / "reviews.tsv", [f"5\t{text}" for text in SENTENCES]
    else:
        path, lines = folder / "raw.jsonl", [json.dumps({"text": text}) for text in SENTENCES]
    path.write_text("".join(line + "\n" for line in lines * 3), encoding="utf8")
    return path


def test_every_config_is_tested() -> None:
    assert {path.stem for path in GALLERY.glob("*.cfg")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_config_compiles(name: str, tmp_path: Path, vectors: Path, floret: Path) -> None:
    if name == "six-attributes":
        pytest.importorskip("spacy_lookups_data")
    overrides = {"paths.raw_text": str(texts(name, tmp_path))}
    wants = EXPECTED[name]
    if "vectors" in wants["inputs"]:
        overrides["paths.vectors"] = str(floret if name == "floret" else vectors)
    code = GALLERY / "own_reader.py" if name == "own-reader" else None
    job, _ = compile_job(GALLERY / f"{name}.cfg", tmp_path / "job", arguments(overrides), code)
    model = job["model"]
    assert model["width"] == wants["width"]
    assert len(model["encoder"]["convolutions"]) == wants["depth"]
    assert model["objective"]["kind"] == wants["objective"]
    assert ["vectors" if part["kind"] == "vectors" else part["attribute"] for part in model["inputs"]] == wants["inputs"]
    assert job["text"]["path"] == ("pieces" if name in PIECES else "fast")
    assert (job["component"], job["layer"]) == (("textcat", "tok2vec") if name == "inline-textcat" else ("tok2vec", ""))
