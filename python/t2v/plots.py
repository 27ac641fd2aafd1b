"""Plots as SVG, by Matplotlib, which is an extra (`pip install "t2v[report]"`). In: numbers. Out: SVG text that follows a page's colours.

Colours are placeholders while Matplotlib draws, and variables of the page's style sheet afterwards, so one drawing serves light and dark.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Optional

from .errors import InputError

if TYPE_CHECKING:
    from .curves import Cell

INK = "#010203"
LINES = ("#010211", "#010212", "#010213", "#010214", "#010215")
VARIABLES = {INK: "var(--ink)", **{color: f"var(--line{number})" for number, color in enumerate(LINES)}}
STYLE = """svg { --ink: #333; --line0: #1f6fb4; --line1: #d1570c; --line2: #2b8a3e;
  --line3: #9c36b5; --line4: #b8860b; }
@media (prefers-color-scheme: dark) { svg { --ink: #ccc; --line0: #6cb2f0; --line1: #f4a261; --line2: #69db7c;
  --line3: #d79bee; --line4: #e5c158; } }"""


def matplotlib_or_refuse() -> Any:
    """Matplotlib's `rcParams`, set for these drawings.

    Raises: InputError with the command that installs it.
    """
    os.environ["MPLBACKEND"] = "svg"  # a notebook sets its own, which this Python may not have
    try:
        import matplotlib
    except ImportError:
        raise InputError("plots need Matplotlib, which is not installed", "", 'pip install "t2v[report]"') from None
    matplotlib.use("svg")
    return matplotlib


def draw(
    name: str, across: str, up: str, series: Iterable[dict[str, Any]], log_x: bool = False, marks: Iterable[float] = (), whole: bool = False
) -> str:
    """One plot of lines. Each series: x, y, label, and optionally spread (same length as y), dashed, steps. `marks`: vertical lines at x;
    `whole`: y is a count.

    Returns SVG without a size of its own: it fills the width it is given.
    """
    matplotlib = matplotlib_or_refuse()
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "svg.id": f"plot-{name}",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context({key: value for key, value in settings.items() if key in matplotlib.rcParams}):
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot()
        lines = list(series)
        labels = 0
        for number, line in enumerate(lines):
            x, y = list(line["x"]), list(line["y"])
            color = LINES[number % len(LINES)]
            style: dict[str, Any] = {
                "color": color,
                "linewidth": 1.6,
                "linestyle": "--" if line.get("dashed") else "-",
                "label": line.get("label"),
            }
            if line.get("spread"):
                axes.errorbar(x, y, yerr=line["spread"], capsize=3, marker="o", markersize=4, **style)
            elif line.get("steps"):
                axes.step(x, y, where="post", **style)
            else:
                axes.plot(x, y, marker="o" if len(x) < 40 else None, markersize=3, **style)
            labels += bool(line.get("label"))
        for place in marks:
            axes.axvline(place, color=LINES[1], linewidth=0.8, linestyle=":")
        if log_x:
            axes.set_xscale("log")
            ticks = sorted({float(value) for line in lines for value in line["x"]})
            axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
        if whole:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(bottom=0)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(color=INK, alpha=0.15)
        if labels:
            axes.legend(frameon=False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return themed(stream.getvalue(), name)


def short(value: float) -> str:
    """1500000 -> 1.5M, 0.25 -> 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def themed(svg: str, name: str) -> str:
    """Colours become variables, the size is removed, and ids get the plot's name, so that several drawings can be on one page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)([^")]+)', lambda found: found[1] + (f"{name}-{found[2]}" if found[2] in ids else found[2]), svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def standalone(svg: str) -> str:
    """The drawing as a separate file, with its colours for light and dark."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + re.sub(r"(<svg[^>]*>)", rf"\1<style>{STYLE}</style>", svg, count=1)


def learning_curve(cells: "list[Cell]") -> str:
    """Score against labelled documents, with and without, mean and spread over seeds."""
    names: list[Optional[str]] = list(dict.fromkeys(cell.weights for cell in cells))
    series = []
    for name in names:
        mine = sorted((cell for cell in cells if cell.weights == name), key=lambda cell: cell.size)
        series.append(
            {
                "x": [cell.size for cell in mine],
                "y": [cell.mean for cell in mine],
                "spread": [cell.spread or 0.0 for cell in mine],
                "label": f"with {name}" if name else "without",
                "dashed": name is None,
            }
        )
    return draw("curve", "labelled documents", "score", series, log_x=len({cell.size for cell in cells}) > 1)
