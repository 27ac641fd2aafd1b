"""Finds and runs the two programs. In: a name. Out: its path; or this process becomes the program."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn, Optional

from .errors import InputError

COORDINATOR = "t2v-coordinator"

OPTIONS = {
    "workers": True,
    "threads": True,
    "bind": True,
    "min-workers": True,
    "lanes": True,
    "checkpoint-every": True,
    "keep-checkpoints": True,
    "keep-models": True,
    "patience": True,
    "strict-bits": False,
    "no-strict-bits": False,
    "blas-core": True,
    "key": True,
    "allow": True,
    "insecure": False,
    "no-insecure": False,
    "quiet": False,
    "json-progress": False,
    "cache": True,
    "metrics": True,
    "io-threads": True,
    "wire-precision": True,
    "precision": True,
    "scale-learn-rate": False,
    "resume": True,
    "overwrite": False,
    "no-report": False,
}
"""Options of the coordinator that are passed on; True: with a value. `follow` removes `no-report`."""


def candidates(name: str) -> list[Path]:
    """Places of a program, best first: T2V_BIN, the wheel's scripts, PATH, a build in the repository."""
    places = []
    if os.environ.get("T2V_BIN"):
        places.append(Path(os.environ["T2V_BIN"]))
    package = Path(__file__).resolve().parent
    places += [package / "bin", Path(sysconfig.get_path("scripts")), Path(sys.executable).parent]
    found = [place / name for place in places]
    on_path = shutil.which(name)
    if on_path:
        found.append(Path(on_path))
    return [*found, package.parent.parent / ".build" / "release" / name]


def find(name: str = COORDINATOR) -> Path:
    """The path of a program.

    Raises: InputError if it is not found.
    """
    for path in candidates(name):
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise InputError(
        f"the program {name} is not installed", "t2v", "install t2v from a wheel, or build it and set T2V_BIN to the folder of the programs"
    )


def become(program: Path, arguments: list[str]) -> NoReturn:
    """Replaces this process by the program: Ctrl-C, display and exit status are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, [str(program), *arguments])


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Arguments as (overrides of the config, options of the coordinator): the former have a dot in their name.

    Raises: InputError for options that are neither.
    """
    from .errors import nearest

    overrides: list[str] = []
    options: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        has_value = bool(rest) and not rest[0].startswith("--")
        if not name.startswith("--"):
            raise InputError("this argument is one too many", argument, "give CONFIG and OUT, then options")
        if "." in name:
            overrides.append(argument)
            if not equals and has_value:
                overrides.append(rest.pop(0))
        elif name[2:] in OPTIONS:
            options.append(argument)
            if OPTIONS[name[2:]] and not equals:
                if not has_value:
                    raise InputError("a value is missing", argument, f"write {argument} VALUE")
                options.append(rest.pop(0))
        else:
            known = nearest(name, [f"--{option}" for option in OPTIONS])
            raise InputError(f"no such option: {name}", "", known or "overrides of the config have a dot, as --paths.raw_text FILE")
    return overrides, options


def option(options: list[str], name: str) -> Optional[str]:
    """The value of an option; "" for a flag; None if it is not given."""
    for index, argument in enumerate(options):
        if argument == f"--{name}":
            return options[index + 1] if OPTIONS[name] else ""
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
    return None


def without(options: list[str], name: str) -> list[str]:
    """The options except one."""
    kept, rest = [], list(options)
    while rest:
        argument = rest.pop(0)
        if argument == f"--{name}":
            if OPTIONS[name]:
                rest.pop(0)
        elif not argument.startswith(f"--{name}="):
            kept.append(argument)
    return kept
