"""One training with the real `spacy train`, in a process of its own. In: what determines its result. Out: its score, or a plain refusal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .errors import InputError

LOADED = "Loaded pretrained weights from"
"""`spacy train -V` prints this when it has loaded init_tok2vec (spacy/training/initialize.py, 3.5 to 3.8). Otherwise it has ignored it."""


@dataclass(frozen=True)
class Training:
    """A training to be done."""

    key: str
    """Identifies everything that determines the result."""
    size: int
    seed: int
    weights: Optional[Path]
    train: Path
    dev: Path


@dataclass(frozen=True)
class Plan:
    """What all trainings of a command share."""

    config: Path
    arguments: list[str]
    """The user's overrides and this command's, as words of a command line."""
    train_setting: str
    """The override that names the training documents, `corpora.train.path` or `paths.train`."""
    dev_setting: str
    code: Optional[Path]
    gpu: int
    folder: Path
    """For logs, and for models while they are needed."""


def command(plan: Plan, training: Training, output: Path) -> list[str]:
    """The command line that a user would type, with -V, which makes spaCy say what it has loaded."""
    line = [sys.executable, "-m", "spacy", "train", str(plan.config), "--output", str(output), "--gpu-id", str(plan.gpu), "--verbose"]
    if plan.code is not None:
        line += ["--code", str(plan.code)]
    weights = "null" if training.weights is None else str(training.weights)
    return [
        *line,
        *plan.arguments,
        f"--{plan.train_setting}",
        str(training.train),
        f"--{plan.dev_setting}",
        str(training.dev),
        "--training.seed",
        str(training.seed),
        "--initialize.init_tok2vec",
        weights,
    ]


def run(plan: Plan, training: Training, processes: "set[subprocess.Popen[bytes]]") -> dict[str, Any]:
    """Trains, and returns the result's fields: score, scores, seconds.

    Raises: InputError if spaCy fails, or has not loaded the weights.
    """
    output = plan.folder / "models" / training.key
    log = plan.folder / "logs" / f"{training.key}.log"
    for folder in (output.parent, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "BLIS_NUM_THREADS": "1", "NO_COLOR": "1"}
    environment.pop("SPACY_CONFIG_OVERRIDES", None)  # they are among the arguments already
    begun = time.monotonic()
    try:
        with log.open("wb") as stream:
            line = command(plan, training, output)
            process = subprocess.Popen(line, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment)
            processes.add(process)
            try:
                status = process.wait()
            finally:
                processes.discard(process)
        text = log.read_text(encoding="utf8", errors="replace")
        if status != 0:
            raise InputError(f"`spacy train` failed: {last_words(text)}", str(log), remedy_of(text))
        if training.weights is not None and LOADED not in text:
            raise not_loaded(training.weights)
        return {**read_score(output / "model-best"), "seconds": round(time.monotonic() - begun, 1)}
    finally:
        shutil.rmtree(output, ignore_errors=True)


def not_loaded(weights: Path) -> InputError:
    return InputError(
        f"spaCy trained, but did not load {weights}",
        "[initialize] init_tok2vec",
        "it loads them only if the config has a whole [pretraining] block: `python -m spacy init fill-config --pretraining CONFIG CONFIG`",
    )


def read_score(model: Path) -> dict[str, Any]:
    """The score of the best step and its parts, unrounded, from what spaCy saved.

    The score is the weighted sum that `spacy train` shows as SCORE (spacy/training/loop.py, create_evaluation_callback).
    """
    from thinc.api import Config

    scores = json.loads((model / "meta.json").read_text(encoding="utf8"))["performance"]
    config = Config().from_disk(model / "config.cfg", interpolate=True)
    weights = {name: weight for name, weight in config["training"]["score_weights"].items() if weight}
    score = sum((scores.get(name) or 0.0) * weight for name, weight in weights.items())
    return {"score": score, "scores": {name: scores.get(name) for name in weights}}


def last_words(text: str) -> str:
    """The line of a log that says what went wrong: the last non-blank one."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "it printed nothing")


def remedy_of(text: str) -> str:
    """What to do about the most common failures."""
    if "mismatched structure" in text or "Attempt to change dimension" in text:
        return "the weights were made for another config: train with the sizes, attributes and vectors of the pretraining"
    if "incompatible version of Thinc" in text:
        return "this is a weights file of spaCy 2"
    if "Can't read file" in text or "E1005" in text or "E884" in text:
        return "check the paths in the config"
    return "the log has the rest; the same config must work with `python -m spacy train`"
