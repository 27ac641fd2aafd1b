"""Older versions of spaCy: they can compile, too, and files of weights work in both directions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE, HERE

from t2v import weights
from t2v.check import check

VENVS = Path(os.environ.get("T2V_VENVS", HERE.parents[1] / ".venvs"))


@pytest.fixture(params=["3.7", "3.5"])
def older(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs `python -m t2v ...` with an older spaCy."""
    python = VENVS / f"spacy-{request.param}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no spaCy {request.param}: Tests/reference/setup-venvs.sh installs it")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        return subprocess.run([str(python), "-m", "t2v", *args], env=environment, capture_output=True, text=True, timeout=300)

    return run


def test_files_go_both_ways(older: Callable[..., Any], compiled: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    done = older("compile", str(BASE), str(tmp_path / "old"), "--paths.raw_text", str(corpus), "--verify", "0")
    assert done.returncode == 0, done.stderr
    old = json.loads((tmp_path / "old/job.json").read_text())
    new = compiled()
    assert old["versions"]["spacy"][:3] != new["versions"]["spacy"][:3]
    for part in ("model", "training", "template", "vectors", "text"):
        assert old[part] == {**new[part], "why": old[part].get("why")} if part == "text" else old[part] == new[part], part
    one, other = (weights.read((tmp_path / name / "tok2vec.bin").read_bytes(), name) for name in ("old", "job"))
    assert one["nodes"] == other["nodes"] and one["attrs"] == other["attrs"], "the structure is the same"
    assert check(BASE, tmp_path / "old/tok2vec.bin", [], None)[0].startswith("yes")
    done = older("check", str(BASE), str(tmp_path / "job/tok2vec.bin"))
    assert done.returncode == 0 and "yes" in done.stdout, done.stderr
