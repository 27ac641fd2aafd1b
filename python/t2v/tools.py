"""The commands beside pretraining: evaluate, report, status, bench. Each imports what it needs when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import typer

from .commands import CODE, EXTRA, commands, fail, reported

__all__ = ["commands"]

STOPPED = 75


@commands.command("evaluate", context_settings=EXTRA)
def evaluate_command(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Path to the config file, with [pretraining] and components that learn from labels."),
    out: Path = typer.Argument(..., help="Folder of the pretraining, with its weights."),
    train: Path = typer.Option(..., "--train", help="Labelled documents to train on (.spacy)."),
    dev: Path = typer.Option(..., "--dev", help="Labelled documents to score on (.spacy)."),
    sizes: str = typer.Option("100,500,2000,all", "--sizes", help="Numbers of labelled documents."),
    seeds: int = typer.Option(3, "--seeds", help="Trainings of each kind: other documents, other random numbers."),
    weights: str = typer.Option("", "--weights", help="Weights files, separated by commas. Default: model-best.bin, else model-last.bin."),
    jobs: int = typer.Option(0, "--jobs", help="Trainings at a time; 0: one for each core."),
    code: Optional[Path] = CODE,
    gpu: int = typer.Option(-1, "--gpu-id", "-g", help="GPU for `spacy train`; -1: CPU."),
    quiet: bool = typer.Option(False, "--quiet", help="Show only warnings and errors."),
    json_progress: bool = typer.Option(False, "--json-progress", help="Show progress as JSON lines on standard output."),
) -> None:
    """Train with and without the weights on growing parts of labelled data, with the real `spacy train`, and say whether they help.

    Overrides of the config, such as --training.max_steps 500, are passed on. Completed trainings are not repeated.
    """
    import signal

    from . import display
    from .evaluate import Request, evaluate

    display.choose(["--quiet"] * quiet + ["--json-progress"] * json_progress)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the trainings must end, too
    with reported():
        try:
            evaluate(Request(config_path, out, train, dev, sizes, seeds, weights, code, gpu, jobs, list(ctx.args)))
        except KeyboardInterrupt:
            fail("stopped; the same command continues from here", STOPPED)


@commands.command("report")
def report_command(
    out: Path = typer.Argument(..., help="Folder of a pretraining."),
    output: Optional[Path] = typer.Option(None, "--output", "-o", help="Where to write it. Default: OUT/t2v/report.html."),
) -> None:
    """Write one HTML page about a pretraining: settings, data, curves, workers, faults, checkpoints, and how to use the weights."""
    from .display import screen
    from .report import write_report

    with reported():
        screen.say(f"wrote {write_report(out, output)}", sign="\u2714")


@commands.command("status")
def status_command(
    out: Path = typer.Argument(..., help="Folder of a pretraining."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Say how far along a run is, whether it is running, what it has written, whether it can be resumed and with which command."""
    from .status import lines, status

    with reported():
        found = status(out)
        print(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)), flush=True)


@commands.command("bench", context_settings=EXTRA)
def bench_command(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Path to the config file."),
    texts: Optional[Path] = typer.Argument(None, help="Texts, instead of those that the config names."),
    seconds: float = typer.Option(60.0, "--seconds", help="How long each program is measured."),
    code: Optional[Path] = CODE,
) -> None:
    """Measure spaCy's own pretrain and t2v on this machine, with this config: words per second, memory, days per epoch."""
    from .bench import bench

    rest = list(ctx.args)
    if texts is not None and str(texts).startswith("--"):  # the name of an override in the place of TEXTS
        rest, texts = [str(texts), *rest], None
    with reported():
        bench(config_path, texts, seconds, code, rest)
