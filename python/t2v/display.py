"""What the commands show: lines that stay, and on a terminal one that is overwritten. In: text. Out: standard output. The coordinator shows
its progress in the same ways (docs/operations.md): --quiet, --json-progress, no colors, no escape sequences."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

LIVE, ROW, EVENT = 0.25, 10.0, 1.0
"""Seconds between two states of the live line, between rows if there is none, between JSON lines."""


class Display:
    """The style is that of the command's options; `automatic` has a live line on a terminal."""

    def __init__(self, style: str = "automatic") -> None:
        self.style = style
        self.open = 0
        self.shown = 0.0

    @property
    def is_live(self) -> bool:
        """Whether a line can be overwritten. Notebooks run `!` commands on a terminal of their own."""
        return self.style == "automatic" and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")

    @property
    def width(self) -> int:
        """The last column stays free: writing to it may begin a new line."""
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = 80
        return (min(columns, 80) if columns > 0 else 80) - 1

    def say(self, text: str, sign: str = "\u2139") -> None:
        """A line that stays: information, or with a tick as its sign, a result."""
        if self.style == "json":
            self.write(json.dumps({"event": "message", "text": text}) + "\n")
        elif self.style == "automatic":
            self.clear()
            self.write(f"{sign} {text}\n" if sign else f"{text}\n")

    def progress(self, text: str, event: str, **figures: Any) -> None:
        """The progress of something that takes long; shown from time to time. Call it as often as you like."""
        now = time.monotonic()
        pause = EVENT if self.style == "json" else LIVE if self.is_live else ROW
        if self.style == "quiet" or now < self.shown + pause:
            return
        self.shown = now
        if self.style == "json":
            self.write(json.dumps({"event": event, **figures}) + "\n")
        elif self.is_live:
            text = text[: self.width]
            self.write("\r" + text.ljust(self.open))
            self.open = len(text)
        else:
            self.say(text)

    def clear(self) -> None:
        """Removes the live line."""
        if self.open:
            self.write("\r" + " " * self.open + "\r")
            self.open = 0

    def write(self, text: str) -> None:
        """A terminal that lacks these characters gets others; a reader that has gone does not stop the program."""
        coding = sys.stdout.encoding or "utf8"
        try:
            sys.stdout.write(text.encode(coding, "replace").decode(coding))
            sys.stdout.flush()
        except (BrokenPipeError, ValueError):
            self.style = "quiet"


screen = Display()
"""That of this process."""


def choose(options: list[str]) -> None:
    """Takes the style from options of the coordinator, which are passed on to it, too."""
    for name, style in (("--quiet", "quiet"), ("--json-progress", "json")):
        if name in options:
            screen.style = style


def warn(text: str) -> None:
    """A warning on standard error, whatever the style."""
    screen.clear()
    coding = sys.stderr.encoding or "utf8"
    print(f"\u26a0 {text}".encode(coding, "replace").decode(coding), file=sys.stderr, flush=True)
