"""Figures in words, for people. In: numbers. Out: text."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`9 seconds`, `2.5 hours`, `1.7 days`."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    count = max(0, round(seconds))
    return f"{count} second" + ("" if count == 1 else "s")
