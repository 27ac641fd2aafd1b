"""`spacy t2v bench` with the real spaCy, and a stand-in for the coordinator that reports how many words it has trained on."""

from __future__ import annotations

import gzip
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import BASE, SENTENCES

from t2v import bench
from t2v.errors import InputError
from t2v.words import duration

COORDINATOR = """#!{python}
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
if "--metrics" not in sys.argv:
    print("{{}}")
    sys.exit(0)
begun = time.monotonic()
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        threads = int(sys.argv[sys.argv.index("--threads") + 1])
        passed = (time.monotonic() - begun) // {update} * {update}
        words = 1 + int(passed * 100_000 * threads)
        self.wfile.write(b"# TYPE t2v_words_total counter\\nt2v_words_total %d\\n" % words)
    def log_message(self, *_):
        pass
host, port = sys.argv[sys.argv.index("--metrics") + 1].split(":")
HTTPServer((host, int(port)), Page).serve_forever()
"""


@pytest.fixture()
def coordinator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "t2v-coordinator"
    program.write_text(COORDINATOR.format(python=sys.executable, update=0.001))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(bench.programs, "find", lambda: program)
    monkeypatch.setenv("PYTHONPATH", str(BASE.parent.parent))
    monkeypatch.setattr(bench, "compile_job", lambda config, job, arguments, code: job.mkdir())
    return program


def test_both_are_measured(coordinator: Path, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    figures = bench.bench(BASE, corpus, 1.5, None, [])
    assert [(item.program, item.cores) for item in figures][:2] == [("spaCy", 1), ("t2v", 1)]
    assert figures[0].words_per_second > 50
    assert figures[0].memory > 30e6
    assert all(90_000 * item.cores < item.words_per_second < 110_000 * item.cores for item in figures[1:])
    assert os.sched_getaffinity(0) == before
    told = capsys.readouterr()
    assert "the machine is busy (load 99.0)" in told.err
    shown = told.out.splitlines()
    assert shown[0].split("  ")[0] == "program" and "an epoch of your texts" in shown[0]
    assert shown[-1] == f"The texts have {words(corpus):,} words."


def words(corpus: Path) -> int:
    import spacy

    nlp = spacy.blank("en")
    return sum(len(nlp.make_doc(json.loads(line)["text"])) for line in corpus.open(encoding="utf8"))


def test_what_goes_wrong_is_told(coordinator: Path, tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match="give 1 to 3600"):
        bench.bench(BASE, corpus, 0, None, [])
    with pytest.raises(InputError, match="no such file"):
        bench.bench(BASE, tmp_path / "none.jsonl", 1, None, [])
    coordinator.write_text("#!/bin/sh\necho something is wrong\nexit 1\n")
    with pytest.raises(InputError, match="t2v trained nothing that could be measured: something is wrong"):
        bench.t2v_figure(coordinator, tmp_path, tmp_path, 1, [0])


def test_updates_that_take_longer_than_the_measurement(coordinator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator.write_text(COORDINATOR.format(python=sys.executable, update=3))
    assert 30_000 < bench.t2v_figure(coordinator, tmp_path, tmp_path, 0.5, [0]).words_per_second < 400_000
    coordinator.write_text(COORDINATOR.format(python=sys.executable, update=1000))
    monkeypatch.setattr(bench, "PATIENCE", 1.0)
    with pytest.raises(InputError, match="t2v trained nothing that could be measured"):
        bench.t2v_figure(coordinator, tmp_path, tmp_path, 0.5, [0])


def test_a_large_corpus_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SAMPLE_BYTES", 2000)
    lines = [json.dumps({"text": SENTENCES[number % 4]}) for number in range(400)]
    (tmp_path / "one.jsonl").write_text("\n".join(lines[:200]))
    with gzip.open(tmp_path / "two.jsonl.gz", "wt") as stream:
        stream.write("\n".join(lines[200:]))
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl.gz"]
    taken = bench.cut(files, tmp_path / "sample.jsonl")
    assert 2000 <= taken == (tmp_path / "sample.jsonl").stat().st_size < 2200
    total = sum(bench.size_of(file) for file in files)
    assert total == sum(map(len, lines)) + 400 - 2
    every = bench.count_words(tmp_path / "one.jsonl", "jsonl", "en") * 2
    assert bench.count_words(tmp_path / "sample.jsonl", "jsonl", "en") * total / taken == pytest.approx(every, rel=0.1)


@pytest.mark.parametrize(("seconds", "words"), [(30, "30 seconds"), (100, "1.7 minutes"), (7200, "2.0 hours"), (1e6, "11.6 days")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_an_override_may_stand_where_texts_may(spacy_command: Any, tmp_path: Path) -> None:
    result = spacy_command("t2v", "bench", str(BASE), "--paths.raw_text", str(tmp_path / "none.jsonl"), "--seconds", "0")
    assert result.returncode == 2 and "--seconds 0" in result.stderr


def test_the_first_update_does_not_count() -> None:
    assert bench.speed([(10.0, 5000.0), (11.0, 6000.0), (12.0, 7000.0)]) == 1000.0


def test_keeps_our_section_from_spacy():
    arguments = ["--paths.raw_text", "a", "--t2v.precision", "bf16", "--t2v.lanes=2", "--training.seed", "1"]
    assert bench.without_t2v(arguments) == ["--paths.raw_text", "a", "--training.seed", "1"]
