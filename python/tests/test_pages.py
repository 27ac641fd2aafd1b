"""The command blocks of the pages about evaluate, report, bench and loggers work: they are run as written, on the demo's data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from thinc.api import Config

from t2v import programs
from t2v.compile import compile_job
from t2v.errors import InputError
from t2v.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "evaluate.md",
    "report.md",
    "loggers.md",
    "bench-command.md",
    "events.md",
    "getting-started.md",
    "status.md",
    "hosts.md",
    "install.md",
    "elastic.md",
    "operations.md",
    "config.md",
    "from-spacy-pretrain.md",
    "troubleshooting.md",
    "spacy2.md",
    "worth-it.md",
]
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
    shown = run(block.replace("--sizes 20,all --seeds 2", "--sizes 20 --seeds 1"), spacy_command, **FEW).stdout
    assert "with model-best.bin" in shown and "documents  without" in shown
    assert json.loads((place / "out" / "t2v" / "evaluate" / "summary.json").read_text())["cells"]
    again = block.replace("--sizes 20,all --seeds 2", "--sizes 20 --seeds 1").rstrip("\n")
    assert run(f"{again} --quiet\n", spacy_command, **FEW).stdout == ""
    lines = run(f"{again} --json-progress\n", spacy_command, **FEW).stdout.splitlines()
    assert "2 done before" in lines[0] and all(json.loads(line)["event"] == "message" for line in lines)


@pytest.mark.programs
def test_worth_it(place: Path, spacy_command: Any) -> None:
    """The commands behind the figures, shortened."""
    shutil.rmtree(place / "out")
    pretrain, evaluate = blocks("worth-it.md", "sh")
    if trains_jobs():
        run(pretrain, spacy_command, SPACY_CONFIG_OVERRIDES="--pretraining.max_epochs=1")
    else:
        assert pretrain == "python -m spacy t2v pretrain demo/french/config.cfg out --t2v.held_out 0\n"
        (place / "out").mkdir()
        shutil.copy(place / "job" / "tok2vec.bin", place / "out" / "model-last.bin")
    shown = run(evaluate.replace("--sizes 10,20,40,80,all --seeds 3", "--sizes 10 --seeds 1"), spacy_command, **FEW).stdout
    assert "with model-last.bin" in shown


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


@pytest.mark.programs
def test_getting_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spacy_command: Any) -> None:
    """The whole page, from texts to the report. If the programs are not built, the weights are those that a run begins with."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("getting-started.md", "python")
    (tmp_path / "texts.py").write_text(code)
    made, config, pretrain, *rest = blocks("getting-started.md", "sh")
    assert made == "python texts.py\n"
    subprocess.run([sys.executable, "texts.py"], check=True)
    run(config, spacy_command)
    if trains_jobs():
        run(pretrain.replace("max_epochs 5", "max_epochs 1"), spacy_command)
    else:
        compile_job(Path("config.cfg"), tmp_path / "job", ["--paths.raw_text", "raw.jsonl"], verified=0)
        (tmp_path / "out").mkdir()
        shutil.copy(tmp_path / "job" / "tok2vec.bin", tmp_path / "out" / "model-best.bin")
        (tmp_path / "out" / "log.jsonl").write_text('{"nr_word":10,"loss":4.0,"epoch_loss":4.0,"epoch":0}\n')
    told = []
    for block in rest:
        shorter = re.sub(r" --training.max_steps \d+", "", block).replace("--sizes 100,all --seeds 2", "--sizes 20 --seeds 1")
        told.append(run(shorter, spacy_command, **FEW))
    check, train, evaluate, report = told
    assert "Loaded pretrained weights from out/model-best.bin" in train.stdout + train.stderr
    assert "model-best.bin" in evaluate.stdout and "report.html" in report.stdout


def trains_jobs() -> bool:
    """Whether the coordinator is built, and knows jobs."""
    try:
        program = programs.find()
    except InputError:
        return False
    shown = subprocess.run([str(program), "pretrain", "--help"], capture_output=True, text=True)
    return "--job" in shown.stdout + shown.stderr


def test_settings_of_the_comparison_page() -> None:
    """The [t2v] section is a valid one."""
    (section,) = blocks("from-spacy-pretrain.md", "ini")
    assert read_settings(Config().from_str(section)["t2v"])["patience"] == 5


@pytest.mark.parametrize("page", PAGES)
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
