"""The command blocks of the pages about evaluate, report, bench and loggers are true: they are run as they stand, on the demo's data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from thinc.api import Config

from t2v import programs
from t2v.compile import compile_job
from t2v.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
FEW = {"SPACY_CONFIG_OVERRIDES": "--training.max_steps=2 --training.eval_frequency=2"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / page).read_text(encoding="utf8"), re.DOTALL | re.MULTILINE)


@pytest.fixture()
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with demo/french, and a pretraining of it in out: weights that fit, and a log."""
    shutil.copytree(ROOT / "demo" / "french", tmp_path / "demo" / "french")
    monkeypatch.chdir(tmp_path)
    compile_job(Path("demo/french/config.cfg"), tmp_path / "job", [])
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / "job" / "tok2vec.bin", tmp_path / "out" / "model-best.bin")
    (tmp_path / "out" / "log.jsonl").write_text('{"nr_word":10,"loss":4.0,"epoch_loss":4.0,"epoch":0}\n')
    return tmp_path


def run(block: str, spacy_command: Any, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a block's only line."""
    words = block.split()
    assert words[:3] == ["python", "-m", "spacy"] and block.count("\n") == 1
    result: subprocess.CompletedProcess[str] = spacy_command(*words[3:], **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_evaluate(place: Path, spacy_command: Any) -> None:
    (block,) = blocks("evaluate.md", "sh")
    shown = run(block, spacy_command, **FEW).stdout
    assert "with model-best.bin" in shown and "documents  without" in shown
    assert json.loads((place / "out" / "t2v" / "evaluate" / "summary.json").read_text())["cells"]


def test_report(place: Path, spacy_command: Any) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    (block,) = blocks("report.md", "sh")
    run(block, spacy_command)
    assert (place / "out" / "t2v" / "report.html").is_file()


def test_logger_sections(place: Path) -> None:
    import spacy

    sections = blocks("loggers.md", "ini")
    assert len(sections) == 2
    for section in sections:
        own = Config().from_str(section if "[t2v]" in section else f"[t2v]\n{section}", interpolate=False)["t2v"]
        assert read_settings(own)["logger"] or read_settings(own)["tensorboard"]
    (code,) = blocks("loggers.md", "python")
    exec(code, {})
    shown: list[str] = []
    setup = spacy.registry.get("loggers", "my.Logger.v1")()
    stream = type("Stream", (), {"write": lambda self, text: shown.append(text), "flush": lambda self: None})()
    log_step, finalize = setup(spacy.blank("en"), stream, stream)
    log_step({"words": 5, "losses": {}, "other_scores": {}})
    finalize()
    assert shown[0] == "5"


@pytest.mark.parametrize("page", ["evaluate.md", "report.md", "loggers.md", "bench-command.md", "events.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if not target.startswith("https://")]
    assert all((ROOT / "docs" / target).exists() for target in targets), targets


@pytest.mark.parametrize("page", ["evaluate.md", "report.md", "bench-command.md"])
def test_options_exist(page: str, spacy_command: Any) -> None:
    """Every option that a page names in its table is one of the command's."""
    text = (ROOT / "docs" / page).read_text(encoding="utf8")
    command = {"evaluate.md": "evaluate", "report.md": "report", "bench-command.md": "bench"}[page]
    shown = spacy_command("t2v", command, "--help").stdout + " ".join(f"--{name}" for name in programs.OPTIONS)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*(?![\w.-]*\.)", re.sub(r"(?s)`python -m spacy init.*?`", "", text)))
    assert named and all(option in shown for option in named), named
