"""Reads raw texts in chunks. In: files of records. Out: lines with their place, to be parsed elsewhere."""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError

DOCUMENTS, BYTES = 1000, 1 << 20
"""The most of a chunk (one document may be larger)."""
FEWEST, GROWTH = 50, 16


def most(first: int) -> int:
    """Documents of a chunk that begins with document `first`: few at first, so that a small corpus has chunks for every lane."""
    return min(DOCUMENTS, max(FEWEST, first // GROWTH))


@dataclass(frozen=True)
class Chunk:
    """Lines of one file that are not blank."""

    file: str
    numbers: list[int]
    """Line numbers, from 1."""
    lines: list[bytes]
    first: int
    """Records before the first one, over all files."""


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file of lines, decompressed if its name ends in .gz; `-` is standard input."""
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read: {error}", path, "check the file") from None


def chunks(files: list[str], form: str, limit: int = 0) -> Iterator[Chunk]:
    """All records in order; blank lines are not records, but a plain text of white space is. limit: the most records, if not 0."""
    count = 0
    for path in files:
        with opened(path) as file:
            numbers: list[int] = []
            lines: list[bytes] = []
            size = 0
            for number, line in enumerate(file, 1):
                if not (line.rstrip(b"\r\n") if form == "lines" else line.strip()):
                    continue
                if limit and count + len(lines) >= limit:
                    break
                numbers.append(number)
                lines.append(line)
                size += len(line)
                if len(lines) >= most(count) or size >= BYTES:
                    yield Chunk(path, numbers, lines, count)
                    count += len(lines)
                    numbers, lines, size = [], [], 0
            if lines:
                yield Chunk(path, numbers, lines, count)
                count += len(lines)
        if limit and count >= limit:
            return


def parse(chunk: Chunk, form: str) -> Iterator[Any]:
    """The texts of a chunk: strings, or lists of words for records with `tokens`.

    Raises: InputError with file and line.
    """
    for number, line in zip(chunk.numbers, chunk.lines):
        where = f"{chunk.file}:{number}"
        try:
            text = line.decode("utf8")
        except UnicodeDecodeError as error:
            raise InputError(f"this is not UTF-8: {error}", where, "convert the file to UTF-8") from None
        yield text.rstrip("\r\n") if form == "lines" else record_text(text, where)


def record_text(text: str, where: str) -> Any:
    """The text of a JSON record, or its tokens."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not JSON: {error}", where, 'write one {"text": ...} a line') from None
    found = record.get("text", record.get("tokens")) if isinstance(record, dict) else None
    if isinstance(found, str) or (isinstance(found, list) and all(isinstance(word, str) and word for word in found)):
        try:
            "".join(found).encode("utf8")
        except UnicodeEncodeError:
            raise InputError("the text holds half of a surrogate pair, which is not a character", where, "fix the record") from None
        return found
    raise InputError("the record has no text", where, 'write one {"text": ...} or {"tokens": [...]} a line')


def sample(files: list[str], form: str, first: int, more: int, seed: int = 0) -> list[Chunk]:
    """The first records, and some from elsewhere; from compressed files only those at the beginning, from standard input none."""
    found: list[Chunk] = []
    missing = first
    for path in files:
        if path == "-" or missing <= 0:
            break
        for chunk in chunks([path], form, missing):
            found.append(chunk)
            missing -= len(chunk.lines)
    draw = random.Random(seed)
    plain = [path for path in files if path != "-" and not path.endswith(".gz")]
    sizes = [Path(path).stat().st_size for path in plain]
    for _ in range(more if sum(sizes) else 0):
        path = draw.choices(plain, sizes)[0]
        line = line_at(path, draw.randrange(Path(path).stat().st_size))
        if line:
            found.append(Chunk(path, [0], [line], 0))
    return found


def line_at(path: str, offset: int) -> bytes:
    """The first whole line after `offset`; empty at the end, and if it is blank."""
    with open(path, "rb") as file:
        file.seek(offset)
        file.readline()
        line = file.readline()
    return line if line.strip() else b""
