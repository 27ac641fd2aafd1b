#!/usr/bin/env python3
"""What larger updates cost, and bf16: held-out loss against words and against time. Writes docs/updates.md and docs/updates-*.svg.

    Benchmarks/updates.py FOLDER [--texts FILE.jsonl] [--vectors FOLDER38] [--millions 100] [--wide-millions 10] [--only PART ...] [--report]

Trains configs of examples/configs on the same texts, one worker on one core and 4 lanes, with 3,000, 12,000 and 48,000 words an update, with and without
--scale-learn-rate, in float32 and bf16; 5% of the documents are held out and scored at the end of every epoch. About 3 hours of one core.
Everything is kept in FOLDER: the same command continues where it was stopped, also with greater --millions or --wide-millions; a completed
run is not repeated. --only: runs whose name contains one of these parts. --report: run nothing, write the report from what exists. Speed
comes from `t2v-coordinator profile` (CPU time of one core), so it does not matter what else the machine is doing. Needs the spaCy 3.8 of
Tests/reference/setup-venvs.sh. Standard library only.
"""
import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from host import profile

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
VENVS = Path(os.environ.get("T2V_VENVS", ROOT / ".venvs"))
BIN = Path(os.environ.get("T2V_BIN", ROOT / ".build/release"))
SMALL, WIDE = "96/4", "256/8"
CONFIGS = {SMALL: "small-96.cfg", WIDE: "vectors-256.cfg"}
TITLES = {SMALL: "96 wide, 4 deep, characters", WIDE: "256 wide, 8 deep, static vectors, characters"}
MARKS = {SMALL: [5, 10, 25, 50, 100], WIDE: [5, 10, 25, 50, 75, 100]}
CORES = [1, 4, 16, 64]
COLOURS = ["#3b6ea5", "#c2571a", "#4b8b3b", "#8a4b9c", "#7a7a7a", "#b59b00"]


class Run(NamedTuple):
    model: str
    batch: int
    scaled: bool = False
    precision: str = "float32"

    @property
    def name(self):
        return f"{self.model.replace('/', '-')}-{self.batch}{'-scaled' if self.scaled else ''}-{self.precision}"

    @property
    def label(self):
        scaled = f", learning rate x {math.sqrt(self.batch / 3000):g}" if self.scaled else ""
        return f"{self.batch:,}{scaled}{', bf16' if self.precision == 'bf16' else ''}"


# The most informative first.
RUNS = [
    Run(SMALL, 12000, True), Run(SMALL, 12000, True, "bf16"), Run(SMALL, 3000), Run(SMALL, 48000, True), Run(SMALL, 12000),
    Run(SMALL, 48000), Run(WIDE, 3000), Run(WIDE, 12000, True), Run(WIDE, 12000), Run(WIDE, 48000, True), Run(WIDE, 48000),
    Run(WIDE, 12000, True, "bf16"), Run(WIDE, 3000, precision="bf16"), Run(WIDE, 48000, True, "bf16"),
]


def events(folder, kind):
    """Events of one kind that a run has written, oldest first."""
    path = folder / "t2v/events.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def curve(folder):
    """(words, held-out loss) at the end of every epoch."""
    return sorted({event["nr_word"]: event["loss"] for event in events(folder, "evaluation")}.items())


def t2v(options, *arguments):
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "python"), T2V_BIN=str(BIN), PYTHONWARNINGS="ignore")
    command = ["taskset", "-c", options.core, VENVS / "spacy-3.8/bin/python", "-m", "t2v", *arguments]
    with open(options.folder / "log", "a") as log:
        subprocess.run(list(map(str, command)), check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)


def train(options, run):
    """Begins or continues a run until it has trained on the requested number of words."""
    folder = options.folder / run.name
    machine = ["--workers", 1, "--no-report", "--quiet", "--cache", options.folder / "cache"]
    if not events(folder, "epoch"):
        overrides = ["--paths.raw_text", options.texts, "--pretraining.batcher.size", run.batch, "--pretraining.max_epochs", 1,
                     "--t2v.held_out", 0.05, "--t2v.lanes", 4, "--t2v.precision", run.precision, "--overwrite"]
        overrides += ["--paths.vectors", options.vectors] if run.model == WIDE else []
        overrides += ["--scale-learn-rate"] if run.scaled else []
        t2v(options, "pretrain", ROOT / "examples/configs" / CONFIGS[run.model], folder, *overrides, *machine)
    words = events(folder, "started")[0]["words"]
    millions = options.millions if run.model == SMALL else options.wide_millions
    epochs = math.ceil(millions * 1e6 / words)
    if len(curve(folder)) < epochs:
        t2v(options, "resume", folder, "--n-iter", epochs, *machine)
    print(f"{run.name}: {curve(folder)[-1][0]:,} words, held-out loss {curve(folder)[-1][1]:.4f}", flush=True)


def cost(options, run, lanes, threads):
    """CPU milliseconds of an update on one core in `lanes` lanes: (its lanes, a worker's sum of them, the coordinator's step). Kept in FOLDER."""
    path = options.folder / "costs.json"
    costs = json.loads(path.read_text()) if path.exists() else {}
    name = f"{run.model} {run.batch} {run.precision} {lanes} {threads}"
    if name not in costs:
        updates = max(2, 96_000 // run.batch if run.model == SMALL else 24_000 // run.batch)
        costs[name] = profile(options.folder / run.name / "t2v/job", lanes, run.batch, options.core, "--updates", updates, "--threads", threads)
        path.write_text(json.dumps(costs, indent=1))
    return costs[name]


def rate(options, run, cores):
    """Words/s of a host with this many cores: lanes in parallel, then a worker's sum and the step."""
    lanes, adding, step = cost(options, run, max(4, cores), cores)
    return run.batch / (lanes / cores + adding / cores + step) * 1000


def at(points, words):
    """Loss after this many words, interpolated linearly between evaluations; None beyond them."""
    for (w0, l0), (w1, l1) in zip(points, points[1:]):
        if w0 <= words <= w1:
            return l0 + (l1 - l0) * (words - w0) / (w1 - w0)
    return None


def words_until(points, loss):
    """Words after which the loss was this low for the first time; None: never."""
    for (w0, l0), (w1, l1) in zip(points, points[1:]):
        if l1 <= loss:
            return w0 + (w1 - w0) * (l0 - loss) / (l0 - l1) if l0 > loss else w0
    return None


def figure(path, title, axis, curves):
    """Curves of loss over a logarithmic axis. curves: [(label, [(x, loss)])]."""
    width, height, left, right, top, bottom = 860, 420, 60, 250, 40, 45
    xs = [math.log10(x) for _, points in curves for x, _ in points]
    ys = [y for _, points in curves for _, y in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), min(max(ys), min(ys) * 1.12)
    place_x = lambda x: left + (math.log10(x) - x0) / (x1 - x0) * (width - left - right)
    place_y = lambda y: top + (y1 - min(y, y1)) / (y1 - y0) * (height - top - bottom)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
             '<rect width="100%" height="100%" fill="white"/>', f'<text x="{left}" y="22" font-weight="bold">{title}</text>',
             f'<text x="{left}" y="{height - 8}">{axis}</text>']
    for index in range(6):
        y = y0 + (y1 - y0) * index / 5
        lines.append(f'<path d="M{left} {place_y(y):.1f}H{width - right}" stroke="#ddd"/><text x="8" y="{place_y(y) + 4:.1f}">{y:.3f}</text>')
    for power in range(math.floor(x0), math.ceil(x1) + 1):
        for step in (1, 2, 5):
            x = step * 10.0**power
            if x0 <= math.log10(x) <= x1:
                lines.append(f'<path d="M{place_x(x):.1f} {top}V{height - bottom}" stroke="#ddd"/>'
                             f'<text x="{place_x(x):.1f}" y="{height - bottom + 16}" text-anchor="middle">{x:g}</text>')
    for index, (label, points) in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        path_ = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points)
        lines.append(f'<polyline points="{path_}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        lines.append(f'<text x="{width - right + 10}" y="{top + 14 + 20 * index}" fill="{colour}">{label}</text>')
    path.write_text("\n".join(lines + ["</svg>"]) + "\n")


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(row) + " |" for row in rows]


def section(options, model):
    """The tables of one model, [] if nothing was run."""
    runs = [(run, curve(options.folder / run.name)) for run in RUNS if run.model == model]
    runs = sorted([(run, points) for run, points in runs if len(points) > 1], key=lambda pair: (pair[0].precision, pair[0].batch, pair[0].scaled))
    if not runs:
        return []
    epoch = events(options.folder / runs[0][0].name, "started")[0]["words"]
    longest = max(points[-1][0] for _, points in runs)
    marks = [mark for mark in MARKS[model] if mark * 1e6 <= longest]
    lines = ["", f"## {TITLES[model]}", "", f"An epoch is {epoch:,} words. Held-out loss of a hidden word:", ""]
    cells = lambda points: [f"{loss:.4f}" if (loss := at(points, mark * 1e6)) else "" for mark in marks]
    best = lambda points: min(points, key=lambda point: point[1])
    lines += table(["words an update", *(f"{mark} million" for mark in marks), "lowest, after"],
                   [[run.label, *cells(points), f"{best(points)[1]:.4f}, {best(points)[0] / 1e6:.0f} million"] for run, points in runs])
    base = next((points for run, points in runs if run.batch == 3000), [])
    # The last mark whose loss most runs have reached.
    reached = lambda mark: sum(words_until(points, at(base, mark * 1e6)) is not None for _, points in runs)
    mark = max([mark for mark in marks if at(base, mark * 1e6) and 2 * reached(mark) > len(runs)], default=None)
    if mark:
        goal = at(base, mark * 1e6)
        lines += ["", f"Until the loss is what 3,000 words an update reach after {mark} million ({goal:.4f}): words, and seconds on a host of so many",
                  "cores, with its words/s.", ""]
        rows = []
        for run, points in runs:
            needed = words_until(points, goal)
            row = [run.label, f"{needed / 1e6:.1f} million" if needed else f"not in {points[-1][0] / 1e6:.0f} million"]
            for cores in CORES:
                speed = rate(options, run, cores)
                row.append((f"{needed / speed:,.0f} s, " if needed else "") + f"{speed:,.0f}")
            rows.append(row)
        lines += table(["words an update", "words", *(f"{cores} core{'s' if cores > 1 else ''}" for cores in CORES)], rows)
    stem = model.replace("/", "-")
    docs = ROOT / "docs"
    figure(docs / f"updates-{stem}-words.svg", f"{model}: held-out loss", "millions of words",
           [(run.label, [(w / 1e6, l) for w, l in points]) for run, points in runs])
    figure(docs / f"updates-{stem}-time.svg", f"{model}: held-out loss on 16 cores", "seconds",
           [(run.label, [(w / rate(options, run, 16), l) for w, l in points]) for run, points in runs])
    return lines + ["", f"![loss against words](updates-{stem}-words.svg)", "", f"![loss against time](updates-{stem}-time.svg)"]


def report(options):
    texts = options.texts.name
    lines = ["# What larger updates cost", "",
             f"Made by `Benchmarks/updates.py FOLDER`. Texts: {texts}, again and again, 4 lanes; 5% of the documents are held out, and scored with the",
             "averaged weights at the end of each epoch. \"learning rate x 2\": `--scale-learn-rate`. Words/s come from the CPU time that `t2v-coordinator",
             "profile` measured on one core, for as many lanes as cores (at least 4): lanes and their sums are divided by the cores, the coordinator's step",
             "(with two contributions) is not. That leaves out what cores take from each other: the speed of memory, and lanes that wait for the slowest."]
    for model in CONFIGS:
        lines += section(options, model)
    (ROOT / "docs/updates.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--vectors", type=Path, default=SHARED / "en-vectors-20k-spacy3.8")
    parser.add_argument("--millions", type=float, default=100, help="of words, 96/4")
    parser.add_argument("--wide-millions", type=float, default=10, help="of words, 256/8")
    parser.add_argument("--core", default="0")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.texts.exists():
        sys.exit(f"error: {options.texts} does not exist; give --texts")
    for run in [] if options.report else RUNS:
        if not options.only or any(part in run.name for part in options.only):
            train(options, run)
    report(options)


if __name__ == "__main__":
    main()
