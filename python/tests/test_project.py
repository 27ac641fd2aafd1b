"""The project in examples/project runs with the real weasel, offline, with the repository's data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FEW = {"SPACY_CONFIG_OVERRIDES": "--training.max_steps=4 --training.eval_frequency=2"}


@pytest.fixture()
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, beside a copy of its data."""
    shutil.copytree(ROOT / "demo" / "french", tmp_path / "demo" / "french")
    kept = shutil.ignore_patterns("corpus", "job", "pretrained", "training", "packages", "project.lock")
    shutil.copytree(ROOT / "examples" / "project", tmp_path / "examples" / "project", ignore=kept)
    monkeypatch.chdir(tmp_path / "examples" / "project")
    return tmp_path / "examples" / "project"


def test_project_runs(project: Path, spacy_command: Any) -> None:
    def run(name: str, **environment: str) -> str:
        result = spacy_command("project", "run", name, **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        return str(result.stdout + result.stderr)

    run("data")
    run("compile")
    assert json.loads((project / "job" / "job.json").read_text())["language"] == "fr"
    (project / "pretrained").mkdir(exist_ok=True)
    shutil.copy(project / "job" / "tok2vec.bin", project / "pretrained" / "model-best.bin")
    assert "Loaded pretrained weights from" in run("train", **FEW)
    run("package")
    (package,) = (project / "packages").iterdir()
    assert package.name == "fr_debian_tagger-0.1.0"


def test_every_command_is_in_the_workflow(project: Path, spacy_command: Any) -> None:
    text = (project / "project.yml").read_text()
    named = [line.split(": ")[1] for line in text.splitlines() if line.startswith("  - name: ")]
    assert named == ["data", "compile", "pretrain", "evaluate", "train", "package", "clean"]
    readme = (project / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in named if name != "clean")
