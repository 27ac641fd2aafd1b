"""W&B, ClearML and a chain of both and spaCy's own, offline, through a real run. Not a test, since the packages take a minute to install:

    python -m venv /tmp/loggers && /tmp/loggers/bin/pip install spacy==3.8.18 wandb clearml
    T2V_BIN=.build/release PYTHONPATH=python /tmp/loggers/bin/python python/tests/loggers_check.py

In: the packages. Out: a line for each logger; status 1 if one got nothing, or failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from thinc.api import Config

HERE = Path(__file__).resolve().parent
WANDB = {"@loggers": "spacy.WandbLogger.v5", "project_name": "check", "remove_config_values": ["paths.raw_text"]}
CLEARML = {"@loggers": "spacy.ClearMLLogger.v2", "project_name": "check", "task_name": "check", "remove_config_values": []}
CONSOLE = {"@loggers": "spacy.ConsoleLogger.v3", "console_output": False, "output_file": "console.jsonl"}
CHAIN = {"@loggers": "spacy.ChainLogger.v1", "logger1": WANDB, "logger2": CLEARML, "logger3": CONSOLE}


def found(folder: Path, name: str) -> list[str]:
    """The missing files of a logger."""
    missing = []
    if name in ("wandb", "chain") and not list((folder / "wandb").glob("offline-run-*/*.wandb")):
        missing.append("a run of W&B")
    if name in ("clearml", "chain"):
        archives = list((folder / ".clearml").rglob("offline-*.zip"))
        metrics = [entry for path in archives for entry in zipfile.ZipFile(path).namelist() if entry.endswith("metrics.jsonl")]
        if not metrics:
            missing.append("metrics in a session of ClearML")
    if name == "chain" and not (folder / "console.jsonl").is_file():
        missing.append("console.jsonl")
    return missing


def run(name: str, logger: dict[str, Any]) -> list[str]:
    """Trains for two epochs with a logger; what went wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        raw = Config().from_disk(HERE / "base.cfg", interpolate=False)
        raw["t2v"] = {"held_out": 0.1, "logger": logger}
        raw.to_disk(folder / "config.cfg")
        (folder / "clearml.conf").write_text("sdk { development { report_use_subprocess: false } }\n")
        settings = {"WANDB_MODE": "offline", "CLEARML_OFFLINE_MODE": "1", "CLEARML_CONFIG_FILE": str(folder / "clearml.conf")}
        words = ["-m", "t2v", "pretrain", "config.cfg", "out", "--paths.raw_text", str(HERE.parents[1] / "demo/texts.jsonl")]
        words += ["--verify", "0", "--workers", "1", "--no-report"]
        environment = {name: os.path.abspath(os.environ[name]) for name in ("PYTHONPATH", "T2V_BIN") if name in os.environ}
        environment = {**os.environ, **settings, "HOME": place, **environment}
        done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        wrong = found(folder, name)
        if done.returncode or "will get nothing more" in done.stderr:
            wrong.append(f"status {done.returncode}: {done.stderr[-500:]}")
        return wrong


def main() -> None:
    failed = False
    for name, logger in (("wandb", WANDB), ("clearml", CLEARML), ("chain", CHAIN)):
        wrong = run(name, logger)
        print(json.dumps({"logger": name, "ok": not wrong, "wrong": wrong}), flush=True)
        failed = failed or bool(wrong)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
