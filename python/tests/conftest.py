"""Shared by the tests: a corpus, vectors, and ways to compile a config in this process or to run commands in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from t2v import programs
from t2v.compile import compile_job

HERE = Path(__file__).parent
BASE = HERE / "base.cfg"
MODEL = "components.tok2vec.model"

SENTENCES = [
    "The quick brown fox didn't jump over the lazy dogs, 42 times!",
    "It was a film of some 90 minutes; I'd not see it twice...",
    "Naïve readers in Zürich paid $3.50 for coffee  and cake :-)",
    'She said: "Don\'t go there." They went anyway (of course).',
]


def arguments(overrides: dict[str, Any]) -> list[str]:
    """Overrides as on the command line."""
    return [part for name, value in overrides.items() for part in (f"--{name}", value if isinstance(value, str) else json.dumps(value))]


def with_blocks(config: Path, overrides: dict[str, Any], folder: Path) -> tuple[Path, dict[str, Any]]:
    """Writes whole blocks into a copy of the config: since older versions of confection merge overrides. Returns it and the rest."""
    from thinc.api import Config

    blocks = {name: value for name, value in overrides.items() if isinstance(value, dict)}
    if not blocks:
        return config, overrides
    edited = Config().from_disk(config, interpolate=False)
    for name, value in blocks.items():
        *parents, last = name.split(".")
        section: Any = edited
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    folder.mkdir(exist_ok=True)
    edited.to_disk(folder / "config.cfg")
    return folder / "config.cfg", {name: value for name, value in overrides.items() if name not in blocks}


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The programs may or may not be built here: a test sees them only if it is marked `programs`."""
    if "programs" not in request.keywords:
        monkeypatch.setattr(programs, "candidates", lambda name: [])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "raw.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES * 3), encoding="utf8")
    return path


def write_vectors(folder: Path, seed: int = 0, floret: bool = False) -> Path:
    """A folder like that of `spacy init vectors`: 30 words, 8 numbers each; or floret's 40 rows."""
    import numpy
    import spacy
    from spacy.vectors import Vectors

    nlp = spacy.blank("en")
    rows = numpy.random.default_rng(seed).normal(size=(40 if floret else 30, 8)).astype("float32")
    words = [token.text for text in SENTENCES for token in nlp.make_doc(text)]
    if floret:
        settings = {"mode": "floret", "minn": 2, "maxn": 4, "hash_count": 2, "hash_seed": 2166136261, "bow": "<", "eow": ">"}
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=rows, **settings)
    else:
        keys = list(dict.fromkeys(words))[:30]
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=rows[: len(keys)], keys=keys)
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vectors(tmp_path_factory.mktemp("vectors") / "default")


@pytest.fixture(scope="session")
def floret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vectors(tmp_path_factory.mktemp("vectors") / "floret", floret=True)


@pytest.fixture()
def compiled(tmp_path: Path, corpus: Path) -> Callable[..., Any]:
    """compiled({"a.b": value}, config=BASE) -> contents of job.json; the job is in `tmp_path / "job"`."""

    def run(overrides: dict[str, Any] | None = None, config: Path = BASE, **options: Any) -> Any:
        given = {"paths.raw_text": str(corpus), **(overrides or {})}
        config, given = with_blocks(config, given, tmp_path / "edited")
        result, notes = compile_job(config, tmp_path / "job", arguments(given), **options)
        return {**result, "notes": notes}

    return run


@pytest.fixture()
def spacy_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m spacy ...` with this package's entry point in place, as after `pip install`."""
    site = tmp_path / "site"
    info = site / "t2v-0.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t2v\nVersion: 0.0.0\n")
    (info / "entry_points.txt").write_text("[spacy_cli]\nt2v = t2v.cli\n")

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(site), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "spacy", *args],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
