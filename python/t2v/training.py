"""Training settings. In: [pretraining] as resolved by spaCy, and [t2v]. Out: the optimizer and the `training` part of job.json."""

from __future__ import annotations

import functools
from typing import Any

from .config import Config
from .errors import InputError

PLANNED = 100_000
"""The most values of a schedule that are recorded; after them the last one stays."""


def read_optimizer(optimizer: Any) -> dict[str, Any]:
    """Adam's settings (thinc/optimizers.py, 8.3.14). A schedule of the learning rate is recorded as planned values.

    Raises: InputError for optimizers and schedules that t2v does not have.
    """
    from thinc.api import Optimizer

    where = "[pretraining.optimizer]"
    if type(optimizer) is not Optimizer:
        raise InputError(f"{type(optimizer).__name__} is not thinc's optimizer", where, 'use @optimizers = "Adam.v1"')
    if optimizer.use_radam:
        raise InputError("RAdam is not implemented", where, 'use @optimizers = "Adam.v1"')
    if optimizer.b1 == 0 or optimizer.b2 == 0:
        raise InputError("this is plain SGD (beta1 and beta2 are 0), which is not implemented", where, 'use @optimizers = "Adam.v1"')
    for name in optimizer.schedules:
        if name != "learn_rate":
            raise InputError(f"{name} is a schedule", where, "give a number; only learn_rate may be a schedule")
    rate = planned(optimizer)
    rates = [*rate["values"], rate["rest"]] if isinstance(rate, dict) else [rate]
    for name, value, low in [
        ("learn_rate", min(rates), 0),
        ("eps", optimizer.eps, 0),
        ("grad_clip", optimizer.grad_clip, 0),
        ("L2", optimizer.L2, 0),
    ]:
        if value < low:
            raise InputError(f"{name} = {value}", where, f"give {low} or more")
    return {
        "kind": "adam",
        "learn_rate": rate,
        "beta1": float(optimizer.b1),
        "beta2": float(optimizer.b2),
        "epsilon": float(optimizer.eps),
        "grad_clip": float(optimizer.grad_clip),
        "l2": float(optimizer.L2),
        "l2_is_weight_decay": bool(optimizer.L2_is_weight_decay),
        "averages": optimizer.averages is not None,
        "gradient_scale": "words",
        "block": "parameter",
    }


def planned(optimizer: Any) -> Any:
    """A number, or {"values": one for each update, "rest": the final one}. spaCy has consumed the first value, and kept it."""
    first = float(optimizer.learn_rate)
    schedule = optimizer.schedules.get("learn_rate")
    if schedule is None:
        return first
    values = [first]
    while len(values) < PLANNED:
        try:
            values.append(float(next(schedule)))
        except StopIteration:
            break
    rest = values[-1]
    while values and values[-1] == rest:
        values.pop()
    return {"values": values, "rest": rest} if values else rest


def read_batcher(batcher: Any) -> tuple[int, int]:
    """Words of an update, and the number of tokens from which documents are discarded (0: none).

    Raises: InputError for batchers other than batch_by_words, and for schedules.
    """
    from spacy.training.batchers import minibatch_by_words

    where = "[pretraining.batcher]"
    if not isinstance(batcher, functools.partial) or batcher.func is not minibatch_by_words:
        raise InputError("this batcher is not one that t2v knows", where, 'use @batchers = "spacy.batch_by_words.v1"')
    arguments = batcher.keywords
    if "get_length" in arguments:
        raise InputError("get_length is set", where, "leave it out: lengths are counted in tokens")
    size = arguments["size"]
    if isinstance(size, bool) or not isinstance(size, int):
        raise InputError("size is a schedule", where, "give a number")
    if size < 1:
        raise InputError(f"size = {size}", where, "give 1 or more words")
    if not arguments.get("discard_oversize"):
        return size, 0
    return size, int(size + size * arguments["tolerance"]) + 1


def read_training(config: Config, settings: dict[str, Any], reader: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The `training` part of job.json. reader: lengths and limit of the corpus; own: the [t2v] section."""
    words, oversize = read_batcher(settings["batcher"])
    seed = own["seed"] if own["seed"] is not None else config["training"]["seed"]
    for name, low in [("max_epochs", 1), ("n_save_every", 1), ("n_save_epoch", 1)]:
        value = settings[name]
        if value is not None and value < low and not (name != "max_epochs" and value == 0):
            raise InputError(f"{name} = {value}", "[pretraining]", f"give {low} or more")
    longest = min((bound for bound in (reader["max_length"], oversize) if bound > 0), default=0)
    if longest and reader["min_length"] >= longest:
        what = f"min_length = {reader['min_length']}, and only documents of fewer than {longest} tokens are kept: none is left"
        raise InputError(what, f"[{settings['corpus']}]", "give a smaller min_length, or a greater max_length")
    return {
        "seed": int(seed or 0),
        "max_epochs": settings["max_epochs"],
        "n_save_every": settings["n_save_every"] or None,
        "n_save_epoch": settings["n_save_epoch"] or None,
        "words_per_update": words,
        "min_length": reader["min_length"],
        "max_length": longest,
        "limit": reader["limit"],
        **{name: own[name] for name in ("shuffle", "lanes", "held_out", "evaluate_every", "patience", "keep_models", "precision")},
        "local_updates": own["local_updates"],
    }
