"""What the scores say. In: results of trainings. Out: means, spreads, a verdict in plain words, tables."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Cell:
    """One size with one weights file, or without (`weights` is None). Scores of the seeds, in the seeds' order."""

    size: int
    weights: Optional[str]
    scores: list[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> Optional[float]:
        """Standard deviation over the seeds; None for one seed."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """One weights file against none, on the same samples and seeds, pair by pair."""

    size: int
    weights: str
    differences: list[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def spread(self) -> Optional[float]:
        return statistics.stdev(self.differences) if len(self.differences) > 1 else None

    @property
    def verdict(self) -> str:
        """`helps` or `hurts` only if the mean difference is larger than the spread of the seeds' differences."""
        if self.spread is None:
            return "unknown"
        if abs(self.mean) <= self.spread:
            return "no difference"
        return "helps" if self.mean > 0 else "hurts"


def compare(cells: list[Cell]) -> list[Comparison]:
    """Every cell with weights against the cell without of the same size."""
    without = {cell.size: cell for cell in cells if cell.weights is None}
    return [
        Comparison(cell.size, cell.weights, [with_ - base for with_, base in zip(cell.scores, without[cell.size].scores)])
        for cell in cells
        if cell.weights is not None
    ]


def signed(value: float, spread: Optional[float]) -> str:
    return f"{value:+.4f}" + ("" if spread is None else f" \u00b1 {spread:.4f}")


def plain(cell: Cell) -> str:
    return f"{cell.mean:.4f}" + ("" if cell.spread is None else f" \u00b1 {cell.spread:.4f}")


def table(cells: list[Cell]) -> str:
    """Rows for a terminal: documents, score without, and for each weights file score, difference and verdict."""
    names = list(dict.fromkeys(cell.weights for cell in cells if cell.weights is not None))
    by_place = {(cell.size, cell.weights): cell for cell in cells}
    differences = {(item.size, item.weights): item for item in compare(cells)}
    rows = [["documents", "without"] + [title for name in names for title in (f"with {name}", "difference", "")]]
    for size in sorted({cell.size for cell in cells}):
        row = [str(size), plain(by_place[size, None])]
        for name in names:
            item = differences[size, name]
            row += [plain(by_place[size, name]), signed(item.mean, item.spread), item.verdict]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows)


def csv_rows(cells: list[Cell]) -> list[list[Any]]:
    """A row for each training, with a header."""
    return [["documents", "weights", "seed", "score"]] + [
        [cell.size, cell.weights or "", seed, score] for cell in cells for seed, score in enumerate(cell.scores)
    ]


def sizes_in_words(items: list[Comparison]) -> str:
    words = [f"{item.size:,}" for item in items]
    listed = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
    return f"{listed} {'document' if words == ['1'] else 'documents'}"


def verdicts(cells: list[Cell]) -> list[str]:
    """One sentence for each weights file and outcome, that a user can act on."""
    if not any(any(cell.scores) for cell in cells):
        return ["Every score is 0: nothing was learned, so nothing can be said. Train longer, or give more documents."]
    said = []
    comparisons = compare(cells)
    for name in dict.fromkeys(item.weights for item in comparisons):
        mine = [item for item in comparisons if item.weights == name]
        kinds = {kind: [item for item in mine if item.verdict == kind] for kind in ("helps", "hurts", "no difference", "unknown")}
        if kinds["unknown"]:
            said.append(f"{name}: one seed cannot tell a gain from chance; give --seeds 3 or more.")
            continue
        if kinds["helps"]:
            gains = ", ".join(f"{item.mean:+.4f}" for item in kinds["helps"])
            said.append(f"{name} helps with {sizes_in_words(kinds['helps'])}: {gains}.")
        else:
            said.append(f"{name} does not help here.")
        if kinds["no difference"]:
            said.append(f"{name}: with {sizes_in_words(kinds['no difference'])} the difference is within the seeds' spread.")
        if kinds["hurts"]:
            losses = ", ".join(f"{item.mean:+.4f}" for item in kinds["hurts"])
            said.append(f"{name} makes it worse with {sizes_in_words(kinds['hurts'])}: {losses}.")
    return said
