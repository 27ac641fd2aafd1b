"""The [t2v] section: settings of the experiment that spaCy has no place for. In: the section. Out: checked values with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from .errors import InputError, nearest


@dataclass(frozen=True)
class Key:
    """A key of the section. `kinds`: types of its value; `low` to `high`: its range; None counts if the default is None."""

    kinds: tuple[type, ...]
    default: Any
    low: Optional[float] = None
    high: Optional[float] = None
    choices: tuple[str, ...] = ()


KEYS = {
    "mask_prob": Key((float, int), None, 0, 1),
    "shuffle": Key((bool,), True),
    "characters_loss": Key((str,), "linear", choices=("linear", "softmax")),
    "held_out": Key((float, int), 0.01, 0, 0.5),
    "evaluate_every": Key((int,), None, 1, 1 << 40),
    "patience": Key((int,), 0, 0, 1 << 40),
    "keep_models": Key((int,), None, 1, 1 << 40),
    "lanes": Key((int,), None, 1, 4096),
    "local_updates": Key((int,), None, 1, 1 << 20),
    "precision": Key((str,), "float32", choices=("float32", "bf16")),
    "seed": Key((int,), None, 0, (1 << 63) - 1),
    "logger": Key((dict,), None),
    "tensorboard": Key((str,), None),
}

MACHINE = ("workers", "threads", "bind", "key", "allow", "cache", "metrics", "wire_precision", "min_workers", "insecure", "io_threads")
"""Options of a machine: only flags, since the section is copied into every pipeline that is trained from the config."""


def read_settings(section: Any) -> dict[str, Any]:
    """All keys with their values.

    Raises: InputError for unknown keys, wrong types and values out of range.
    """
    if section is None:
        section = {}
    if not isinstance(section, dict):
        raise InputError("it is not a section", "[t2v]", "write [t2v] and keys below it")
    for name, value in section.items():
        if name not in KEYS:
            flag = name.replace("_", "-")
            if name in MACHINE:
                raise InputError(f"{name} belongs to a machine, not to the experiment", "[t2v]", f"give --{flag} on the command line")
            raise InputError(f'there is no key "{name}"', "[t2v]", nearest(name, list(KEYS)) or f"there are: {', '.join(KEYS)}")
        check(name, value, KEYS[name])
    found = {name: section.get(name, key.default) for name, key in KEYS.items()}
    for name in ("patience", "evaluate_every"):
        if found[name] and not found["held_out"]:
            what = f"{name} = {found[name]} needs held-out documents, and held_out is 0"
            raise InputError(what, "[t2v]", f"leave out held_out, or {name}")
    return found


def check(name: str, value: Any, key: Key) -> None:
    if value is None and key.default is None:
        return
    names = " or ".join(kind.__name__ for kind in key.kinds if kind is not int or float not in key.kinds)
    if not isinstance(value, key.kinds) or (isinstance(value, bool) and bool not in key.kinds):
        raise InputError(f"{name} = {value!r} is not a {names}", "[t2v]", f"give a {names}")
    if key.choices and value not in key.choices:
        raise InputError(f'{name} = "{value}"', "[t2v]", "give " + " or ".join(f'"{choice}"' for choice in key.choices))
    number: Any = value
    if key.low is not None and key.high is not None and not key.low <= number <= key.high:
        raise InputError(f"{name} = {value}", "[t2v]", f"give {key.low:g} to {key.high:g}")
