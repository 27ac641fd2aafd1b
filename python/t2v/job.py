"""Writes the job folder (docs/job.md). In: what spaCy built. Out: a folder that the Swift programs understand."""

from __future__ import annotations

import json
import os
import platform
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from . import __version__, reader, safetensors, text, vectors
from .build import Built
from .config import Config
from .errors import InputError
from .settings import read_settings
from .training import read_optimizer, read_training

FORMAT = 1


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place if the block succeeds, and vanishes otherwise.

    Raises: InputError when `target` exists and is not a job, or cannot be made.
    """
    if target.exists() and not (target.is_dir() and ((target / "job.json").is_file() or not any(target.iterdir()))):
        raise InputError("something else is there", str(target), "give another folder for the job")
    fresh = target.parent / f".{target.name}.{os.getpid()}.new"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
    except OSError as error:
        raise InputError(
            f"no folder can be made here: {error.strerror}", str(target.parent), "give a folder that you may write to"
        ) from error
    try:
        yield fresh
        old = target.parent / f".{target.name}.{os.getpid()}.old"
        if target.exists() or target.is_symlink():
            os.replace(target, old)
        os.replace(fresh, target)
        if old.is_symlink():  # what the coordinator left in place of an earlier job
            old.unlink()
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_job(raw: Config, built: Built, target: Path, portable: bool, start: dict[str, Any], verified: int = 500) -> dict[str, Any]:
    """Writes the job and returns the contents of job.json. start: the command line's part of `training`.

    verified: documents from the beginning, and as many from elsewhere, on which the fast path is compared with spaCy.
    """
    own = read_settings(built.config.get("t2v"))
    with new_folder(target) as folder:
        raw.to_disk(folder / "config.cfg")
        (folder / "tok2vec.bin").write_bytes(built.tok2vec.to_bytes())
        safetensors.write(folder / "head.safetensors", {tensor.name: tensor.node.get_param(tensor.parameter) for tensor in built.head})
        job = describe(built, own, folder, portable)
        job["training"].update(start)
        write_description(job, folder)
        job["text"] = text.settle(built, job["text"], folder, verified)
        if job["text"]["path"] == "pieces":
            job["text"]["sources"] = [str(target.absolute() / "texts.pieces")]
        write_description(job, folder)
    return job


def write_description(job: dict[str, Any], folder: Path) -> None:
    (folder / "job.json").write_text(json.dumps(job, indent=1, ensure_ascii=False) + "\n", encoding="utf8")


def describe(built: Built, own: dict[str, Any], folder: Path, portable: bool) -> dict[str, Any]:
    """The contents of job.json; writes pipeline and vectors into `folder`."""
    settings = built.settings
    model = describe_model(built, own)
    return {
        "format": FORMAT,
        "versions": versions(),
        "language": built.nlp.lang,
        "component": settings["component"],
        "layer": settings["layer"],
        "model": model,
        "training": read_training(built.config, settings, reader.bounds(built.corpus), own),
        "text": text.describe(built, text.columns(model["inputs"]), folder),
        "vectors": describe_vectors(built, model, folder, portable),
        "template": describe_template(built),
        "t2v": own,
    }


def versions() -> dict[str, str]:
    import spacy
    import thinc

    return {
        "t2v": __version__,
        "spacy": spacy.__version__,
        "thinc": thinc.__version__,
        "python": platform.python_version(),
        "unidata": unicodedata.unidata_version,
    }


def describe_model(built: Built, own: dict[str, Any]) -> dict[str, Any]:
    """The model as data."""
    walk = built.walk
    objective = dict(built.objective)
    if own["characters_loss"] != "linear":
        if objective["kind"] != "characters":
            raise InputError("characters_loss is set, but the objective does not predict characters", "[t2v]", "leave it out")
        objective["loss"] = own["characters_loss"]
    return {
        "width": walk.width,
        "dropout": float(built.settings["dropout"]),
        "inputs": walk.inputs,
        "mixer": walk.mixer,
        "encoder": {"padding": walk.padding, "convolutions": walk.convolutions},
        "objective": objective,
        "mask_probability": built.mask_probability if own["mask_prob"] is None else float(own["mask_prob"]),
        "optimizer": read_optimizer(built.settings["optimizer"]),
        "layer_norm_epsilon": 1e-8,
        "initialization": "file",
        "weights_file": "template",
    }


def describe_template(built: Built) -> dict[str, Any]:
    """Which node and parameter of tok2vec.bin hold which tensor. Nodes are numbered as thinc's `to_dict` does."""
    number = {node.id: index for index, node in enumerate(built.tok2vec.walk())}
    return {
        "file": "tok2vec.bin",
        "parameters": [
            {"tensor": tensor.name, "node": number[tensor.node.id], "parameter": tensor.parameter} for tensor in built.walk.tensors
        ],
    }


def describe_vectors(built: Built, model: dict[str, Any], folder: Path, portable: bool) -> Optional[dict[str, Any]]:
    uses = model["objective"]["kind"] == "vectors" or any(part["kind"] == "vectors" for part in model["inputs"])
    if not uses:
        return None
    return vectors.describe(built.nlp.vocab.vectors, built.config["initialize"].get("vectors"), folder, portable)
