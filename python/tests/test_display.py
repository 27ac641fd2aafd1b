"""What users see: a live line on terminals of any width, rows elsewhere, JSON lines, or nothing."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE, HERE
from test_pretrain import COORDINATOR

SHOW = """
import sys
from t2v import display
display.LIVE = display.ROW = display.EVENT = 0.0
display.choose(sys.argv[1:])
display.screen.say("begins")
for count in (1, 22, 3):
    display.screen.progress(f"tokenizing: {count} documents, " + "9" * count, "tokenizing", documents=count)
display.screen.say("ends", sign="\u2714")
display.warn("careful")
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE.parent), "TERM": "xterm", **more}


def shown(*options: str, **more: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([sys.executable, "-c", SHOW, *options], env=environment(**more), capture_output=True, check=True)


def on_terminal(columns: int, **more: str) -> str:
    """What the program writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", SHOW], env=environment(**more), stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert process.wait() == 0
    return found.decode()


def replay(text: str) -> list[str]:
    """The lines that a terminal, or a notebook's cell, finally shows."""
    lines = [""]
    for part in re.split(r"(\r?\n|\r)", text.replace("\r\n", "\n")):
        if part == "\n":
            lines.append("")
        elif part == "\r":
            column = 0
        elif part:
            column = 0 if len(lines[-1]) == 0 else column
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_live_line(columns: int) -> None:
    text = on_terminal(columns)
    assert max(len(part) for part in re.split(r"[\r\n]+", text)) < min(columns, 80)
    assert "tokenizing: 22 docum"[: columns - 1] in text and "\x1b" not in text
    assert replay(text) == ["\u2139 begins", "\u2714 ends", ""], "nothing is left of the live line"


@pytest.mark.parametrize("more", [{"TERM": "dumb"}, {"TERM": ""}])
def test_rows_on_other_terminals(more: dict[str, str]) -> None:
    lines = replay(on_terminal(40, **more))
    assert [line for line in lines if "tokenizing" in line and "\u2139" in line] and len(lines) == 6


def test_rows_without_a_terminal() -> None:
    done = shown()
    assert done.stdout.decode().splitlines()[1:3] == ["\u2139 tokenizing: 1 documents, 9", f"\u2139 tokenizing: 22 documents, {'9' * 22}"]
    assert b"\r" not in done.stdout and "careful" in done.stderr.decode()


def test_quiet_and_json() -> None:
    done = shown("--quiet")
    assert done.stdout == b"" and b"careful" in done.stderr
    rows = [json.loads(line) for line in shown("--json-progress").stdout.splitlines()]
    assert rows[0] == {"event": "message", "text": "begins"} and rows[2] == {"event": "tokenizing", "documents": 22}


def test_other_encodings() -> None:
    assert shown(PYTHONIOENCODING="ascii").stdout.startswith(b"? begins\n")


def test_nobody_listens() -> None:
    process = subprocess.Popen([sys.executable, "-c", SHOW], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    assert process.returncode in (0, 120), "120: Python found at exit that its output is closed, and said so"


@pytest.mark.parametrize("report", [[], ["--no-report"]])
@pytest.mark.parametrize("option", ["--quiet", "--json-progress"])
def test_pretrain_passes_it_on(tmp_path: Path, corpus: Path, spacy_command: Callable[..., Any], option: str, report: list[str]) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/t2v-coordinator").write_text(COORDINATOR)
    (tmp_path / "bin/t2v-coordinator").chmod(0o755)
    command = ["t2v", "pretrain", str(BASE), str(tmp_path / "out"), "--paths.raw_text", str(corpus), "--verify", "0", option, *report]
    done = spacy_command(*command, T2V_BIN=str(tmp_path / "bin"), T2V_SEEN=str(tmp_path / "seen"))
    assert done.returncode == 75 and option in (tmp_path / "seen").read_text().splitlines()
    lines = done.stdout.splitlines()
    assert (lines == []) if option == "--quiet" else (lines and all(json.loads(line)["event"] == "message" for line in lines))
