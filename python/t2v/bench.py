"""`spacy t2v bench`: how much faster is t2v here, with this config? In: a config, texts. Out: spaCy's own pretrain and t2v, one after the
other on the same pinned cores: words per second, memory, days per epoch of the whole corpus. Nothing is left behind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import programs, reader
from .compile import compile_job
from .config import Config, import_code, load, read_overrides
from .display import warn
from .errors import InputError
from .words import duration

SAMPLE_BYTES = 8_000_000
"""Of the texts: enough for a few minutes, and little enough to be prepared at once."""
ALIKE = ["--t2v.held_out", "0", "--t2v.evaluate_every", "null", "--t2v.patience", "0"]
"""spaCy trains on every document and scores none; for the comparison, t2v does the same."""
PATIENCE = 300.0
"""Seconds within which the first update must happen."""

Point = tuple[float, float]
"""(seconds, words trained on)"""


@dataclass(frozen=True)
class Figure:
    """One program's speed. `memory`: the peak resident set of all its processes together, in bytes."""

    program: str
    cores: int
    words_per_second: float
    memory: int


@dataclass(frozen=True)
class Corpus:
    """The texts: a sample for the measurements, and the size of the whole, which is estimated from the sample."""

    sample: Path
    words: float
    """Tokens of all texts."""
    sampled: bool


def bench(config_path: Path, texts: Optional[Path], seconds: float, code: Optional[Path], arguments: list[str]) -> list[Figure]:
    """Measures, and prints a table.

    Raises: InputError.
    """
    if not 1 <= seconds <= 3600:
        raise InputError(f"--seconds {seconds:g}", "", "give 1 to 3600")
    program = programs.find()
    import_code(code)
    raw = load(config_path, read_overrides(arguments))
    setting = f"{raw.get('pretraining', {}).get('corpus', 'corpora.pretrain')}.path"
    if texts is not None:
        arguments = [*arguments, f"--{setting}", str(texts.absolute())]
        raw = load(config_path, read_overrides(arguments))
    cores = sorted(os.sched_getaffinity(0))
    if os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1):
        warn(f"the machine is busy (load {os.getloadavg()[0]:.1f}): measure again when it is idle")
    with tempfile.TemporaryDirectory(prefix="t2v-bench-") as name:
        folder = Path(name)
        corpus = read_corpus(raw, setting, folder)
        endless = ["--pretraining.max_epochs", "100000", "--pretraining.n_save_every", "null", "--pretraining.n_save_epoch", "100000"]
        arguments = [*arguments, *endless, f"--{setting}", str(corpus.sample)]
        job = folder / "job"
        compile_job(config_path, job, [*arguments, *ALIKE], code)
        figures = []
        plans: list[tuple[str, list[int], Callable[[list[int]], Figure]]] = [
            ("spaCy's own pretrain", cores[:1], lambda on: spacy_figure(config_path, code, without_t2v(arguments), folder, seconds, on)),
            ("t2v", cores[:1], lambda on: t2v_figure(program, job, folder, seconds, on)),
        ]
        if len(cores) > 1:
            plans.append(("t2v", cores, lambda on: t2v_figure(program, job, folder, seconds, on)))
        for label, on, measure in plans:
            print(f"\u2139 {label} on {len(on)} core{'s' if len(on) > 1 else ''}, {seconds:g} s ...", file=sys.stderr, flush=True)
            figures.append(measure(on))
    print(table(figures, corpus))
    return figures


def without_t2v(arguments: list[str]) -> list[str]:
    """The overrides that spaCy takes too: it refuses those of a section that the config does not have."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("--t2v."):
            kept.append(word)
        elif "=" not in word:
            next(words, None)
    return kept


def read_corpus(raw: Config, setting: str, folder: Path) -> Corpus:
    """A sample of the first texts, and the number of words of all texts, from the sample's words per byte.

    Raises: InputError for readers whose texts cannot be cut.
    """
    from spacy.util import dot_to_object, registry

    config = raw.interpolate()
    section = setting.rsplit(".", 1)[0]
    try:
        corpus = registry.resolve({"corpus": dot_to_object(config, section)})["corpus"]
    except Exception as error:
        raise InputError(f"{type(error).__name__}: {error}", f"[{section}]", "fix the section, or give TEXTS") from None
    form = reader.kind(corpus)
    if form is None:
        raise InputError(
            f"the reader {type(corpus).__name__} is your own, and bench cuts a sample of JSON lines or plain lines only",
            f"[{section}]",
            'give a config with @readers = "spacy.JsonlCorpus.v1" and TEXTS',
        )
    files = [Path(name) for name in reader.sources(corpus, f"[{section}]")]
    if files == [Path("-")]:
        raise InputError("bench reads the texts more than once", f"[{section}]", "give a file")
    sample = folder / ("sample.jsonl" if form == "jsonl" else "sample.txt")
    taken = cut(files, sample)
    total = sum(size_of(file) for file in files)
    words = count_words(sample, form, config["nlp"]["lang"])
    return Corpus(sample, words * total / max(1, taken), taken < total)


def size_of(file: Path) -> int:
    """Bytes of text. A .gz file is read to the end once."""
    if file.suffix != ".gz":
        return file.stat().st_size
    with gzip.open(file, "rb") as stream:
        return sum(len(block) for block in iter(lambda: stream.read(1 << 20), b""))


def cut(files: list[Path], sample: Path) -> int:
    """Writes the first lines of the files; returns the bytes."""
    taken = 0
    with sample.open("wb") as target:
        for file in files:
            opened: Any = gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")
            with opened as stream:
                for line in stream:
                    taken += target.write(line if line.endswith(b"\n") else line + b"\n")
                    if taken >= SAMPLE_BYTES:
                        return taken
    return taken


def count_words(sample: Path, form: str, language: str) -> float:
    """Tokens of the sample, from its first 2,000 lines, by the language's own tokenizer."""
    import spacy

    nlp = spacy.blank(language)
    tokens = taken = 0
    with sample.open("rb") as stream:
        for number, line in enumerate(stream):
            if number >= 2000:
                break
            taken += len(line)
            try:
                text = json.loads(line).get("text") or "" if form == "jsonl" and line.strip() else line.decode("utf8").strip()
            except (ValueError, AttributeError):
                where = f"{sample.name}, line {number + 1}"
                raise InputError("this line is not a JSON record", where, 'give {"text": ...} lines') from None
            tokens += len(nlp.make_doc(str(text)[: nlp.max_length]))
    if not tokens:
        raise InputError("there are no words in the texts", "TEXTS", "check them")
    return tokens * sample.stat().st_size / taken


@contextmanager
def started(command: list[str], cores: list[int], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with its children, on these cores only; it ends with the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "BLIS_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
            try:
                process.wait(timeout=20)
                break
            except subprocess.TimeoutExpired:
                continue


def measure(command: list[str], cores: list[int], log: Path, seconds: float, look: Callable[[], Optional[Point]], name: str) -> Figure:
    """Samples a program's progress from its first update on, for so many seconds and until there is another update. The words up to the
    first sample do not count.

    Raises: InputError if it ends before, or trains nothing.
    """
    points: list[Point] = []
    progressed = False
    memory = 0
    begun = time.monotonic()
    with started(command, cores, log) as process:
        while True:
            ended = process.poll() is not None
            point = look()
            memory = max(memory, resident(process.pid))
            if point is not None and point[1] > 0:
                points = [*points[:1], point]
                progressed = points[-1][0] > points[0][0] and points[-1][1] > points[0][1]
            enough = progressed and points[-1][0] - points[0][0] >= seconds
            if enough or ended or (not progressed and time.monotonic() - begun > PATIENCE + seconds):
                break
            time.sleep(0.25)
    if not progressed:
        text = log.read_text(encoding="utf8", errors="replace").strip().splitlines()
        raise InputError(
            f"{name} trained nothing that could be measured: {text[-1] if text else 'it printed nothing'}", "bench", "see its message"
        )
    return Figure(name, len(cores), speed(points), memory)


def resident(session: int) -> int:
    """Resident bytes of all processes of a session, from /proc. Shared pages count once for each process."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == session:
                    total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            except (OSError, IndexError, ValueError):
                continue
    return total


def spacy_figure(config: Path, code: Optional[Path], arguments: list[str], folder: Path, seconds: float, cores: list[int]) -> Figure:
    times = folder / "times"
    times.write_text("")
    words = ["--code", str(code)] if code else []
    line = [sys.executable, "-m", "t2v.bench_spacy", str(times), str(seconds), str(config), str(folder / "spacy"), *words, *arguments]

    def look() -> Optional[Point]:
        lines = times.read_text().splitlines()
        return points_of(lines[-1]) if lines else None

    figure = measure(line, cores, folder / "spacy.log", seconds, look, "spaCy")
    points = [points_of(text) for text in times.read_text().splitlines()]
    return Figure("spaCy", len(cores), speed(points), figure.memory)


def speed(points: list[Point]) -> float:
    """Words per second after the first point: the first update includes other work."""
    (begun, before), (ended, after) = points[0], points[-1]
    return (after - before) / (ended - begun)


def points_of(line: str) -> Point:
    seconds, words = line.split()
    return float(seconds), float(words)


def t2v_figure(program: Path, job: Path, folder: Path, seconds: float, cores: list[int]) -> Figure:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = folder / "t2v"
    shutil.rmtree(out, ignore_errors=True)
    line = [str(program), "pretrain", "--job", str(job), str(out), "--workers", "1", "--threads", str(len(cores))]
    line += ["--metrics", f"127.0.0.1:{port}"]

    def look() -> Optional[Point]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as page:
                text = page.read().decode()
        except OSError:
            return None
        for row in text.splitlines():
            if row.startswith("t2v_words_total "):
                return time.monotonic(), float(row.split()[1])
        return None

    return measure([*line, "--cache", str(folder / "cache")], cores, folder / "t2v.log", seconds, look, "t2v")


def table(figures: list[Figure], corpus: Corpus) -> str:
    """The figures, and what they mean for the whole corpus."""
    base = figures[0].words_per_second
    rows = [["program", "cores", "words/s", "times", "memory", "an epoch of your texts"]]
    for item in figures:
        rows.append(
            [
                item.program,
                str(item.cores),
                f"{item.words_per_second:,.0f}",
                f"{item.words_per_second / base:.1f}",
                f"{item.memory / 1e6:,.0f} MB",
                duration(corpus.words / item.words_per_second),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]
    about = "about " if corpus.sampled else ""
    return "\n".join([*lines, f"The texts have {about}{corpus.words:,.0f} words."])
