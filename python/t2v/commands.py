"""The command line: `python -m spacy t2v COMMAND` and `t2v COMMAND`. Each command imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Optional

import typer

HELP = "Pretraining of the tok2vec layer on all cores and many machines, with the config of `spacy pretrain`."
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}

commands = typer.Typer(name="t2v", help=HELP, no_args_is_help=True, rich_markup_mode=None)


@commands.callback()
def group() -> None:
    """Makes this a group even while it has one command."""


CODE = typer.Option(None, "--code", "-c", help="Python file with registered functions, to be imported.")
GPU = typer.Option(-1, "--gpu-id", "-g", help="-1: t2v computes on CPUs.")


def fail(message: object, status: int = 2) -> NoReturn:
    print(f"\u2718 {message}", file=sys.stderr)
    raise SystemExit(status)


@contextmanager
def reported() -> Iterator[None]:
    """Prints errors that the user can mend as one line, and ends with status 2."""
    from .errors import InputError

    try:
        yield
    except InputError as error:
        fail(error)


@commands.command("compile", context_settings=EXTRA)
def compile_command(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Path to the config file."),
    job: Path = typer.Argument(..., help="Folder for the job."),
    code: Optional[Path] = CODE,
    portable: bool = typer.Option(False, "--portable", help="Put the vectors into the job, so that it can be copied to another machine."),
) -> None:
    """Compile a config into a job folder, which the programs can run without Python."""
    with reported():
        from .compile import compile_job

        result, notes = compile_job(config_path, job, list(ctx.args), code, portable)
        for note in notes:
            print(f"\u2139 {note}")
        text = result["text"]
        print(f"\u2714 Wrote the job to {job} (texts: {text['path']}, since {text['why']})")
