"""The wheel as users get it: installed with pip into an environment of its own. `make wheel-test` builds it and sets T2V_WHEEL.

The commands see PATH with that environment only (no Swift, no compiler), no HOME, and, if the test may mount, read-only site-packages.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from conftest import BASE

WHEEL = os.environ.get("T2V_WHEEL", "")
PYTHON = os.environ.get("T2V_WHEEL_PYTHON", sys.executable)
WITH = os.environ.get("T2V_WHEEL_WITH", "").split()
"""Further requirements, for example `spacy==3.5.4 numpy<2`."""

pytestmark = pytest.mark.skipif(not WHEEL, reason="T2V_WHEEL names no wheel: make wheel-test")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel") / "venv"
    subprocess.run([PYTHON, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", "--prefer-binary", WHEEL, *WITH], check=True)
    return folder


@pytest.fixture(scope="module")
def read_only(environment: Path) -> list[str]:
    """The prefix of a command that keeps it from writing into the environment."""
    before = [
        "unshare",
        "-m",
        "sh",
        "-c",
        f"mount --bind '{environment}' '{environment}' && mount -o remount,ro,bind '{environment}' && exec \"$@\"",
        "-",
    ]
    if os.getuid() == 0 and shutil.which("unshare") and subprocess.run([*before, "true"], capture_output=True).returncode == 0:
        return before
    subprocess.run(["chmod", "-R", "a-w", environment], check=True)
    return []


@pytest.fixture()
def run(environment: Path, read_only: list[str], tmp_path: Path) -> Run:
    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        clean = ["env", "-i", f"PATH={environment}/bin", "LC_ALL=C.UTF-8", str(environment / "bin" / program), *arguments]
        return subprocess.run([*read_only, *clean], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def site(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages"))


def test_tag_is_old_enough_for_what_people_run() -> None:
    found = re.fullmatch(r"t2v-[0-9.]+-py3-none-manylinux_2_(\d+)_x86_64\.whl", Path(WHEEL).name)
    assert found and int(found[1]) <= 28


def test_nothing_can_write_into_the_environment(run: Run, environment: Path) -> None:
    done = run("python", "-c", f"open({str(site(environment) / 't2v/x')!r}, 'w')")
    assert done.returncode != 0 and ("Read-only" in done.stderr or "Permission" in done.stderr)


@pytest.mark.parametrize("program", ["t2v-coordinator", "t2v-worker"])
def test_programs_start(run: Run, program: str) -> None:
    done = run(program, "--version")
    package = run("python", "-c", "import t2v; print(t2v.__version__)")
    assert (done.returncode, done.stdout, done.stderr) == (0, package.stdout, "")


@pytest.mark.parametrize("program", ["t2v-coordinator", "t2v-worker"])
def test_programs_start_where_openblas_takes_kernels_that_are_left_out(environment: Path, program: str) -> None:
    """As it does on CPUs that are newer than itself."""
    clean = {"PATH": "", "OPENBLAS_CORETYPE": "Prescott"}
    done = subprocess.run([environment / "bin" / program, "--version"], env=clean, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout), done.stdout + done.stderr


def test_commands_are_there(run: Run) -> None:
    assert "pretrain" in run("t2v", "--help").stdout
    assert re.search(r"^.*\bt2v\b", run("python", "-m", "spacy", "--help").stdout, re.M)


def test_the_package_finds_its_own_programs(run: Run, environment: Path) -> None:
    done = run("python", "-c", "from t2v import programs; print(programs.find(), programs.find('t2v-worker'))")
    assert done.stdout.split() == [str(environment / "bin" / name) for name in ("t2v-coordinator", "t2v-worker")]


def test_terms_of_everything_are_inside(environment: Path) -> None:
    texts = next(site(environment).glob("t2v-*.dist-info/licenses"))
    listed = (texts / "README").read_text()
    for part in (
        "Swift runtime",
        "libzmq",
        "libsodium",
        "PCRE2",
        "zlib",
        "OpenBLAS",
        "swift-argument-parser",
        "swift-log",
        "libstdc++",
        "libgcc",
    ):
        assert part in listed
    for name in re.findall(r"see (\S+\.txt)", listed):
        assert (texts / name).stat().st_size > 500


def test_pretrains(run: Run, corpus: Path, tmp_path: Path) -> None:
    if "--job" not in run("t2v-coordinator", "pretrain", "--help").stdout:
        pytest.skip("the coordinator takes no jobs")
    shutil.copy(BASE, tmp_path / "base.cfg")
    arguments = ["--paths.raw_text", str(corpus), "--pretraining.max_epochs", "2", "--workers", "2", "--no-report"]
    done = run("python", "-m", "spacy", "t2v", "pretrain", "base.cfg", "out", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    load = "import spacy; spacy.blank('en'); from pathlib import Path; print(len(Path('out/model1.bin').read_bytes()))"
    assert int(run("python", "-c", load).stdout) > 1000
    again = run("t2v", "pretrain", "base.cfg", "again", *arguments, "--workers=1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (tmp_path / "again/model1.bin").read_bytes() == (tmp_path / "out/model1.bin").read_bytes()
    assert "finished" in run("t2v", "status", "out").stdout


def test_pretrains_for_spacy_2(run: Run, tmp_path: Path) -> None:
    """Without HOME the cache is made in the output folder, which does not exist yet."""
    demo = BASE.parents[2] / "demo"
    settings = ["-cw", "32", "-cd", "2", "-er", "200", "-i", "1", "--workers", "1"]
    done = run("t2v-coordinator", "pretrain", str(demo / "texts.jsonl"), str(demo / "vectors"), "out", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/model0.bin").stat().st_size > 1000 and (tmp_path / "out/t2v/cache").is_dir()
