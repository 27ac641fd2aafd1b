"""The report's plots. In: rows of log.jsonl, of events, and the evaluation's summary.
Out: (caption, SVG) pairs, those for which there is data."""

from __future__ import annotations

from typing import Any, Optional

from .curves import Cell
from .events import Row, number
from .plots import draw, learning_curve, matplotlib_or_refuse

MOST = 2000
"""The most points of a line: more would not be visible."""


def points(rows: list[Row], across: str, up: str, kinds: Optional[tuple[str, ...]] = None) -> tuple[list[float], list[float]]:
    found = [(number(row.get(across)), number(row.get(up))) for row in rows if kinds is None or row.get("kind") in kinds]
    both = [(x, y) for x, y in found if x is not None and y is not None]
    step = max(1, len(both) // MOST)
    kept = both[::step] + ([both[-1]] if both and (len(both) - 1) % step else [])
    return [x for x, _ in kept], [y for _, y in kept]


def all_plots(log: list[Row], events: list[Row], evaluation: Any) -> list[tuple[str, str]]:
    matplotlib_or_refuse()
    made = [losses(log, events), speed(events), workers(events), evaluated(evaluation)]
    return [plot for plot in made if plot]


def losses(log: list[Row], events: list[Row]) -> Optional[tuple[str, str]]:
    """Training and held-out loss per selected word, over words; spaCy's epoch_loss if a log has nothing better."""
    series = []
    train = points(log, "nr_word", "loss_per_selected_word")
    caption, up = "Loss per hidden word", "loss per hidden word"
    if not train[0]:
        train, caption, up = points(log, "nr_word", "epoch_loss"), "Loss of each epoch", "loss"
    if train[0]:
        series.append({"x": train[0], "y": train[1], "label": "training"})
    held_out = points(events, "nr_word", "loss", ("evaluation",))
    held_out = held_out if held_out[0] else points(log, "nr_word", "held_out_loss")
    if held_out[0]:
        series.append({"x": held_out[0], "y": held_out[1], "label": "held-out"})
    return (caption, draw("losses", "words trained on", up, series)) if series else None


def hours(events: list[Row], x: list[float]) -> tuple[list[float], str]:
    """Times since the first event, in the unit that suits them."""
    times = [time for time in (number(row.get("time")) for row in events) if time is not None]
    first, last = min(times), max(times)
    size, unit = next(
        ((size, unit) for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")) if last - first > 2 * size), (1, "seconds")
    )
    return [(value - first) / size for value in x], unit


def speed(events: list[Row]) -> Optional[tuple[str, str]]:
    x, y = points(events, "time", "words_per_second", ("progress",))
    if len(x) < 2:
        x, y = points(events, "time", "words_per_second", ("epoch",))
    if not x:
        return None
    across, unit = hours(events, x)
    return "Words a second", draw("speed", unit, "words/s", [{"x": across, "y": y}])


def workers(events: list[Row]) -> Optional[tuple[str, str]]:
    """Workers over time; dotted lines mark faults."""
    x, y = points(events, "time", "workers", ("worker_joined", "worker_left", "progress", "epoch"))
    if not x:
        return None
    across, unit = hours(events, x)
    faults, _ = hours(events, points(events, "time", "time", ("fault",))[0])
    caption = "Workers" + (" (dotted: faults)" if faults else "")
    return caption, draw("workers", unit, "workers", [{"x": across, "y": y, "steps": True}], marks=faults, whole=True)


def evaluated(summary: Any) -> Optional[tuple[str, str]]:
    """The learning curve of `spacy t2v evaluate`."""
    try:
        cells = [Cell(int(cell["size"]), cell["weights"], [float(score) for score in cell["scores"]]) for cell in summary.get("cells", [])]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return ("Does it help? Score on labelled documents", learning_curve(cells)) if cells and all(cell.scores for cell in cells) else None
