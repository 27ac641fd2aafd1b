"""The walk knows layers by their function and wiring: users' own compositions pass, users' own layers do not."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from conftest import HERE, MODEL

from t2v.errors import InputError

CODE = HERE / "user_code.py"


def own(fault: str) -> dict[str, Any]:
    return {f"{MODEL}.embed": {"@architectures": "my.Embed.v1", "width": 16, "fault": fault}}


def test_a_composition_of_known_layers(compiled: Callable[..., Any]) -> None:
    job = compiled(own(""), code=CODE)
    inputs = [(part["attribute"], part["rows"], part["seed"]) for part in job["model"]["inputs"]]
    assert inputs == [("SHAPE", 20, 31), ("LOWER", 20, 32), ("SHAPE", 20, 31)]
    assert job["model"]["mixer"] == {"pieces": 2, "dropout": "none"}
    names = [entry["tensor"] for entry in job["template"]["parameters"][:3]]
    assert names == ["embed.shape.E", "embed.lower.E", "embed.shape2.E"]
    assert job["text"]["columns"] == ["ORTH", "SHAPE", "LOWER"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("shared", '"ints-getitem>>hashembed" .*it is used in two places|it is used in two places'),
        ("own layer", '"maxout" is not one that t2v can train: it is not a layer that t2v knows'),
        ("no norm", '"maxout" .*no LayerNorm follows'),
        ("shim", "its weights belong to another framework"),
        ("parameter", "its parameter scale has no counterpart"),
    ],
)
def test_what_is_not_known(compiled: Callable[..., Any], fault: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"\[components.tok2vec.model.embed\]: .*({words})"):
        compiled(own(fault), code=CODE)
