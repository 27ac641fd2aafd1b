"""`spacy t2v evaluate`: does pretraining help this task? Trains with and without the weights on growing parts of labelled data, with the
real `spacy train`. In: a config, an output folder, labelled documents. Out, in OUT/t2v/evaluate: a table, a learning curve, a verdict."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import samples, trainings
from .config import Config, import_code, load, read_overrides
from .curves import Cell, csv_rows, table, verdicts
from .display import screen, warn
from .errors import InputError
from .trainings import Plan, Training
from .words import duration

FORMAT = 1


@dataclass(frozen=True)
class Request:
    """The command line."""

    config: Path
    out: Path
    train: Path
    dev: Path
    sizes: str
    seeds: int
    weights: str
    """Paths separated by commas; names without a folder are looked up in `out`; empty: the best existing file."""
    code: Optional[Path]
    gpu: int
    jobs: int
    """Processes at a time; 0: as many as there are cores."""
    overrides: list[str]


def evaluate(request: Request) -> list[Cell]:
    """Does the remaining trainings, writes table.csv, summary.json and curve.svg, prints the table.

    Raises: InputError for anything that the user can fix.
    """
    if request.seeds < 1:
        raise InputError(f"--seeds {request.seeds}", "", "give 1 or more; 3 show the spread")
    files = find_weights(request.out, request.weights)
    import_code(request.code)
    config = load(request.config, read_overrides(request.overrides))
    train_setting, dev_setting = check_config(config, str(request.config))
    labelled, judge = samples.read_labelled(request.train, "--train"), samples.read_labelled(request.dev, "--dev")
    folder = request.out / "t2v" / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = samples.read_sizes(request.sizes, len(labelled))
    plan = Plan(request.config, spelled(request.overrides), train_setting, dev_setting, request.code, request.gpu, folder)
    common = [FORMAT, versions(), text_of(config), digest_of(request.code), vectors_digest(config), judge.digest, request.gpu]
    todo = []
    for size in sizes:
        for seed in range(request.seeds):
            train = request.train if size == len(labelled) else folder / "samples" / f"{labelled.digest[:12]}-{size}-{seed}.spacy"
            if not train.exists():
                samples.write_sample(labelled, size, seed, train)
            for file in (None, *files):
                key = key_of([*common, labelled.digest, size, seed, digest_of(file)])
                todo.append(Training(key, size, seed, file, train.absolute(), request.dev.absolute()))
    results = do(plan, todo, request.jobs or cores(), folder / "results.jsonl")
    names = short_names(files)
    cells = [
        Cell(
            size,
            None if file is None else names[file],
            [results[item.key]["score"] for item in todo if (item.size, item.weights) == (size, file)],
        )
        for size in sizes
        for file in (None, *files)
    ]
    if all(cell.scores == other.scores for cell, other in pairs(cells)) and any(any(cell.scores) for cell in cells):
        raise InputError(
            "every score is the same with and without the weights: they were loaded, but nothing that is trained uses them",
            "[components]",
            'let the components listen (@architectures = "spacy.Tok2VecListener.v1"), or let [pretraining] name the layer that they use',
        )
    write(folder, request, cells)
    return cells


def pairs(cells: list[Cell]) -> list[tuple[Cell, Cell]]:
    without = {cell.size: cell for cell in cells if cell.weights is None}
    return [(cell, without[cell.size]) for cell in cells if cell.weights is not None]


def find_weights(out: Path, given: str) -> list[Path]:
    """The weights files to try, absolute.

    Raises: InputError if one does not exist.
    """
    if given:
        files = [Path(name.strip()) for name in given.split(",") if name.strip()]
        files = [file if file.exists() or file.parent != Path(".") else out / file for file in files]
        for file in files:
            if not file.is_file():
                raise InputError("there is no such file", f"--weights {file}", f"give files of {out}, separated by commas")
        return [file.absolute() for file in files]
    for name in ("model-best.bin", "model-last.bin"):
        if (out / name).is_file():
            return [(out / name).absolute()]
    raise InputError("there is no model-best.bin and no model-last.bin", str(out), "give --weights FILE, or pretrain first")


def check_config(config: Config, where: str) -> tuple[str, str]:
    """The overrides that name the labelled documents.

    Raises: InputError if `spacy train` would train without the weights, or there is no way to set what to train on.
    """
    fill = "`python -m spacy init fill-config --pretraining CONFIG CONFIG` adds it"
    if not config.get("pretraining"):
        raise InputError("there is no [pretraining] block, so `spacy train` would silently ignore the weights", where, fill)
    for section in ("training", "initialize"):
        if section not in config:
            raise InputError(f"there is no [{section}] section", where, fill)
    pipeline = config.get("nlp", {}).get("pipeline", [])
    name = config["pretraining"].get("component", "tok2vec")
    if name not in pipeline:
        raise InputError(f'[pretraining] names the component "{name}", which is not in the pipeline', where, f"the pipeline has {pipeline}")
    others = [item for item in pipeline if config["components"].get(item, {}).get("factory") != "tok2vec"]
    if not others:
        raise InputError("the pipeline has nothing that learns from labels", where, "add a component, say tagger, parser, ner or textcat")
    return corpus_setting(config, "train", where), corpus_setting(config, "dev", where)


def corpus_setting(config: Config, kind: str, where: str) -> str:
    """`corpora.train.path`, or whatever names these documents in this config."""
    name = config["training"].get(f"{kind}_corpus") or f"corpora.{kind}"
    section: Any = config
    for part in str(name).split("."):
        section = section.get(part, {}) if isinstance(section, dict) else {}
    if isinstance(section, dict) and "path" in section:
        return f"{name}.path"
    if kind in config.get("paths", {}):
        return f"paths.{kind}"
    raise InputError(
        f"[{name}] has no path to set", where, 'use @readers = "spacy.Corpus.v1", or add a key to [paths] that your reader uses'
    )


def spelled(overrides: list[str]) -> list[str]:
    """The overrides as arguments, including those of SPACY_CONFIG_OVERRIDES."""
    words = []
    for name, value in read_overrides(overrides).items():
        words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def text_of(config: Config) -> str:
    """The complete config that determines a training, without what this command sets itself."""
    settings = config.interpolate()
    settings["initialize"]["init_tok2vec"] = None
    settings["training"]["seed"] = None
    for name in ("paths", "t2v"):
        settings.pop(name, None)
    return str(settings.to_str())


def versions() -> str:
    import numpy
    import spacy
    import thinc

    return f"spacy {spacy.__version__}, thinc {thinc.__version__}, numpy {numpy.__version__}"


def digest_of(path: Optional[Path]) -> Optional[str]:
    if path is None:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def vectors_digest(config: Config) -> Optional[str]:
    """Of the vectors that the config names, if they are a folder; a package is named by the config."""
    folder = Path(str(config.interpolate()["initialize"].get("vectors") or "")) / "vocab"
    files = [folder / name for name in ("vectors", "key2row", "vectors.cfg")]
    return key_of([digest_of(file) for file in files if file.is_file()]) if folder.is_dir() else None


def key_of(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf8")).hexdigest()[:24]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def short_names(files: list[Path]) -> dict[Path, str]:
    """A name for each file: its own if no other has it, else its path."""
    names = [file.name for file in files]
    return {file: file.name if names.count(file.name) == 1 else str(file) for file in files}


def read_results(path: Path) -> dict[str, Any]:
    """Results by key. A line that is incomplete because the command was stopped is left out."""
    found: dict[str, Any] = {}
    if path.exists():
        for line in path.read_text(encoding="utf8", errors="replace").splitlines():
            try:
                result = json.loads(line)
                found[result["key"]] = result
            except (ValueError, KeyError, TypeError):
                continue
    return found


def do(plan: Plan, todo: list[Training], jobs: int, path: Path) -> dict[str, Any]:
    """Results of all trainings, by key; those that are already in the file are not repeated.

    Raises: InputError of the first training that fails, after stopping those that are running.
    """
    results = read_results(path)
    left = [item for item in todo if item.key not in results]
    screen.say(f"{len(todo)} trainings, {len(todo) - len(left)} done before, {min(jobs, max(1, len(left)))} at a time")
    begun = time.monotonic()
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting: dict[Future[dict[str, Any]], Training] = {pool.submit(trainings.run, plan, item, running): item for item in left}
        try:
            while waiting:
                screen.progress(state(len(todo), len(waiting), len(left), time.monotonic() - begun), "evaluating", left=len(waiting))
                for future in wait(waiting, timeout=1 if screen.is_live else 10, return_when=FIRST_COMPLETED).done:
                    item = waiting.pop(future)
                    results[item.key] = record(path, item, future.result())
                    done = len(todo) - len(waiting)
                    name = "without" if item.weights is None else f"with {item.weights.name}"
                    screen.say(
                        f"  {done:>3}/{len(todo)}  {item.size:>6} documents, seed {item.seed}, {name}: "
                        f"{results[item.key]['score']:.4f} ({results[item.key]['seconds']:.0f} s)",
                        sign="",
                    )
        except BaseException:
            for future in waiting:
                future.cancel()
            for process in list(running):
                process.terminate()
            raise
    return results


def state(total: int, waiting: int, begun_with: int, seconds: float) -> str:
    """A line that says how many trainings are done, and how long the rest will take at this rate."""
    done = begun_with - waiting
    left = f", {duration(seconds / done * waiting)} left" if done else ""
    return f"evaluating: {total - waiting} of {total} trainings{left}"


def record(path: Path, item: Training, result: dict[str, Any]) -> dict[str, Any]:
    """Appends a result as a whole line, so that the command can be stopped at any time."""
    line = {"key": item.key, "size": item.size, "seed": item.seed, "weights": item.weights and item.weights.name, **result}
    cut = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf8") as stream:
        stream.write(("\n" if cut else "") + json.dumps(line) + "\n")
    return line


def write(folder: Path, request: Request, cells: list[Cell]) -> None:
    """Prints the table and the verdict; writes them, and the curve."""
    screen.say(f"\n{table(cells)}\n", sign="")
    for sentence in verdicts(cells):
        screen.say(sentence)
    with (folder / "table.csv").open("w", newline="", encoding="utf8") as stream:
        csv.writer(stream).writerows(csv_rows(cells))
    summary = {
        "format": FORMAT,
        "config": str(request.config.absolute()),
        "train": str(request.train.absolute()),
        "dev": str(request.dev.absolute()),
        "cells": [{"size": cell.size, "weights": cell.weights, "scores": cell.scores} for cell in cells],
        "verdicts": verdicts(cells),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf8")
    written = "table.csv and summary.json"
    try:
        from . import plots

        (folder / "curve.svg").write_text(plots.standalone(plots.learning_curve(cells)), encoding="utf8")
        written = "table.csv, summary.json and curve.svg"
    except InputError as error:
        warn(f"no learning curve: {error}")
    screen.say(f"wrote {written} to {folder}", sign="\u2714")
