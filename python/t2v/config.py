"""Reads a config as spaCy's own commands do. In: a path and `--a.b.c VALUE` arguments. Out: the raw config with overrides."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any, Optional

from .errors import InputError

Config = Any
"""A `thinc.api.Config`."""


def read_overrides(arguments: list[str]) -> dict[str, Any]:
    """spaCy's own overrides, including those of SPACY_CONFIG_OVERRIDES, which take precedence (spacy/cli/_util.py)."""
    from spacy.cli._util import parse_config_overrides

    for argument in arguments:
        if argument.startswith("--") and "." not in argument.split("=", 1)[0]:
            raise InputError(f"no such option: {argument}", remedy="overrides of the config have a dot, as --paths.raw_text FILE")
    try:
        return dict(parse_config_overrides(list(arguments)))
    except SystemExit:
        raise InputError("the overrides cannot be read", " ".join(arguments), "write them as --section.key VALUE") from None


def import_code(path: Optional[Path]) -> None:
    """Imports the user's registered functions, as spaCy's --code."""
    if path is None:
        return
    from spacy.util import import_file

    if not path.exists():
        raise InputError("there is no such file", f"--code {path}", "check the path")
    try:
        import_file("python_code", path)
    except Exception as error:
        raise InputError(f"the code cannot be imported: {type(error).__name__}: {error}", f"--code {path}", "fix the file") from error


def load(path: Path, overrides: dict[str, Any]) -> Config:
    """The raw config, overrides applied, not interpolated; with the sections that overrides of [t2v] need.

    Raises: InputError if the file is missing or not a config.
    """
    from confection import ConfigValidationError
    from spacy.util import CONFIG_SECTION_ORDER
    from thinc.api import Config as ThincConfig

    where = str(path)
    if where == "-" or not path.is_file():
        raise InputError("there is no such file", where, "give the path of a config")
    try:
        text = path.read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"it cannot be read: {error}", where, "give a config in UTF-8") from None
    if not text.strip():
        raise InputError("it is empty", where, "give a config, as `python -m spacy init config --pretraining` makes it")
    if text.startswith("\ufeff"):
        raise InputError("it begins with a byte order mark", where, "save it as UTF-8 without one")
    for section in missing_sections(text, overrides):
        text += f"\n[{section}]\n"
    try:
        config = ThincConfig(section_order=CONFIG_SECTION_ORDER).from_str(text, interpolate=False, overrides=overrides)
        config.interpolate()
    except ConfigValidationError as error:
        raise InputError(flatten(error), where, "fix the config") from None
    except (configparser.Error, ValueError, KeyError, RecursionError) as error:
        raise InputError(f"it is not a valid config: {error}", where, "fix the config") from None
    return config


def missing_sections(text: str, overrides: dict[str, Any]) -> list[str]:
    """Sections [t2v...] that overrides name and the file does not have: spaCy sets keys only of existing sections."""
    missing: list[str] = []
    for name in overrides:
        if name.startswith("t2v."):
            parts = name.split(".")[:-1]
            for section in [".".join(parts[: count + 1]) for count in range(len(parts))]:
                if section not in missing and not re.search(rf"^\[{re.escape(section)}\]", text, re.MULTILINE):
                    missing.append(section)
    return missing


def flatten(error: Any) -> str:
    """A validation error of confection in one line."""
    lines = []
    for item in getattr(error, "errors", None) or []:
        where = " -> ".join(str(part) for part in item.get("loc", ()))
        lines.append(f"{where}: {item.get('msg', '')}")
    what = "; ".join(lines) or getattr(error, "desc", "") or str(error)
    title = getattr(error, "title", "") or ""
    return f"{title}: {what}" if title else str(what)
