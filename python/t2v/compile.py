"""`t2v compile`: a config becomes a job folder. In: paths and overrides. Out: the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from . import config
from .build import build
from .errors import InputError
from .job import write_job
from .settings import read_settings


def compile_job(
    config_path: Path, target: Path, overrides: list[str], code: Optional[Path] = None, portable: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Compiles CONFIG into the folder `target`; returns the contents of job.json and notes for the user.

    overrides: `--a.b.c VALUE` as separate arguments. Raises: InputError.
    """
    values = config.read_overrides(overrides)
    config.import_code(code)
    raw = config.load(config_path, values)
    read_settings(raw.interpolate().get("t2v"))  # wrong keys are told before anything is built
    built = build(raw)
    return write_job(raw, built, target, portable), built.notes


def refuse_gpu(gpu: int) -> None:
    if gpu != -1:
        raise InputError("t2v computes on CPUs", f"--gpu-id {gpu}", "leave it out")
