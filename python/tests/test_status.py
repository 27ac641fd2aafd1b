"""`spacy t2v status`: what it says about runs in every state, and that it does not disturb them."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE

from t2v import programs
from t2v.errors import InputError
from t2v.safetensors import write
from t2v.status import lines, status

ROOT = Path(__file__).resolve().parents[2]


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def checkpoint(folder: Path, update: int, epoch: int, words: int, epoch_update: int = 0) -> Path:
    """The part of a checkpoint that status reads."""
    import numpy

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{update}.safetensors"
    write(path, {"parameters.x": numpy.zeros(4)})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    state = {"update": update, "epoch": epoch, "epochUpdate": epoch_update, "wordCount": words}
    header["__metadata__"] = {"format": "t2v-checkpoint", "state": json.dumps(state)}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    return path


def events(out: Path, *rows: dict[str, Any]) -> None:
    (out / "t2v/events.jsonl").write_text("".join(json.dumps({"time": 1.79e9 + i, **row}) + "\n" for i, row in enumerate(rows)))


@pytest.fixture()
def out(tmp_path: Path) -> Path:
    """A run of four epochs that was stopped within its third."""
    out, texts = tmp_path / "out", tmp_path / "raw.jsonl"
    texts.write_text('{"text": "x"}\n')
    (out / "t2v/job").mkdir(parents=True)
    put(out / "t2v/run.json", {"job": str(out / "t2v/job"), "texts": [str(texts)], "n_iter": 4, "epoch_start": 0})
    (out / "t2v/lock").touch()
    checkpoint(out / "t2v/checkpoints", 100, 1, 1000)
    checkpoint(out / "t2v/checkpoints", 250, 2, 2500, epoch_update=50)
    (out / "log.jsonl").write_text('{"nr_word":2000,"loss":9.0,"epoch_loss":4.0,"epoch":1,"loss_per_selected_word":2.5}\n')
    (out / "model1.bin").write_bytes(b"x")
    started = {"kind": "started", "words": 1000, "workers": 2, "nr_word": 0}
    progress = {"kind": "progress", "epoch": 2, "nr_word": 2700, "words_per_second": 100.0, "loss": 2.25, "workers": 3}
    events(out, started, progress, {"kind": "stopped", "status": "interrupted", "why": "stopped by a signal"})
    return out


def test_stopped(out: Path) -> None:
    found = status(out)
    assert (found["state"], found["why"], found["process"]) == ("stopped", "stopped by a signal", None)
    assert (found["epoch"], found["last_epoch"], found["words"], found["total_words"]) == (2, 3, 2500, 4000)
    assert found["checkpoint"]["file"] == "t2v/checkpoints/checkpoint-250.safetensors" and found["loss"] == 2.5
    assert found["resume"] == {"possible": True, "why": "", "command": f"python -m spacy t2v resume {out}"}
    shown = "\n".join(lines(found))
    assert "stopped by a signal" in shown and "2,500 of 4,000 (62.5%)" in shown and "python -m spacy t2v resume" in shown


def test_running(out: Path) -> None:
    events(out, {"kind": "started", "words": 1000, "workers": 2}, json.loads((out / "t2v/events.jsonl").read_text().splitlines()[1]))
    with (out / "t2v/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = status(out)
    assert (found["state"], found["process"]) == ("running", os.getpid())
    assert (found["words"], found["words_per_second"], found["seconds_left"], found["workers"]) == (2700, 100, 13, 3)
    assert found["loss"] == 2.25 and not found["resume"]["possible"]
    assert f"running (process {os.getpid()})" in lines(found)[0]
    assert status(out)["state"] == "killed", "the lock is free again, and no stop was recorded"


def test_it_takes_no_lock_away(out: Path) -> None:
    status(out)
    with (out / "t2v/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_preparing(out: Path) -> None:
    (out / "t2v/run.json").unlink()
    with (out / "t2v/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status(out)["state"] == "preparing"


def test_finished_and_early(out: Path) -> None:
    checkpoint(out / "t2v/checkpoints", 400, 4, 4000)
    found = status(out)
    assert (found["state"], found["epoch"], found["words"]) == ("done", 3, 4000)
    assert found["resume"]["command"] == f"python -m spacy t2v resume {out} --n-iter 8"
    scores = [{"kind": "evaluation", "epoch": epoch, "loss": loss} for epoch, loss in enumerate([3.0, 2.0, 2.5])]
    events(out, {"kind": "started", "words": 1000}, *scores, {"kind": "stopped", "status": "early", "why": "stopped early: patience 1"})
    found = status(out)
    assert found["state"] == "early" and found["held_out"] == {"loss": 2.5, "best_loss": 2.0, "best_epoch": 1}
    assert "2.5000, best 2.0000 after epoch 1" in "\n".join(lines(found))
    assert (found["why"], found["resume"]["command"]) == ("patience 1", f"python -m spacy t2v resume {out} --patience 2")


def test_a_damaged_checkpoint_is_passed_over(out: Path) -> None:
    path = out / "t2v/checkpoints/checkpoint-250.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    checkpoints = status(out)["checkpoint"]
    assert checkpoints["update"] == 100
    for path in (out / "t2v/checkpoints").iterdir():
        path.write_bytes(b"\xff" * 20)
    found = status(out)
    assert found["checkpoint"] is None and found["resume"]["why"].startswith("there is no intact checkpoint")


def test_what_is_missing_is_told(out: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").unlink()
    assert status(out)["resume"] == {"possible": False, "why": f"{tmp_path}/raw.jsonl no longer exists", "command": None}
    put(out / "t2v/run.json", {"texts_loc": "-", "texts": ["-"], "n_iter": 4})
    assert "--texts FILE" in status(out)["resume"]["why"]
    (out / "t2v/texts.spool.jsonl").touch()
    assert status(out)["resume"]["possible"]


def test_spacy_2_and_the_earlier_layout(out: Path, tmp_path: Path) -> None:
    options = {"texts_loc": str(tmp_path / "raw.jsonl"), "vectors_model": str(tmp_path), "n_iter": 4, "t2v_version": "0.1.0"}
    put(out / "t2v/run.json", options)
    (out / "t2v/events.jsonl").unlink()
    found = status(out)
    assert (found["state"], found["total_words"]) == ("stopped", 4000)
    assert found["resume"]["command"] == f"t2v-coordinator resume {out}"
    old = tmp_path / "old"
    put(old / "config.json", options)
    checkpoint(old / "checkpoints", 100, 1, 1000)
    assert status(old)["checkpoint"]["update"] == 100


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: None, "no such folder"),
        (lambda out: out.mkdir(), "the folder holds no run"),
        (lambda out: (out / "t2v/job").mkdir(parents=True), "never began"),
        (lambda out: put(out / "log.jsonl", {}), "a run of `spacy pretrain`"),
    ],
)
def test_no_run(tmp_path: Path, make: Callable[[Path], Any], words: str) -> None:
    make(tmp_path / "none")
    with pytest.raises(InputError, match=words):
        status(tmp_path / "none")


@pytest.mark.programs
def test_real_runs(tmp_path: Path, corpus: Path, spacy_command: Callable[..., Any]) -> None:
    """A real run, while it waits for workers, killed, resumed and finished; and a run of spaCy 2's options."""
    try:
        program = str(programs.find())
    except InputError:
        pytest.skip("the programs are not built")
    out, second = tmp_path / "out", tmp_path / "second"
    raw = ["--paths.raw_text", str(corpus), "--pretraining.max_epochs", "2", "--no-report", "--verify", "0"]
    assert spacy_command("t2v", "pretrain", str(BASE), str(out), *raw, "--workers", "1").returncode == 0
    found = json.loads(spacy_command("t2v", "status", str(out), "--json").stdout)
    assert (found["state"], found["epoch"], found["last_epoch"]) == ("done", 1, 1)
    assert found["checkpoint"]["words"] == found["words"] == found["total_words"] and "model1.bin" in found["weights"]
    waiting = subprocess.Popen(
        [program, "resume", str(out), "--n-iter", "3", "--workers", "0", "--bind", "tcp://127.0.0.1:*"], stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: status(out)["state"] == "running")
        assert status(out)["process"] == waiting.pid and "running" in spacy_command("t2v", "status", str(out)).stdout
    finally:
        waiting.kill()
        waiting.wait()
    found = status(out)
    assert found["state"] in ("stopped", "killed") and found["resume"]["command"] == f"python -m spacy t2v resume {out}"
    demo = ROOT / "demo"
    plain = [program, "pretrain", str(demo / "texts.jsonl"), str(demo / "vectors"), str(second), "-i", "1", "-cw", "16", "--workers", "1"]
    subprocess.run([*plain, "--embed-rows", "100", "--cache", str(tmp_path / "cache")], check=True, stdout=subprocess.DEVNULL)
    found = status(second)
    assert found["state"] == "done" and found["resume"]["command"] == f"t2v-coordinator resume {second} --n-iter 2"


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
