"""Runs beside the coordinator: feeds loggers and TensorBoard while it runs, and writes the report when it has ended.
In: a command line of the coordinator. Out: the coordinator's exit status.

    python -m t2v.follow OUT CONFIG CODE REPORT PROGRAM ARGUMENT...

It is a separate process, so that what spaCy needed to compile (gigabytes of vectors) does not stay in memory.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Optional

from . import display, events
from .errors import InputError
from .sinks import Guarded, make_sinks

PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SI_KERNEL = 0x80
"""si_code of a signal that the terminal sent, to every process in the foreground: the coordinator has received it already."""
NO_REPORT = "--no-report"
EVERY = 1.0
"""Seconds between looks at the files."""
CLOSING = 120.0
"""Seconds that a logger may take to finish: a run must not wait forever for a server, or for a process of the logger's."""


def become(program: Path, arguments: list[str], out: Path, config: Path, code: Optional[Path]) -> NoReturn:
    """Replaces this process by the coordinator; or, if there is something to do beside it, by this module."""
    from . import programs

    report = NO_REPORT not in arguments and importlib.util.find_spec("matplotlib") is not None
    arguments = [argument for argument in arguments if argument != NO_REPORT]
    asked = config.is_file() and asks_for_sinks(config)
    if not report and not asked:
        programs.become(program, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    words = [str(out), str(config) if asked else "", str(code or ""), "report" if report else "", str(program), *arguments]
    os.execv(sys.executable, [sys.executable, "-m", "t2v.follow", *words])


def asks_for_sinks(config: Path) -> bool:
    """Whether a config names a logger or a folder for TensorBoard."""
    from .config import load

    raw = load(config, {})
    own, pretraining = raw.get("t2v") or {}, raw.get("pretraining") or {}
    return bool(own.get("logger") or own.get("tensorboard") or pretraining.get("logger"))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block, repeatedly, when it takes longer. Only for the main thread."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"it did not end within {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Follower:
    """Reads the rows that a run appends and passes them on."""

    def __init__(self, out: Path, sinks: list[Any]) -> None:
        self.log, self.events = events.Tail(events.log_path(out)), events.Tail(events.events_path(out))
        self.sinks = [Guarded(sink) for sink in sinks]

    def feed(self) -> None:
        rows = [(row, str(row.get("kind", ""))) for row in self.events.rows()] + [(row, "log") for row in self.log.rows()]
        for row, kind in rows:
            for sink in self.sinks:
                sink.call(lambda target, row=row, kind=kind: target.row(row, kind))  # type: ignore[misc]

    def close(self) -> None:
        self.feed()
        for sink in self.sinks:
            with time_limit(CLOSING):
                sink.call(lambda target: target.close())


def watch(process: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
    """Passes signals on until the coordinator has ended. All threads block them, so that they arrive only here."""
    while process.poll() is None:
        told = signal.sigtimedwait(PASSED, 0.2)
        if told is not None and not (told.si_signo == signal.SIGINT and told.si_code == SI_KERNEL):
            try:
                process.send_signal(told.si_signo)
            except ProcessLookupError:
                pass
    ended.set()


def run(command: list[str], follower: Follower) -> int:
    """Runs the coordinator to its end and returns its exit status."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)
    ended = threading.Event()
    try:
        process = subprocess.Popen(command, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before))
        threading.Thread(target=watch, args=(process, ended), daemon=True).start()
        while not ended.wait(EVERY):
            follower.feed()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    follower.close()
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def main(arguments: list[str]) -> int:
    return carry_out(arguments)[0]


def carry_out(arguments: list[str]) -> tuple[int, bool]:
    """The exit status, and whether a sink has failed."""
    out, config, code, report, *command = arguments
    display.choose(command)
    try:
        sinks: list[Any] = []
        if config:
            from .config import load

            sinks = make_sinks(load(Path(config), {}), Path(code) if code else None)
        follower = Follower(Path(out), sinks)
    except InputError as error:
        print(f"\u2718 {error}", file=sys.stderr)
        return 2, False
    status = run(command, follower)
    if report and status in (0, 75):
        from .report import write_report

        try:
            display.screen.say(f"report: {write_report(Path(out))}")
        except Exception as error:  # the run itself has succeeded
            display.warn(f"no report: {error}")
    return status, any(sink.sink is None for sink in follower.sinks)


if __name__ == "__main__":
    ended, failed = carry_out(sys.argv[1:])
    if not failed:
        sys.exit(ended)
    # What a failed logger does when the interpreter exits may also take forever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)
