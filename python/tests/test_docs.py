"""The pages for users match the code."""

from __future__ import annotations

import re

import pytest
from conftest import HERE

from t2v.settings import KEYS

PAGE = HERE.parents[1] / "docs" / "config.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the package is tested outside its repository")
def test_every_key_has_a_line() -> None:
    section = PAGE.read_text(encoding="utf8").split("## The section [t2v]")[1]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(KEYS)
