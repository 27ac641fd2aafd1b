"""The kernels for CPUs with AVX-512, emulated, since this machine may not have AVX-512."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not (shutil.which("clang") or shutil.which("gcc")), reason="no C compiler")
def test_wide_kernels_give_the_bits_of_narrow_ones():
    done = subprocess.run([ROOT / "Tests/kernels/check.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" compared, 0 wrong\n")
