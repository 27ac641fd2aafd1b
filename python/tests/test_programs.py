"""With the built programs, if there are any: Swift and Python agree about texts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import MODEL

from t2v import programs, text
from t2v.errors import InputError

pytestmark = pytest.mark.programs


@pytest.fixture()
def coordinator() -> Path:
    try:
        return programs.find()
    except InputError:
        pytest.skip("the programs are not built")


def test_attributes_are_the_programs(coordinator: Path) -> None:
    listed = json.loads(subprocess.run([coordinator, "attributes"], capture_output=True, check=True).stdout)
    assert {name: tuple(languages) for name, languages in listed["words"].items()} == text.FAST
    assert tuple(listed["tokens"]) == text.PER_TOKEN


@pytest.mark.parametrize("attributes", [["NORM", "PREFIX", "SUFFIX", "SHAPE"], ["ORTH", "IS_SPACE", "LENGTH", "IS_TITLE"]])
def test_fast_path_is_verified(coordinator: Path, compiled: Callable[..., Any], vectors: Path, attributes: list[str]) -> None:
    overrides = {f"{MODEL}.embed.attrs": attributes, f"{MODEL}.embed.include_static_vectors": True, "paths.vectors": str(vectors)}
    found = compiled(overrides)["text"]
    assert found["path"] == "fast" and "equal to spaCy's tokens in" in found["why"]
