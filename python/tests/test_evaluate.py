"""`spacy t2v evaluate` with the real `spacy train`: the same score as by hand, resumable.
It refuses weights that nothing loads or uses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import spacy
from conftest import BASE, SENTENCES, arguments
from spacy.tokens import DocBin, Span
from thinc.api import Config

from t2v import evaluate, samples, trainings
from t2v.compile import compile_job
from t2v.curves import Cell, compare, table, verdicts
from t2v.errors import InputError


def labelled(path: Path, count: int = 12) -> Path:
    """Sentences whose words are tagged by their length, with a category and a span."""
    nlp = spacy.blank("en")
    documents = DocBin(store_user_data=True)
    for number in range(count):
        document = nlp.make_doc(SENTENCES[number % len(SENTENCES)])
        for token in document:
            token.tag_ = f"L{min(len(token), 4)}"
        document.cats = {"odd": float(number % 2)}
        document.spans["all"] = [Span(document, 0, 2, label="START")]
        document.user_data["number"] = number
        documents.add(document)
    documents.to_disk(path)
    return path


def task(path: Path, listener: bool = True, pretraining: bool = True) -> Path:
    """The config of the tests, and a tagger that listens to the pretrained layer, or has one of its own."""
    config = Config().from_disk(BASE, interpolate=False)
    config["nlp"]["pipeline"] = ["tok2vec", "tagger"]
    own = config["components"]["tok2vec"]["model"]
    heard = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "tok2vec"}
    model = {"@architectures": "spacy.Tagger.v2", "nO": None, "normalize": False, "tok2vec": heard if listener else own}
    config["components"]["tagger"] = {"factory": "tagger", "model": model}
    config["paths"].update(train=None, dev=None)
    for kind in ("train", "dev"):
        config["corpora"][kind] = {"@readers": "spacy.Corpus.v1", "path": f"${{paths.{kind}}}"}
    config["training"].update(max_steps=6, eval_frequency=3, dropout=0.1)
    if not pretraining:
        del config["pretraining"]
    config.to_disk(path)
    return path


@pytest.fixture()
def place(tmp_path: Path, corpus: Path) -> Path:
    """A folder with task.cfg, train.spacy, dev.spacy, and out/model-last.bin, which fits the config."""
    compile_job(BASE, tmp_path / "job", arguments({"paths.raw_text": str(corpus), "training.seed": 7}))
    (tmp_path / "out").mkdir()
    (tmp_path / "job" / "tok2vec.bin").rename(tmp_path / "out" / "model-last.bin")
    labelled(tmp_path / "train.spacy")
    labelled(tmp_path / "dev.spacy", 4)
    task(tmp_path / "task.cfg")
    return tmp_path


def request(place: Path, **changes: Any) -> evaluate.Request:
    given = {"sizes": "all", "seeds": 1, "weights": "", "code": None, "gpu": -1, "jobs": 2, "overrides": [], "config": place / "task.cfg"}
    return evaluate.Request(**{"out": place / "out", "train": place / "train.spacy", "dev": place / "dev.spacy", **given, **changes})


def by_hand(place: Path, weights: str) -> float:
    """The best score in the table that `spacy train` prints."""
    paths = ["--paths.train", str(place / "train.spacy"), "--paths.dev", str(place / "dev.spacy")]
    command = [sys.executable, "-m", "spacy", "train", str(place / "task.cfg"), *paths, "--initialize.init_tok2vec", weights]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    return max(float(row[-1]) for row in rows if len(row) > 3 and row[0].isdigit() and row[1].isdigit())


def test_scores_are_those_of_a_training_by_hand_and_nothing_is_done_twice(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = evaluate.evaluate(request(place))
    assert [(cell.size, cell.weights) for cell in cells] == [(12, None), (12, "model-last.bin")]
    hand = [by_hand(place, "null"), by_hand(place, str(place / "out" / "model-last.bin"))]
    assert [round(cell.scores[0], 2) for cell in cells] == hand
    folder = place / "out" / "t2v" / "evaluate"
    assert len((folder / "results.jsonl").read_text().splitlines()) == 2
    assert (folder / "table.csv").read_text().splitlines()[0] == "documents,weights,seed,score"
    monkeypatch.setattr(trainings, "run", lambda *_: pytest.fail("a training was done again"))
    with (folder / "results.jsonl").open("a") as stream:
        stream.write('{"key": "cut of')
    assert evaluate.evaluate(request(place)) == cells
    with pytest.raises(pytest.fail.Exception):
        evaluate.evaluate(request(place, overrides=["--training.dropout", "0.2"]))


def test_weights_that_spacy_ignores_are_told(place: Path) -> None:
    task(place / "task.cfg", pretraining=False)
    with pytest.raises(InputError, match="no \\[pretraining\\] block.*fill-config"):
        evaluate.evaluate(request(place))
    plan = trainings.Plan(place / "task.cfg", [], "paths.train", "paths.dev", None, -1, place / "work")
    one = trainings.Training("key", 12, 0, place / "out" / "model-last.bin", place / "train.spacy", place / "dev.spacy")
    with pytest.raises(InputError, match="spaCy trained, but did not load"):
        trainings.run(plan, one, set())


def test_weights_that_nothing_uses_are_told(place: Path) -> None:
    task(place / "task.cfg", listener=False)
    with pytest.raises(InputError, match="every score is the same"):
        evaluate.evaluate(request(place))


def test_weights_of_another_config_are_told(place: Path) -> None:
    with pytest.raises(InputError, match="Attempt to change dimension.*another config"):
        evaluate.evaluate(request(place, overrides=["--components.tok2vec.model.embed.rows", "[50, 30, 40, 21]"]))


def test_samples_are_nested_and_keep_everything(tmp_path: Path) -> None:
    whole = samples.read_labelled(labelled(tmp_path / "all.spacy"), "--train")
    assert set(samples.chosen(12, 3, 5)) < set(samples.chosen(12, 7, 5)) < set(samples.chosen(12, 12, 5))
    assert samples.chosen(12, 3, 5) != samples.chosen(12, 3, 6)
    samples.write_sample(whole, 3, 5, tmp_path / "part.spacy")
    vocab = spacy.blank("en").vocab
    part = list(DocBin().from_disk(tmp_path / "part.spacy").get_docs(vocab))
    every = list(whole.documents.get_docs(vocab))
    for document, index in zip(part, samples.chosen(12, 3, 5)):
        same = every[index]
        assert document.user_data["number"] == index
        assert [(token.text, token.tag_, token.whitespace_) for token in document] == [
            (token.text, token.tag_, token.whitespace_) for token in same
        ]
        assert document.cats == same.cats
        assert [(span.start, span.end, span.label_) for span in document.spans["all"]] == [(0, 2, "START")]


def test_labelled_data_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.spacy").write_text("text")
    DocBin().to_disk(tmp_path / "empty.spacy")
    (tmp_path / "folder").mkdir()
    for name, what in [
        ("none", "no such file"),
        ("bad.spacy", "not a .spacy file"),
        ("empty.spacy", "no document"),
        ("folder", "ends in .spacy"),
    ]:
        with pytest.raises(InputError, match=what):
            samples.read_labelled(tmp_path / name, "--train")


def test_sizes() -> None:
    assert samples.read_sizes("100, 500,2000,all", 700) == [100, 500, 700]
    for wrong in ("", "0", "x", "1,,2", "-3"):
        with pytest.raises(InputError, match="not a number of documents"):
            samples.read_sizes(wrong, 700)


def test_best_weights_come_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model-best.bin"):
        evaluate.find_weights(tmp_path, "")
    for name in ("model3.bin", "model-last.bin", "model-best.bin"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in evaluate.find_weights(tmp_path, "")] == ["model-best.bin"]
    assert [file.name for file in evaluate.find_weights(tmp_path, "model3.bin,model-last.bin")] == ["model3.bin", "model-last.bin"]
    with pytest.raises(InputError, match="no such file"):
        evaluate.find_weights(tmp_path, "model4.bin")


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [([0.7, 0.72, 0.71], "helps"), ([0.5, 0.55, 0.52], "hurts"), ([0.61, 0.60, 0.67], "no difference"), ([0.9], "unknown")],
)
def test_verdict_needs_more_than_the_spread(scores: list[float], verdict: str) -> None:
    cells = [Cell(100, None, [0.62, 0.61, 0.63][: len(scores)]), Cell(100, "model-best.bin", scores)]
    assert compare(cells)[0].verdict == verdict
    assert verdict in table(cells)
    words = {"helps": "helps with 100", "hurts": "makes it worse", "no difference": "does not help here", "unknown": "one seed"}
    assert any(words[verdict] in sentence for sentence in verdicts(cells))


def test_nothing_learned_is_no_verdict() -> None:
    cells = [Cell(100, None, [0.0, 0.0]), Cell(100, "model-best.bin", [0.0, 0.0])]
    assert verdicts(cells) == ["Every score is 0: nothing was learned, so nothing can be said. Train longer, or give more documents."]


def test_a_wrong_option_is_one_line(spacy_command: Any, place: Path) -> None:
    paths = ["--train", str(place / "train.spacy"), "--dev", str(place / "dev.spacy")]
    result = spacy_command("t2v", "evaluate", str(place / "task.cfg"), str(place / "out"), *paths, "--sizs", "3")
    assert result.returncode == 2
    assert "no such option: --sizs" in result.stderr
    assert "Traceback" not in result.stderr


def test_summary_is_what_the_report_reads(tmp_path: Path) -> None:
    cells = [Cell(10, None, [0.1, 0.2]), Cell(10, "model-best.bin", [0.3, 0.4])]
    evaluate.write(tmp_path, request(tmp_path), cells)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [Cell(**cell) for cell in summary["cells"]] == cells


def test_stopping_ends_the_trainings(place: Path, tmp_path: Path) -> None:
    """SIGTERM, as from a batch system: status 75, and no training is left behind."""
    log = tmp_path / "shown"
    command = [sys.executable, "-m", "t2v", "evaluate", str(place / "task.cfg"), str(place / "out"), "--training.max_steps", "100000"]
    paths = ["--train", str(place / "train.spacy"), "--dev", str(place / "dev.spacy"), "--sizes", "all", "--training.patience", "0"]
    with log.open("w") as stream:
        process = subprocess.Popen([*command, *paths], stdout=stream, stderr=stream, cwd=BASE.parents[1])
    logs = place / "out" / "t2v" / "evaluate" / "logs"
    deadline = time.monotonic() + 60
    while not (logs.is_dir() and any("Pipeline" in file.read_text() for file in logs.iterdir())):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=60) == 75, log.read_text()
    assert "the same command continues from here" in log.read_text()
    running = subprocess.run(["pgrep", "-f", str(place / "task.cfg")], capture_output=True, text=True).stdout
    assert running == ""
