"""The real `spacy pretrain`, timed. In: a file for the measurements, seconds, and the command's arguments.
Out: a line for each update: time, words.

    python -m t2v.bench_spacy FILE SECONDS CONFIG OUT [--a.b.c VALUE ...]

It wraps only spaCy's progress counter, which sees each update's documents (spacy/training/pretrain.py, `ProgressTracker.update`).
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any


def main(target: str, seconds: float, arguments: list[str]) -> None:
    from spacy.cli._util import app
    from typer.main import get_command

    importlib.import_module("spacy.cli.pretrain")
    tracker = importlib.import_module("spacy.training.pretrain").ProgressTracker
    update = tracker.update
    begun: list[float] = []
    with open(target, "w", encoding="utf8") as stream:

        def counted(self: Any, epoch: int, loss: float, documents: Any) -> Any:
            result = update(self, epoch, loss, documents)
            now = time.monotonic()
            begun.append(now)
            stream.write(f"{now} {self.nr_word}\n")
            stream.flush()
            if now - begun[0] >= seconds:
                raise SystemExit(0)
            return result

        tracker.update = counted
        get_command(app)(args=["pretrain", *arguments, "--skip-last"], standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
