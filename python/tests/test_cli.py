"""The entry point: spaCy imports it for every command, so it must be light and must never get in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

from conftest import BASE, HERE


def test_spacy_lists_the_commands(spacy_command: Callable[..., Any]) -> None:
    assert "t2v" in spacy_command("--help").stdout
    shown = spacy_command("t2v", "--help").stdout
    for command in ("compile", "pretrain", "resume"):
        assert command in shown


def test_compile_through_spacy(spacy_command: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    done = spacy_command("t2v", "compile", str(BASE), str(tmp_path / "job"), "--paths.raw_text", str(corpus), "--t2v.lanes", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "job/job.json").exists()


def test_errors_end_with_status_2_in_one_line(spacy_command: Callable[..., Any], tmp_path: Path) -> None:
    done = spacy_command("t2v", "compile", str(tmp_path / "none.cfg"), str(tmp_path / "job"))
    assert done.returncode == 2 and "no such file" in done.stderr and "Traceback" not in done.stderr
    done = spacy_command("t2v", "compile", str(BASE), str(tmp_path / "job"), "--raw-text", "x")
    assert done.returncode == 2 and "no such option: --raw-text" in done.stderr and "Traceback" not in done.stderr


def test_environment_overrides_win(spacy_command: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    command = ["t2v", "compile", str(BASE), str(tmp_path / "job"), "--paths.raw_text", str(corpus), "--training.seed", "1"]
    assert spacy_command(*command, SPACY_CONFIG_OVERRIDES="--training.seed 9").returncode == 0
    assert "seed = 9" in (tmp_path / "job/config.cfg").read_text()


def imported_modules(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, check=True).stdout.split())


def test_imports_nothing_heavy() -> None:
    added = imported_modules("import typer; typer.Typer; before = set(sys.modules)\nimport t2v, t2v.commands")
    assert not {name.split(".")[0] for name in added} & {"spacy", "thinc", "numpy", "srsly", "confection", "wasabi"}, added
    assert not any(name.startswith("t2v.") and name not in ("t2v.commands",) for name in added), added


def test_a_fault_in_the_commands_leaves_spacy_alone(spacy_command: Callable[..., Any], tmp_path: Path) -> None:
    broken = tmp_path / "site" / "t2v"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "cli.py").write_bytes((HERE.parent / "t2v/cli.py").read_bytes())
    (broken / "commands.py").write_text("raise RuntimeError('broken')")
    done = spacy_command("info")
    assert done.returncode == 0 and "broken" not in done.stderr and "spaCy version" in done.stdout
