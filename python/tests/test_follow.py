"""Loggers and TensorBoard, fed during a run, from the files that it appends to. The coordinator is played by a small script."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE
from thinc.api import Config

from t2v import follow, programs, sinks
from t2v.errors import InputError
from t2v.events import Tail
from t2v.settings import read_settings

COORDINATOR = """
import json, signal, sys, time
from pathlib import Path
out, status = Path(sys.argv[1]), int(sys.argv[2])
(out / "t2v").mkdir(parents=True, exist_ok=True)
def write(name, **row):
    with (out / name).open("a") as stream:
        stream.write(json.dumps(row) + "\\n")
for epoch in range(3):
    words = 1000 * (epoch + 1)
    moment = 1790000000 + epoch
    write("t2v/events.jsonl", time=moment, kind="progress", nr_word=words, words_per_second=50.0, workers=2, loss=3.0 - epoch)
    write("log.jsonl", nr_word=words, loss=9.0, epoch_loss=9.0, epoch=epoch, loss_per_selected_word=3.0 - epoch)
    write("t2v/events.jsonl", time=moment, kind="evaluation", epoch=epoch, nr_word=words, loss=4.0 - epoch, best=True)
if status == 75:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    print("ready", flush=True)
    time.sleep(60)
sys.exit(status)
"""

LOGGER = """
import json, os, time
from pathlib import Path
import spacy
@spacy.registry.loggers("own.Logger.v1")
def own(path: str, fails: bool = False, hangs: bool = False):
    def setup_logger(nlp, stdout, stderr):
        rows = [nlp.config["pretraining"]["component"], nlp.pipe_names]
        def log_step(info):
            if fails:
                raise RuntimeError("the server is away")
            rows.append(info)
        def finalize():
            while hangs:
                try:
                    time.sleep(9)
                except ValueError:
                    pass
            Path(path).write_text(json.dumps(rows))
        return log_step, finalize
    return setup_logger
"""


@pytest.fixture()
def place(tmp_path: Path) -> Path:
    (tmp_path / "coordinator.py").write_text(COORDINATOR)
    (tmp_path / "loggers.py").write_text(LOGGER)
    (tmp_path / "out").mkdir()
    return tmp_path


def config(place: Path, **own: Any) -> Path:
    raw = Config().from_disk(BASE, interpolate=False)
    raw["t2v"] = own
    path = place / "config.cfg"
    raw.to_disk(path)
    return path


def command(place: Path, settings: Path, status: int = 0, code: bool = True) -> list[str]:
    words = [str(place / "out"), str(settings), str(place / "loggers.py") if code else "", "", sys.executable]
    return [*words, str(place / "coordinator.py"), str(place / "out"), str(status)]


def test_own_logger_gets_what_spacy_train_gives(place: Path) -> None:
    settings = config(place, logger={"@loggers": "own.Logger.v1", "path": str(place / "seen.json")})
    assert follow.asks_for_sinks(settings)
    assert follow.main(command(place, settings)) == 0
    component, pipes, *infos = json.loads((place / "seen.json").read_text())
    assert (component, pipes) == ("tok2vec", ["tok2vec"])
    assert len(infos) == 9
    assert set(infos[-1]) == {"epoch", "step", "score", "other_scores", "losses", "checkpoints", "seconds", "words"}
    assert infos[-1]["words"] == 3000
    assert {"tok2vec": 1.0} in [info["losses"] for info in infos]
    held_out = [info["score"] for info in infos if "held_out_loss" in info["other_scores"]]
    assert held_out[-1] == -2.0
    assert infos[-1]["other_scores"]["words_per_second"] == 50.0


def test_a_logger_that_fails_does_not_end_the_run(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = config(place, logger={"@loggers": "own.Logger.v1", "path": str(place / "seen.json"), "fails": True})
    assert follow.main(command(place, settings)) == 0
    assert capfd.readouterr().err.count("own.Logger.v1 failed and will get nothing more: RuntimeError: the server is away") == 1


def test_a_logger_that_does_not_end_is_left_behind(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "CLOSING", 0.2)
    settings = config(place, logger={"@loggers": "own.Logger.v1", "path": str(place / "seen.json"), "hangs": True})
    assert follow.main(command(place, settings)) == 0
    assert "failed and will get nothing more: TimeoutError: it did not end within 0.2 seconds" in capfd.readouterr().err
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_logger_that_cannot_be_made_is_told_before_the_run(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = config(place, logger={"@loggers": "own.Missing.v1"})
    assert follow.main(command(place, settings, code=False)) == 2
    assert "[t2v.logger]" in capfd.readouterr().err
    assert not (place / "out" / "log.jsonl").exists()


def test_console_logger_of_spacy(place: Path) -> None:
    target = place / "console.jsonl"
    settings = config(place, logger={"@loggers": "spacy.ConsoleLogger.v3", "console_output": False, "output_file": str(target)})
    assert follow.main(command(place, settings)) == 0
    assert len(target.read_text().splitlines()) == 9


def test_mlflow_with_a_local_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (place / "mlruns").as_uri())
    mlflow.set_tracking_uri((place / "mlruns").as_uri())
    settings = config(place, logger={"@loggers": "spacy.MLflowLogger.v2", "run_name": "pretraining"})
    assert follow.main(command(place, settings)) == 0
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FINISHED" and run.info.run_name == "pretraining"
    history = [metric.value for metric in mlflow.MlflowClient().get_metric_history(run.info.run_id, "held_out_loss")]
    assert history[-1] == 2.0 and history[0] == 4.0
    assert run.data.metrics["loss_tok2vec"] == 1.0
    assert run.data.params["pretraining.max_epochs"] == "2"


def test_tensorboard_reads_the_scalars(place: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = config(place, tensorboard=str(place / "board"))
    assert follow.main(command(place, settings, code=False)) == 0
    read = EventAccumulator(str(place / "board"))
    read.Reload()
    found = {tag: [(event.step, read_value(event)) for event in read.Tensors(tag)] for tag in read.Tags()["tensors"]}
    assert found["loss/held_out"] == [(1000, 4.0), (2000, 3.0), (3000, 2.0)]
    assert found["workers"][-1] == (3000, 2.0)
    assert (1000, 3.0) in found["loss/train"]


@pytest.mark.programs
def test_a_real_run_feeds_real_loggers(
    tmp_path: Path, corpus: Path, spacy_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """[pretraining.logger] with a chain of MLflow and spaCy's own, and TensorBoard beside it, through the real coordinator."""
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    try:
        programs.find()
    except InputError:
        pytest.skip("the programs are not built")
    raw = Config().from_disk(BASE, interpolate=False)
    chain = {
        "@loggers": "spacy.ChainLogger.v1",
        "logger1": {"@loggers": "spacy.MLflowLogger.v2", "run_name": "real"},
        "logger2": {"@loggers": "spacy.ConsoleLogger.v3", "console_output": False, "output_file": str(tmp_path / "console.jsonl")},
    }
    raw["pretraining"]["logger"] = chain
    raw["t2v"] = {"tensorboard": str(tmp_path / "board")}
    raw.to_disk(tmp_path / "config.cfg")
    store = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri()}
    arguments = ["--paths.raw_text", str(corpus), "--pretraining.max_epochs", "3", "--verify", "0", "--workers", "1", "--no-report"]
    done = spacy_command("t2v", "pretrain", str(tmp_path / "config.cfg"), str(tmp_path / "out"), *arguments, **store)
    assert done.returncode == 0 and "will get nothing more" not in done.stderr, done.stdout + done.stderr
    log = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()][:3]
    losses = {row["nr_word"]: pytest.approx(row["loss_per_selected_word"], rel=1e-5) for row in log}
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(store["MLFLOW_TRACKING_URI"])
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FINISHED" and run.data.metrics["loss_tok2vec"] == losses[log[-1]["nr_word"]]
    read = EventAccumulator(str(tmp_path / "board"))
    read.Reload()
    found = {event.step: read_value(event) for event in read.Tensors("loss/train")}
    assert {step: found.get(step) for step in losses} == losses
    assert len((tmp_path / "console.jsonl").read_text().splitlines()) >= 3


def read_value(event: Any) -> float:
    from tensorboard.util import tensor_util

    return float(tensor_util.make_ndarray(event.tensor_proto))


def test_exit_status_and_signals_pass(place: Path) -> None:
    settings = config(place, logger={"@loggers": "own.Logger.v1", "path": str(place / "seen.json")})
    assert follow.main(command(place, settings, status=1)) == 1
    process = subprocess.Popen(
        [sys.executable, "-m", "t2v.follow", *command(place, settings, status=75)], stdout=subprocess.PIPE, cwd=BASE.parent.parent
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    assert len(json.loads((place / "seen.json").read_text())) == 2 + 9, "what came before the signal was not logged"


def test_tail_reads_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 0}\n')
    tail = Tail(path)
    with path.open("a") as stream:
        stream.write('{"a": 1}\nno JSON\n{"a":')
    assert tail.rows() == [{"a": 1}]
    with path.open("a") as stream:
        stream.write(" 2}\n")
    assert tail.rows() == [{"a": 2}]
    with path.open("r+") as stream:
        stream.truncate(9)
    assert tail.rows() == []
    with path.open("a") as stream:
        stream.write('{"a": 3}\n')
    assert tail.rows() == [{"a": 3}]
    path.unlink()
    assert tail.rows() == []
    time.sleep(0.01)
    (tmp_path / "new").write_text('{"a": 4}\n')
    (tmp_path / "new").rename(path)
    assert tail.rows() == [{"a": 4}]


def test_figures() -> None:
    assert sinks.figures_of({"epoch_loss": 2.0, "nr_word": 5}, "log") == {"loss": 2.0, "nr_word": 5.0}
    assert sinks.figures_of({"loss": float("inf"), "workers": True}, "progress") == {}
    assert sinks.figures_of({"loss": 1.0}, "unknown") == {}
    assert sinks.figures_of({"epoch_loss": 0.0, "nr_word": 5, "loss_per_selected_word": 0.0}, "log") == {}


def test_settings_know_the_keys() -> None:
    assert read_settings({"tensorboard": "board", "logger": {"@loggers": "x"}})["tensorboard"] == "board"
    with pytest.raises(InputError):
        read_settings({"tensorboard": 3})


def test_nothing_to_do_means_no_follower(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Any] = []
    monkeypatch.setattr("t2v.programs.become", lambda program, arguments: became.append(arguments) or sys.exit(0))
    with pytest.raises(SystemExit):
        follow.become(Path("program"), ["resume", "out", "--no-report"], place / "out", config(place), None)
    assert became == [["resume", "out"]]
