"""The files that a run appends to, read while it runs and after it: log.jsonl and t2v/events.jsonl (docs/events.md).
In: a folder. Out: rows as dictionaries; a line that is incomplete or not JSON is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def log_path(out: Path) -> Path:
    return out / "log.jsonl"


def events_path(out: Path) -> Path:
    return out / "t2v" / "events.jsonl"


def parse(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def read(path: Path) -> list[Row]:
    """All rows of a file; none if it does not exist."""
    return list(parse(path.read_text(encoding="utf8", errors="replace"))) if path.is_file() else []


def trained(row: Row) -> bool:
    """Whether a row of log.jsonl is about training. That of model-last.bin is not: nothing follows the last epoch, and its loss is 0."""
    return number(row.get("epoch_loss")) != 0.0


def number(value: Any) -> "float | None":
    """A finite number, or None: files of others are not trusted."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < float("inf") else None


def reason(row: Row) -> str:
    """Why a run has stopped, without the words that are in its status already."""
    return str(row.get("why") or "").replace("stopped early: ", "", 1)


class Tail:
    """New rows of a growing file. Rows from before are left out; a file that replaces it is read from its start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file, self.offset = self.look()

    def look(self) -> tuple[int, int]:
        """(inode, size); (0, 0) if there is no file."""
        try:
            found = self.path.stat()
        except OSError:
            return 0, 0
        return found.st_ino, found.st_size

    def rows(self) -> list[Row]:
        """Complete lines added since the last call."""
        file, size = self.look()
        if file != self.file:
            self.file, self.offset = file, 0
        if size < self.offset:  # a resumed run has removed the lines of updates that it repeats
            self.offset = size
        if size == self.offset:
            return []
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read(size - self.offset)
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return list(parse(whole.decode("utf8", errors="replace")))
