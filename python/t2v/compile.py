"""`t2v compile`: a config becomes a job folder. In: paths and overrides. Out: the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from . import config
from .build import Built, build
from .errors import InputError
from .job import write_job
from .settings import read_settings


def compile_job(
    config_path: Path,
    target: Path,
    overrides: list[str],
    code: Optional[Path] = None,
    portable: bool = False,
    weights: Optional[Path] = None,
    epoch_start: int = 0,
    skip_last: bool = False,
    verified: int = 500,
) -> tuple[dict[str, Any], list[str]]:
    """Compiles CONFIG into the folder `target`; returns the contents of job.json and notes for the user.

    overrides: `--a.b.c VALUE` as separate arguments. weights, epoch_start: as spaCy's --resume-path and --epoch-resume.
    Raises: InputError.
    """
    values = config.read_overrides(overrides)
    config.import_code(code)
    raw = config.load(config_path, values)
    read_settings(raw.interpolate().get("t2v"))  # wrong keys are reported before anything is built
    built = build(raw)
    if weights is not None:
        load_weights(built, weights)
    return write_job(raw, built, target, portable, {"epoch_start": epoch_start, "skip_last": skip_last}, verified), built.notes


def load_weights(built: Built, path: Path) -> None:
    """Starts from a file of weights, as `spacy pretrain --resume-path`: the head stays new."""
    try:
        built.tok2vec.from_bytes(path.read_bytes())
    except Exception as error:
        raise InputError(
            f"these weights do not fit the config: {error}", str(path), "give the file of a run with the same config"
        ) from error
    built.notes.append(f"starting from the weights in {path}; head and optimizer start from scratch (`t2v resume` continues a run of t2v)")


def refuse_gpu(gpu: int) -> None:
    if gpu != -1:
        raise InputError("t2v computes on CPUs", f"--gpu-id {gpu}", "leave it out")
