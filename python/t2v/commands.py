"""The command line: `python -m spacy t2v COMMAND` and `t2v COMMAND`. Each command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Optional

import typer

HELP = "Pretraining of the tok2vec layer on all cores and many machines, with the config of `spacy pretrain`."
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}

commands = typer.Typer(name="t2v", help=HELP, no_args_is_help=True, rich_markup_mode=None)


CODE = typer.Option(None, "--code", "-c", help="Python file with registered functions, to be imported.")
GPU = typer.Option(-1, "--gpu-id", "-g", help="-1: t2v computes on CPUs.")


def fail(message: object, status: int = 2) -> NoReturn:
    from .display import screen

    screen.clear()
    coding = sys.stderr.encoding or "utf8"
    print(f"\u2718 {message}".encode(coding, "replace").decode(coding), file=sys.stderr)
    raise SystemExit(status)


@contextmanager
def reported() -> Iterator[None]:
    """Prints errors that the user can fix as one line, and ends with status 2."""
    from .errors import InputError

    try:
        yield
    except InputError as error:
        if os.environ.get("T2V_TRACEBACK"):
            traceback.print_exc()
        fail(error)
    except KeyboardInterrupt:
        fail("stopped", 130)


def text_note(job: dict[str, Any]) -> str:
    """One line that says who tokenizes the texts, and why."""
    text = job["text"]
    who = "t2v tokenizes" if text["path"] == "fast" else "Python has tokenized the texts"
    return f"{who}: {text['why']}"


VERIFY = typer.Option(500, "--verify", help="Compare tokens with spaCy's on this many of the first documents and as many others.")


@commands.command("compile", context_settings=EXTRA)
def compile_command(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Path to the config file."),
    job: Path = typer.Argument(..., help="Folder for the job."),
    code: Optional[Path] = CODE,
    portable: bool = typer.Option(False, "--portable", help="Put the vectors into the job, so that it can be copied to another machine."),
    verify: int = VERIFY,
) -> None:
    """Compile a config into a job folder, which the programs can run without Python."""
    with reported():
        from .compile import compile_job
        from .display import screen

        result, notes = compile_job(config_path, job, list(ctx.args), code, portable, verified=verify)
        for note in [*notes, text_note(result)]:
            screen.say(note)
        screen.say(f"Wrote the job to {job}", sign="\u2714")


@commands.command("pretrain", context_settings=EXTRA)
def pretrain_command(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Path to the config file."),
    out: Path = typer.Argument(..., help="Folder for the weights."),
    code: Optional[Path] = CODE,
    resume_path: Optional[Path] = typer.Option(None, "--resume-path", "-r", help="Start from this file of weights, as `spacy pretrain`."),
    epoch_resume: Optional[int] = typer.Option(None, "--epoch-resume", "-er", help="First epoch's number, with --resume-path."),
    gpu: int = GPU,
    skip_last: bool = typer.Option(False, "--skip-last", "-L", help="Do not write model-last.bin."),
    verify: int = VERIFY,
) -> None:
    """Pretrain the tok2vec layer, as `spacy pretrain`, on all cores. More options: --workers, --threads, --bind, --metrics, ..."""
    with reported():
        from .compile import refuse_gpu
        from .pretrain import pretrain

        refuse_gpu(gpu)
        pretrain(config_path, out, list(ctx.args), code, resume_path, epoch_resume, skip_last, verify)


@commands.command("resume", context_settings=EXTRA)
def resume_command(ctx: typer.Context, out: Path = typer.Argument(..., help="The run's folder."), code: Optional[Path] = CODE) -> None:
    """Resume a stopped or killed run; the final weights are byte-identical."""
    with reported():
        from .pretrain import resume

        resume(out, list(ctx.args), code)


@commands.command("check", context_settings=EXTRA)
def check_command(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Path to the config file for `spacy train`."),
    weights: Optional[Path] = typer.Argument(None, help="modelN.bin; default: [initialize] init_tok2vec of the config."),
    code: Optional[Path] = CODE,
) -> None:
    """Say whether `spacy train` will load these weights with this config, or what to change. Status 0: yes; 2: no."""
    with reported():
        from .check import check
        from .display import screen

        rest = list(ctx.args)
        if weights is not None and str(weights).startswith("--"):
            rest, weights = [str(weights), *rest], None
        for line in check(config_path, weights, rest, code):
            screen.say(line, sign="\u2714" if line.startswith("yes") else "\u2139")
