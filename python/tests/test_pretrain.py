"""`pretrain` and `resume`: the coordinator's arguments, and what happens to a folder that holds a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE

from t2v import programs
from t2v.errors import InputError
from t2v.programs import split

COORDINATOR = """#!/bin/sh
[ "$1" = features ] && exit 1
printf '%s\\n' "$@" > "$T2V_SEEN"
exit 75
"""


@pytest.fixture()
def run(tmp_path: Path, corpus: Path, spacy_command: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `spacy t2v ...` with a coordinator that records its arguments and ends with 75; returns (status, arguments, error)."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "t2v-coordinator").write_text(COORDINATOR)
    (binaries / "t2v-coordinator").chmod(0o755)
    seen = tmp_path / "seen"

    def run(*args: str) -> Any:
        seen.unlink(missing_ok=True)
        done = spacy_command("t2v", *args, T2V_BIN=str(binaries), T2V_SEEN=str(seen))
        return done.returncode, seen.read_text().splitlines() if seen.exists() else None, done.stderr

    return run


def make_run(out: Path) -> None:
    (out / "t2v").mkdir(exist_ok=True)
    (out / "t2v/run.json").write_text("{}")


def test_compiles_and_becomes_the_coordinator(run: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "out"
    raw = ["--paths.raw_text", str(corpus), "--verify", "0"]
    status, arguments, _ = run("pretrain", str(BASE), str(out), *raw, "--workers", "3", "--pretraining.max_epochs=1", "--insecure", "-L")
    assert status == 75
    assert arguments == ["pretrain", "--job", str(out / "t2v/job"), str(out), "--workers", "3", "--insecure"]
    job = json.loads((out / "t2v/job/job.json").read_text())
    assert (job["training"]["max_epochs"], job["training"]["skip_last"], job["training"]["epoch_start"]) == (1, True, 0)


def test_a_run_is_not_touched_without_a_word(run: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "out"
    raw = ["--paths.raw_text", str(corpus), "--verify", "0"]
    run("pretrain", str(BASE), str(out), *raw)
    make_run(out)
    before = (out / "t2v/job/job.json").stat().st_ino
    status, arguments, error = run("pretrain", str(BASE), str(out), *raw)
    assert (status, arguments) == (2, None) and "holds a run" in error and "--overwrite" in error
    status, arguments, _ = run("pretrain", str(BASE), str(out), *raw, "--overwrite")
    assert arguments == ["pretrain", "--job", str(out / "t2v/job.new"), str(out), "--overwrite"]
    assert (out / "t2v/job/job.json").stat().st_ino == before and (out / "t2v/job.new/job.json").exists()


def test_resume_auto(run: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "out"
    command = ["pretrain", str(BASE), str(out), "--paths.raw_text", str(corpus), "--verify", "0", "--resume", "auto", "--workers", "2"]
    assert run(*command)[1] == ["pretrain", "--job", str(out / "t2v/job"), str(out), "--workers", "2"]
    make_run(out)
    assert run(*command)[1] == ["resume", str(out), "--workers", "2"]
    assert run(*command, "--pretraining.max_epochs", "9")[1] == ["resume", str(out), "--n-iter", "9", "--workers", "2"]
    status, arguments, error = run(*command, "--pretraining.dropout", "0.5")
    assert (status, arguments) == (2, None) and "pretraining.dropout differ" in error
    assert run("resume", str(out), "--metrics", "localhost:0")[1] == ["resume", str(out), "--metrics", "localhost:0"]


def test_start_from_weights(run: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    raw = ["--paths.raw_text", str(corpus), "--verify", "0"]
    run("pretrain", str(BASE), str(tmp_path / "one"), *raw, "--training.seed", "5")
    weights = tmp_path / "model3.bin"
    weights.write_bytes((tmp_path / "one/t2v/job/tok2vec.bin").read_bytes())
    status, _, _ = run("pretrain", str(BASE), str(tmp_path / "two"), *raw, "-r", str(weights))
    job = json.loads((tmp_path / "two/t2v/job/job.json").read_text())
    assert status == 75 and job["training"]["epoch_start"] == 4
    assert (tmp_path / "two/t2v/job/tok2vec.bin").read_bytes() == weights.read_bytes()
    status, _, error = run(
        "pretrain", str(BASE), str(tmp_path / "three"), *raw, "-r", str(weights), "--components.tok2vec.model.encode.depth", "1"
    )
    assert status == 2 and "do not fit" in error


def test_refuses_a_gpu(run: Callable[..., Any], tmp_path: Path) -> None:
    status, _, error = run("pretrain", str(BASE), str(tmp_path / "out"), "-g", "0")
    assert status == 2 and "CPUs" in error


def test_says_where_programs_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T2V_BIN", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(programs, "candidates", lambda name: [tmp_path / name])
    with pytest.raises(InputError, match="t2v-coordinator is not installed.*T2V_BIN"):
        programs.find()
    (tmp_path / "t2v-coordinator").write_text("")
    (tmp_path / "t2v-coordinator").chmod(0o755)
    assert programs.find() == tmp_path / "t2v-coordinator"


def test_splits_arguments() -> None:
    given = ["--a.b", "1", "--workers", "2", "--c.d", "--overwrite", "--e.f=--x", "--bind=tcp://1.2.3.4:5"]
    assert split(given) == (["--a.b", "1", "--c.d", "--e.f=--x"], ["--workers", "2", "--overwrite", "--bind=tcp://1.2.3.4:5"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--worker", "2"], "did you mean"),
        (["--workers"], "a value is missing"),
        (["texts.jsonl"], "one too many"),
        (["--x", "2"], "a dot"),
    ],
)
def test_refuses_arguments(given: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        split(given)
